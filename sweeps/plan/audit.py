"""Compare stored rows with the plan recomputed from the spec, including plans of older versions.

A plan is a pure function of the stored spec, its revisions and its retries. A rule that changes plans is a key of the
spec, stored with new sweeps and absent in older ones. Priorities are not compared: no result depends on when a task
runs, and older plans have others.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import sqlalchemy

from storage.audit import audit as of_rows
from storage.audit.checks import Finding
from storage.audit.rows import Rows, TaskRow, Unreadable, read_rows
from storage.errors import RecordBroken
from storage.queue.phases import Dependency
from storage.queue.plans import PhasePlan, TaskPlan
from storage.tables import SweepRecord, TaskRecord
from sweeps.errors import SpecError
from sweeps.plan import jobs, points
from sweeps.plan.phases import Phase, measure_phase, plan_phase, run_kind, transfer_key
from sweeps.plan.plan import Plan, make_plan, measure_task, more
from sweeps.spec.model import Spec, fingerprint, parse
from sweeps.spec.stored import difference
from sweeps.spec.tables import FIRST
from sweeps.terminal import number_of

_CLOSE = 1e-12  # machines may round the last digits differently
_SHOWN = 80  # characters of a value in a message


def as_then(plan: Plan, spec: Spec, stored: Mapping[str, Any]) -> Plan:
    """Return a plan as the version that stored its spec made it; stored: the plain values of that spec."""
    if "trials" not in stored.get("outer", {}) and len(spec.groups) > 1:
        plan = Plan(_phases_of_groups(plan, spec), _on_shared_seeds(plan, spec))
    if "lag" not in stored["search"]:
        plan = replace(plan, phases=tuple(map(_before_lag, plan.phases)))
    return plan


def _before_lag(phase: PhasePlan) -> PhasePlan:
    # A trial was proposed from all trials ended by then; the test was read once the selections of its arms were frozen.
    own = tuple(need for need in phase.needs if "confirm" not in need.phase or not need.after_any_end)
    return replace(phase, lag=None, needs=own if phase.stage == "transfer" else phase.needs)


def _phases_of_groups(plan: Plan, spec: Spec) -> tuple[PhasePlan, ...]:
    # Each group waited only for its own selections, and the source was compared in every group.
    if not plan.phases:
        return ()  # an extension without phases
    phases = [phase for phase in plan.phases if phase.stage not in ("transfer", "measure")]
    for group in spec.groups:
        for role in spec.roles:
            needs = [
                Dependency(Phase.confirm(other, group).name, after_any_end=other not in ("source", role))
                for other in spec.roles
            ]
            if group == FIRST and any(spec.arm(arm).chosen_in for arm in spec.arms(role)):
                needs.append(Dependency("baselines", after_any_end=True))
            phases.append(plan_phase(Phase.transfer(role, group), *needs, minimum=1))
    return (*phases, measure_phase(phases))


def _on_shared_seeds(plan: Plan, spec: Spec) -> tuple[TaskPlan, ...]:
    # The arms of a search were trained on the seeds of the first group.
    first = [task for task in plan.tasks if task.key.startswith("transfer#")]
    further = [
        replace(
            task,
            key=transfer_key(task.payload["role"], task.payload["arm"], task.payload["repeat"], group),
            phase=Phase.transfer(task.payload["role"], group).name,
            payload={**task.payload, "group": group.tag},
        )
        for group in spec.groups[1:]
        for task in first
        if task.payload["arm"] in ("best", "native")
    ]
    return (*(task for task in plan.tasks if not task.key.startswith("transfer@")), *further)


def audit(engine: sqlalchemy.Engine, sweep: SweepRecord) -> of_rows.Audit:
    """Audit the stored sweep, also while workers run."""
    return judge(read_rows(engine, sweep.id))


def judge(rows: Rows) -> of_rows.Audit:
    """Audit rows read from a storage or an archive."""
    try:
        spec, plan = _planned_again(rows)
    except SpecError as error:
        edited, texts = _edits(rows, None, {}), [str(error)]
    else:
        edited, texts = _edits(rows, spec, {task.key: task for task in plan.tasks}), list(_of_plan(rows, plan))
    return of_rows.judge(rows, edited=edited, replanned=[Finding(text, (jobs.PUT_BACK,)) for text in texts])


def alike(left: Any, right: Any) -> bool:
    """Return whether two plain values are equal, up to the last digits of numbers."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(alike(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(alike, left, right))
    if float in (kinds := {type(left), type(right)}) and kinds <= {int, float}:
        try:
            return math.isclose(left, right, rel_tol=_CLOSE, abs_tol=_CLOSE)
        except OverflowError:  # an integer beyond every float
            return False
    return type(left) is type(right) and bool(left == right)


def _planned_again(rows: Rows) -> tuple[Spec, Plan]:
    """Return the latest spec, and the plan of all revisions together; raise SpecError if they are inconsistent."""
    for row in rows.specs:
        if isinstance(row.spec, Unreadable) or fingerprint(row.spec) != row.fingerprint:
            raise SpecError("a spec was changed")  # the audit of the rows says which
    before: Spec | None = None
    phases: list[PhasePlan] = []
    tasks: list[TaskPlan] = []
    for row in rows.specs[1:]:
        spec = parse(row.spec, origin=f"revision {row.number}")
        if before is None:
            added = make_plan(spec)
        elif before.as_dict() == spec.as_dict():  # a retry, after which everything is measured again
            added = Plan((), (measure_task(sum(task.phase == "measure" for task in tasks)),))
        else:
            larger, added = more(
                before,
                trials=spec.search.trials - before.search.trials,
                seeds=spec.transfer.seeds - before.transfer.seeds,
                searches=spec.outer.searches - before.outer.searches,
            )
            if changed := difference(larger.as_dict(), spec.as_dict()):
                raise SpecError(f"the spec of revision {row.number} is not that of an extension: {'; '.join(changed)}")
        added = as_then(added, spec, row.spec)
        phases += added.phases
        tasks += added.tasks
        before = spec
    if before is None:
        raise SpecError("the plan: expected a revision, found none")
    return before, Plan(tuple(phases), tuple(tasks))


def _of_plan(rows: Rows, plan: Plan) -> Iterator[str]:
    yield from _first_other("the plan", "phase", [phase.name for phase in plan.phases], list(rows.stages))
    by_name = {phase.name: phase for phase in rows.phases}
    planned, stored = _by_phase(plan.tasks), _by_phase(rows.tasks)
    for phase in plan.phases:
        if phase.name in by_name:
            expected = {"stage": phase.stage, "needs": phase.stored_needs(), "minimum": phase.minimum}
            values = {name: getattr(by_name[phase.name], name) for name in expected}
            yield from (text for _, text in _differing(phase.name, expected, values))
            yield from _first_other(phase.name, "task", planned[phase.name], stored[phase.name])


def _by_phase(tasks: Iterable[TaskPlan | TaskRow]) -> Mapping[str | None, list[str]]:
    keys: dict[str | None, list[str]] = defaultdict(list)
    for task in tasks:
        keys[task.phase].append(task.key)
    return keys


def _first_other(of: str, what: str, expected: Sequence[str], stored: Sequence[str]) -> Iterator[str]:
    pairs = zip_longest(expected, stored, fillvalue="none")
    if pair := next((pair for pair in pairs if pair[0] != pair[1]), None):
        yield f"{of}: expected {what} {pair[0]} as planned, found {pair[1]}"


def _differing(of: str, expected: Mapping[str, Any], stored: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in dict.fromkeys([*expected, *stored]):
        if not alike(expected.get(name), stored.get(name)):
            yield name, f"{of}: expected {name} {expected.get(name)} as planned, found {str(stored.get(name))[:_SHOWN]}"


def _edits(rows: Rows, spec: Spec | None, plan: Mapping[str, TaskPlan]) -> Mapping[str, Finding]:
    """Return the first difference of each task, by key; the same difference in many tasks is one finding."""
    alike_edits: dict[str, list[tuple[str, str]]] = defaultdict(list)
    findings: dict[str, Finding] = {}
    params = {attempt.task_id: attempt.params for attempt in rows.attempts if attempt.state == "done"}
    for task in rows.tasks:
        if isinstance(task.payload, Unreadable):
            continue  # reported by the audit of the rows
        if not isinstance(task.payload, dict):
            text = f"{task.key}: expected a payload as planned, found {str(task.payload)[:_SHOWN]}"
            findings[task.key] = Finding(text)
            continue
        try:
            payload = jobs.read_payload(task.stage, task.payload, key=task.key)
            edit = None
            if task.key in plan:
                expected = {**plan[task.key].payload, "stage": rows.stages.get(plan[task.key].phase)}
                edit = next(_differing(task.key, expected, {**task.payload, "stage": task.stage}), None)
            if edit is None and task.state == "done" and isinstance(task.outcome, dict):
                outcome = jobs.read_outcome(payload, task.outcome, key=task.key)
                score = jobs.checked_score(payload, task.score, key=task.key)
                if spec is not None:
                    jobs.check_bounds(spec.score, outcome, score, key=task.key)
                if spec is not None and task.key in plan:
                    edit = next(outcome_edits(spec, task, payload, outcome, params.get(task.id)), None)
        except RecordBroken as error:
            findings[task.key] = Finding(str(error), error.next_steps)
        else:
            if edit is not None:
                alike_edits[edit[0]].append((task.key, edit[1]))
    for edits in alike_edits.values():
        others = f"; {number_of(len(edits) - 1, 'more task')} likewise" if len(edits) > 1 else ""
        findings |= dict.fromkeys((key for key, _ in edits), Finding(edits[0][1] + others, (jobs.PUT_BACK,)))
    return findings


def outcome_edits(
    spec: Spec, task: TaskRow | TaskRecord, payload: jobs.Payload, outcome: jobs.StoredOutcome, params: Any
) -> Iterator[tuple[str, str]]:
    """Yield the differences between a finished task and its payload, score and parameters: a name, and a line.

    params: of the attempt that finished it.
    """
    expected = points.fixed_params(spec, payload)
    values = {name: params.get(name) for name in expected} if isinstance(params, dict) else expected
    yield from _differing(f"parameters of {task.key}", expected, values)
    if isinstance(outcome, jobs.TrainedOutcome):
        yield from _differing(f"outcome of {task.key}", *_expected_and_stored(spec, task, payload, outcome, params))


def _expected_and_stored(
    spec: Spec, task: TaskRow | TaskRecord, payload: jobs.Payload, outcome: jobs.TrainedOutcome, params: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values that an outcome must have by its payload, score and parameters, and those it has."""
    expected: dict[str, Any] = {"val_accuracy": task.score}
    stored: dict[str, Any] = {"val_accuracy": outcome.val_accuracy}
    if outcome.seed is not None:
        expected["seed"], stored["seed"] = payload.seed, outcome.seed
    if curve := outcome.epoch_val_accuracy:
        last = f"last {spec.score.name}"
        expected[last], stored[last] = outcome.val_accuracy, curve[-1]
        arm, facts = getattr(payload, "arm", ""), outcome.as_json()
        if (length := spec.kind.curve_length(spec, run_kind(task.stage), payload.role or "", arm, facts)) is not None:
            expected["number of epochs"], stored["number of epochs"] = length, len(curve)
    trial = (task.outcome or {}).get("trial")
    curve_of_trial = trial.get("epoch_values") if isinstance(trial, dict) else None
    if curve_of_trial and isinstance(curve_of_trial, list):  # the same curve in the trial
        after = f"{spec.score.plural} after epochs"
        expected[after], stored[after] = len(curve_of_trial), len(curve)
    if isinstance(outcome, jobs.StudentOutcome):
        if isinstance(payload, jobs.TransferTask) and outcome.test_accuracy is None:
            expected["test_accuracy"] = "a number"  # the verdict needs it
        if isinstance(params, dict):
            expected |= {name: value for name, value in params.items() if name not in ("arm", "dataset")}
        if (point := points.planned_point(spec, payload)) is not None:
            expected |= point.as_dict()
        stored |= outcome.point.as_dict()
    return expected, stored
