"""The comparison table as data: a row exists if and only if a task does."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import sqlalchemy

from storage.records import queries
from storage.records.queries import SweepRecord, TaskRecord
from sweeps.plan import selection
from sweeps.plan.names import confirm_phase, group_of, search_phase
from sweeps.spec.arms import AUTOKERAS_ARM
from sweeps.spec.model import Spec, stored
from sweeps.spec.tables import DatasetSpec
from sweeps.stats.estimates import Estimate, estimate, paired


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method on one dataset.

    validation, test: accuracy, fractions in [0, 1]; test is None until it was read.
    parameters: of the final model; measured: the rest of what the stage measure found for it, by the names of
    `kd.models.measure.Measurement`, empty before. train_s, train_cpu_s: wall and CPU seconds, mean over the seeds.
    shared_s, shared_cpu_s: those that a distilled student needed besides its own: its teacher, and the search that
    chose its (T, alpha). None for what needs neither.
    """

    method: str
    dataset: str
    detail: str
    validation: Estimate | None
    test: Estimate | None
    parameters: int | None
    measured: Mapping[str, Any]
    train_s: float | None
    train_cpu_s: float | None
    shared_s: float | None
    shared_cpu_s: float | None
    status: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One paired comparison, in accuracy points of the test set (1 point = 0.01)."""

    name: str
    dataset: str
    points: Estimate | None


class Comparison:
    """Rows and differences of one sweep, read once from our own tables."""

    def __init__(self, engine: sqlalchemy.Engine, sweep: SweepRecord) -> None:
        self.sweep = sweep
        self.spec: Spec = stored(sweep)
        self.tasks: list[TaskRecord] = queries.task_records(engine, sweep.id)
        self._engine = engine
        self._selections: dict[str, Any] = queries.selections(engine, sweep.id)
        self._measured: dict[str, Any] = {}
        for task in self._of("measure"):  # a retry may have added one: the latest that is done
            self._measured = (task.outcome or {}).get("models", self._measured)

    def rows(self) -> list[Row]:
        """Teachers, then the arms on the source, those on each target, then the baselines."""
        rows = [self._single(f"teacher {self._role(t).teacher}{_tag(t)}", t) for t in self._of("teachers")]
        rows += [self._arm(role, arm) for role in self.spec.roles for arm in self.spec.transfer.arms(role)]
        return rows + [self._single(t.payload["method"], t) for t in self._of("baselines")]

    def differences(self) -> list[Difference]:
        """best minus scratch, each default and each control; on the targets also regret = native minus best."""
        found = []
        for role in self.spec.roles:
            arms = self.spec.transfer.arms(role)
            for arm in arms:
                if "best" in arms and arm not in ("best", "native", "random"):
                    found.append(self._difference(f"best - {arm}", role, "best", arm))
        for role in self.spec.targets:
            if {"native", "best"} <= set(self.spec.transfer.target_arms):
                found.append(self._difference("regret = native - best", role, "native", "best"))
        return found

    def tests(self, role: str, arm: str, group: str = "") -> dict[int, float]:
        """Test accuracy in points by repeat: what the paired differences are made of."""
        return {
            task.payload["repeat"]: 100 * (task.outcome or {})["test_accuracy"]
            for task in self._arm_tasks(role, arm, group)
            if task.state == "done"
        }

    def validations(self, role: str, arm: str) -> list[float]:
        """Validation accuracy in points of the finished trainings of an arm, in the order of the repeats."""
        return [100 * (task.score or 0.0) for task in self._arm_tasks(role, arm) if task.state == "done"]

    def baselines(self, role: str) -> list[TaskRecord]:
        """The tasks of the fixed comparison trials on the dataset of a role."""
        return [task for task in self._of("baselines") if task.payload["role"] == role]

    def transfers(self, role: str) -> list[TaskRecord]:
        """The tasks of transfer on the dataset of a role, of every group."""
        return [task for task in self._of("transfer") if task.payload["role"] == role]

    def done(self, phase: str) -> list[TaskRecord]:
        """The finished tasks of a phase."""
        return [task for task in self.tasks if task.phase == phase and task.state == "done"]

    def selected(self, name: str) -> dict[str, Any] | None:
        """A selection such as "confirm.best": as stored, or what it will be once its phase is closed; None before."""
        if name not in self._selections:
            found = selection.preview(self._engine, self.sweep.id, name)
            if found is None:
                return None
            self._selections[name] = found
        value: dict[str, Any] = self._selections[name]
        return value

    def _difference(self, name: str, role: str, first: str, second: str) -> Difference:
        points = paired(self.tests(role, first), self.tests(role, second))
        return Difference(name=name, dataset=self.spec.role(role).dataset, points=points)

    def _arm(self, role: str, arm: str) -> Row:
        tasks = self._arm_tasks(role, arm)
        done = [task.outcome or {} for task in tasks if task.state == "done"]
        # The arms of one dataset share one network, so the one that was kept and measured speaks for all.
        measured = self._measured.get("baselines#autokeras" if arm == AUTOKERAS_ARM else f"transfer#{role}.best.0", {})
        if arm != "best":  # the network is the same, what it learnt is not
            measured = {name: value for name, value in measured.items() if not name.endswith("accuracy")}
        part = self.spec.role(role)
        return Row(
            method=arm,
            dataset=part.dataset,
            detail="the found network, trained anew"
            if arm == AUTOKERAS_ARM
            else f"{part.student}{self._point(arm, done)}",
            validation=estimate([outcome["val_accuracy"] for outcome in done]),
            test=estimate([outcome["test_accuracy"] for outcome in done]),
            parameters=done[0]["parameters"] if done else None,
            measured=measured,
            train_s=fmean(one["train_s"] for one in done) if done else None,
            train_cpu_s=fmean(one["cpu_s"] for one in done) if done else None,
            shared_s=self.shared(role, arm, "train_s"),
            shared_cpu_s=self.shared(role, arm, "cpu_s"),
            status=_status(tasks),
        )

    def _single(self, method: str, task: TaskRecord) -> Row:
        outcome, measured = task.outcome or {}, self._measured.get(task.key, {})
        tested = measured.get("test_accuracy")
        accuracy = outcome.get("val_accuracy")
        detail = outcome.get("detail", "") + (", capped" if outcome.get("capped") else "")
        return Row(
            method=method,
            dataset=self._role(task).dataset,
            detail="" if task.stage == "teachers" else detail,
            validation=estimate([] if accuracy is None else [accuracy]),
            test=estimate([] if tested is None else [tested]),
            parameters=outcome.get("parameters"),
            measured=measured,
            train_s=outcome.get("train_s"),
            train_cpu_s=outcome.get("cpu_s"),
            shared_s=None,
            shared_cpu_s=None,
            status=_status([task]),
        )

    def shared(self, role: str, arm: str, seconds: str) -> float | None:
        """Seconds ("train_s" or "cpu_s") that an arm's students share: of teachers, search and confirm; None: none."""
        if arm in ("scratch", "label-smoothing", "scratch-same-cost", AUTOKERAS_ARM):
            return None
        used = [f"teachers:{role}"]
        if arm in ("best", "class-mean", "shuffled-within-class"):  # all at the point of best
            used += ["search", "confirm"] + (["teachers:source"] if role != "source" else [])
        elif arm == "native":
            used += [search_phase(role), confirm_phase(role)]
        return math.fsum((t.outcome or {})[seconds] for t in self.tasks if t.phase in used and t.state == "done")

    @staticmethod
    def _point(arm: str, done: Sequence[dict[str, Any]]) -> str:
        if not done or arm in ("scratch", "random"):
            return ""
        if arm == "scratch-same-cost":
            return f", {done[0]['epochs']} epochs"
        return f", T={done[0]['temperature']:.3g}, alpha={done[0]['alpha']:.3g}"

    def _arm_tasks(self, role: str, arm: str, group: str = "") -> list[TaskRecord]:
        return [t for t in self.transfers(role) if t.payload["arm"] == arm and group_of(t.payload) == group]

    def _of(self, stage: str) -> list[TaskRecord]:
        return [task for task in self.tasks if task.stage == stage]

    def _role(self, task: TaskRecord) -> DatasetSpec:
        return self.spec.role(task.payload["role"])


def _tag(task: TaskRecord) -> str:
    return f" {group}" if (group := group_of(task.payload)) else ""


def _status(tasks: Sequence[TaskRecord]) -> str:
    states = [task.state for task in tasks]
    if all(state == "done" for state in states):
        return "done"
    for state in ("failed", "skipped", "cancelled"):
        if state in states:
            task = tasks[states.index(state)]
            word = "unavailable" if task.error_class == "unavailable" else state
            text = f"{word}: {task.reason}" if task.reason else word
            return text if len(tasks) == 1 else f"{states.count('done')} of {len(tasks)} done; {text}"
    if len(tasks) == 1:
        return states[0]
    return f"{states.count('done')} of {len(tasks)} done"
