"""Results per method, paired differences, controls, and costs shared between trainings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from storage.queue.phases import root_reason
from storage.tables import TaskRecord
from sweeps.findings.load import StoredSweep, contrast, is_incomplete, of_arm, scaled_scores, scores_on_test
from sweeps.plan import jobs
from sweeps.plan.phases import Phase, baseline_key, display_state, kept_student_key
from sweeps.plan.selection import confirmed_for
from sweeps.spec.model import Spec
from sweeps.stats.estimates import Estimate, Paired, estimate, paired
from sweeps.stats.verdict import KEPT
from sweeps.trainers.protocol import Point


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method on one dataset.

    kind: "teacher", "arm" or "baseline". point: of an arm whose trainings all have the same one. validation, test:
    stored scores, see `sweeps.trainers.score.Score`; test is None until the look is complete. parameters: of the final
    model. measured: by the stage measure. train_s, train_cpu_s: wall and CPU seconds, mean over the seeds. shared_s,
    shared_cpu_s: further seconds that a distilled student needs, for its teacher and the search that chose its
    (T, alpha); None without either.
    """

    kind: str
    method: str
    dataset: str
    detail: str
    point: Point | None
    validation: Estimate | None
    test: Estimate | None
    parameters: int | None
    measured: jobs.Measured | None
    train_s: float | None
    train_cpu_s: float | None
    shared_s: float | None
    shared_cpu_s: float | None
    status: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One paired comparison on the test set, in the displayed unit (for accuracies, 1 point = 0.01)."""

    name: str
    dataset: str
    points: Paired | None


@dataclass(frozen=True)
class SharedCost:
    """Wall and CPU seconds of teachers, search and confirm that the students of an arm share."""

    train_s: float
    cpu_s: float


def rows(stored: StoredSweep) -> tuple[Row, ...]:
    """Return the teachers, the arms on the source, those on each target, and the baselines."""
    measured = _measured(stored)
    teachers, baselines = [], []
    for job in stored.jobs:
        work, outcome, sizes = job.work, job.outcome, measured.get(job.key)
        if isinstance(work, jobs.TeacherTask):
            dataset, kind = stored.spec.role(work.role).dataset, stored.spec.kind
            name = kind.prepared(stored.spec, work.role) + (f" {work.tag}" if work.tag else "")
            method = f"{kind.features.prepares} {name}"
            result = outcome if isinstance(outcome, jobs.TeacherOutcome) else None
            teachers.append(_single(job.row, "teacher", method, dataset, "", result, sizes))
        elif isinstance(work, jobs.BaselineTask):
            dataset = stored.spec.role(work.role).dataset
            fitted = outcome if isinstance(outcome, jobs.BaselineOutcome) else None
            detail = "" if fitted is None else fitted.detail + (", capped" if fitted.capped else "")
            baselines.append(_single(job.row, "baseline", work.method, dataset, detail, fitted, sizes))
    arms = [_arm(stored, measured, role, arm) for role in stored.spec.roles for arm in stored.spec.arms(role)]
    return (*teachers, *arms, *baselines)


def differences(stored: StoredSweep) -> tuple[Difference, ...]:
    """Return best minus scratch, each default and each control; on targets also the regret, native minus best."""
    spec = stored.spec
    contrasts = [
        _difference(stored, f"best - {arm}", role, "best", arm)
        for role in spec.roles
        for arm in spec.arms(role)
        if "best" in spec.arms(role) and arm not in ("best", "native", "random")
    ]
    if {"native", "best"} <= set(spec.transfer.target_arms):
        contrasts += [_difference(stored, "regret = native - best", role, "native", "best") for role in spec.targets]
    return tuple(contrasts)


def shared_cost(stored: StoredSweep, role: str, arm: str) -> SharedCost | None:
    """Return the cost shared by the students of an arm; None if it needs neither teacher nor search.

    Choosing an arm among candidates counts as a search.
    """
    row = stored.spec.arm(arm)
    if not (row.prepared or row.candidates):
        return None
    searched = {"source": "source", "own": role}.get(row.selects)
    used = [Phase.recipes(role) if row.candidates else Phase.teachers(role)]
    used += [Phase.search(searched), Phase.teachers(searched)] if searched else []
    spent: list[jobs.TeacherOutcome | jobs.StudentOutcome] = [
        job.outcome
        for phase in dict.fromkeys(used)
        for job in stored.of_phase(phase)
        if isinstance(job.outcome, jobs.TeacherOutcome | jobs.StudentOutcome)
    ]
    if searched:
        confirms = stored.finished(jobs.ConfirmTask, jobs.StudentOutcome)
        spent += [done.outcome for done in confirmed_for(Phase.confirm(searched), confirms)]
    return SharedCost(math.fsum(outcome.train_s for outcome in spent), math.fsum(outcome.cpu_s for outcome in spent))


def _measured(stored: StoredSweep) -> dict[str, jobs.Measured]:
    done = stored.finished(jobs.MeasureTask, jobs.MeasureOutcome)
    return dict(done[-1].outcome.models) if done else {}  # the latest: a retry measures everything again


def _difference(stored: StoredSweep, name: str, role: str, first: str, second: str) -> Difference:
    points = contrast(stored, role, first, second)
    return Difference(name=name, dataset=stored.spec.role(role).dataset, points=points)


def _arm(stored: StoredSweep, measured: dict[str, jobs.Measured], role: str, arm: str) -> Row:
    trainings = of_arm(stored.trainings, role, arm)
    done = [training.outcome for training in trainings if training.outcome is not None]
    # All arms of a dataset share one network: the measured one represents them.
    chosen = bool(stored.spec.arm(arm).chosen_in)
    sizes = measured.get(baseline_key("target", arm) if chosen else kept_student_key(role))
    if sizes is not None and arm != "best":  # the same network with other weights
        known = sizes.model_dump(exclude_unset=True)
        sizes = jobs.Measured(**{name: value for name, value in known.items() if not name.endswith("accuracy")})
    part, shared = stored.spec.role(role), shared_cost(stored, role, arm)
    tested = scores_on_test(stored, role, arm)
    point = _point(stored.spec, arm, done)
    detail = stored.spec.kind.detail(stored.spec, role, arm, done[0].as_json() if done else {})
    return Row(
        kind="arm",
        method=arm,
        dataset=part.dataset,
        detail=", ".join(filter(None, (detail, "" if point is None else point.text().replace(" = ", "=")))),
        point=point,
        validation=estimate([outcome.val_accuracy for outcome in done]),
        test=None if is_incomplete(stored.trainings, role) else estimate([*tested.values()]),
        parameters=done[0].parameters if done else None,
        measured=sizes,
        train_s=fmean(outcome.train_s for outcome in done) if done else None,
        train_cpu_s=fmean(outcome.cpu_s for outcome in done) if done else None,
        shared_s=None if shared is None else shared.train_s,
        shared_cpu_s=None if shared is None else shared.cpu_s,
        status=_status([training.row for training in trainings]),
    )


def _point(spec: Spec, arm: str, done: Sequence[jobs.StudentOutcome]) -> Point | None:
    if not done or not spec.arm(arm).fixed_point:
        return None
    return Point.of(spec.kind.own_values(arm, done[0].point.as_dict()))


def _single(
    task: TaskRecord,
    kind: str,
    method: str,
    dataset: str,
    detail: str,
    outcome: jobs.TeacherOutcome | jobs.BaselineOutcome | None,
    measured: jobs.Measured | None,
) -> Row:
    tested = None if measured is None else measured.test_accuracy
    return Row(
        kind=kind,
        method=method,
        dataset=dataset,
        detail=detail,
        point=None,
        validation=None if outcome is None else estimate([outcome.val_accuracy]),
        test=None if tested is None else estimate([tested]),
        parameters=None if outcome is None else outcome.parameters,
        measured=measured,
        train_s=None if outcome is None else outcome.train_s,
        train_cpu_s=None if outcome is None else outcome.cpu_s,
        shared_s=None,
        shared_cpu_s=None,
        status=_status([task]),
    )


def _status(tasks: Sequence[TaskRecord]) -> str:
    states = [task.state for task in tasks]
    if all(state == "done" for state in states):
        return "done"
    text, count = states[0], f"{states.count('done')} of {len(tasks)} done"
    lost = next((state for state in ("failed", "skipped", "cancelled") if state in states), None)
    if lost is not None:
        task = tasks[states.index(lost)]
        word = display_state(task.stage, lost, task.error_class)
        text = f"{word}: {root_reason(task.reason)}" if task.reason else word
        count += f"; {text}"
    return text if len(tasks) == 1 else count


@dataclass(frozen=True, kw_only=True)
class Control:
    """One control on one dataset: differences of test scores in the displayed unit.

    gain: control - no teacher. beyond: best - control. best: best - no teacher, the gain to be explained. No teacher
    means `Spec.untreated_arm`: scratch, or scratch-tuned.
    """

    arm: str
    role: str
    dataset: str
    gain: Estimate
    beyond: Estimate
    best: Estimate

    @property
    def explains(self) -> bool:
        """Whether the control is proven to have at least half of best's gain.

        Best and the control gain over no teacher, and the 95 % upper bound of best - control is below half of best's
        gain.
        """
        small = self.beyond.high is not None and self.beyond.high < KEPT * self.best.mean
        return _above_zero(self.best) and _above_zero(self.gain) and small


def controls(stored: StoredSweep) -> tuple[Control, ...]:
    """Return the finished controls on every dataset that has results of best and no teacher."""
    controlled = []
    for role in stored.spec.roles:
        if is_incomplete(stored.trainings, role):
            continue
        arms = "best", stored.spec.untreated_arm(role)
        best, scratch = (scaled_scores(stored, role, arm) for arm in arms)
        for arm in stored.spec.controls(role):
            control = scaled_scores(stored, role, arm)
            gain, beyond, whole = paired(control, scratch), paired(best, control), paired(best, scratch)
            if gain is not None and beyond is not None and whole is not None:
                dataset = stored.spec.role(role).dataset
                controlled.append(Control(arm=arm, role=role, dataset=dataset, gain=gain, beyond=beyond, best=whole))
    return tuple(controlled)


def _above_zero(value: Estimate) -> bool:
    return value.low is not None and value.low > 0
