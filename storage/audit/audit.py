"""Audit a sweep: check from a snapshot of its rows that no result was lost and none is counted twice.

A violation cannot result from a crash at any point: rows were edited, or kd-sweeps has a bug. A warning is what dead
workers and other tools leave behind, with a remedy. The audit never writes.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.audit import checks
from storage.audit.rows import Rows, SpecRow, Unreadable, named_blobs
from storage.errors import NextStep
from storage.studies.space import study_name
from storage.tables import UNREADABLE


@dataclass(frozen=True)
class StageAudit:
    """The planned tasks of a stage, over all revisions, and its tasks by state."""

    stage: str
    planned: int
    done: int
    failed: int
    cancelled: int
    skipped: int
    waiting: int
    running: int

    @property
    def accounted(self) -> int:
        return self.done + self.failed + self.cancelled + self.skipped + self.waiting + self.running


@dataclass(frozen=True)
class Audit:
    """The result of an audit. `notes`: incidents that were resolved."""

    stages: list[StageAudit]
    violations: list[checks.Finding]
    warnings: list[checks.Finding]
    notes: list[checks.Finding]

    @property
    def planned(self) -> int:
        return sum(stage.planned for stage in self.stages)

    @property
    def accounted(self) -> int:
        return sum(stage.accounted for stage in self.stages)


def judge(
    rows: Rows, *, edited: Mapping[str, checks.Finding] | None = None, replanned: Sequence[checks.Finding] = ()
) -> Audit:
    """Count and compare all rows of a sweep. `sweeps.plan.audit` adds the comparison with a recomputed plan.

    edited: further faults of tasks, by key; several may share one. replanned: further faults of the plan. Both are
    reported only if nothing is found here: one cause, one line.
    """
    tasks, edited = checks.AuditedTasks(rows), edited or {}
    faults = {
        task.key: fault for task in rows.tasks if (fault := tasks.fault(task) or edited.get(task.key)) is not None
    }
    reported = {(attempt.study, attempt.trial_number) for key in faults for attempt in tasks.of(key)}
    ours = (trial for trials in rows.trials.values() for trial in trials if trial.ours)
    strays = [trial for trial in ours if trial.task not in faults and (trial.study, trial.number) not in reported]
    return Audit(
        stages=list(_stages(rows)),
        violations=[
            *([*_spec_violations(rows), *_plan_violations(rows)] or replanned),
            *_study_violations(rows),
            *dict.fromkeys(faults.values()),
            *checks.uncounted_results(tasks, strays),
            *_selection_violations(rows, tasks, faults),
            *_blob_violations(rows),
        ],
        warnings=[
            *checks.foreign_trials(rows),
            *checks.vanished_trials(tasks),
            *checks.left_running(rows, tasks, strays),
            *_lease_warnings(rows, tasks, faults),
        ],
        notes=[*checks.unreadable_results(tasks, strays), *checks.undrawn_trials(rows)],
    )


def _stages(rows: Rows) -> Iterator[StageAudit]:
    planned: Counter[str] = Counter()
    for phase, count in _planned(rows).items():
        planned[rows.stages.get(phase, phase)] += count
    counts = Counter((task.stage, task.state) for task in rows.tasks)
    for stage in dict.fromkeys([*rows.stages.values(), *planned, *(stage for stage, _ in counts)]):
        states = ("done", "failed", "cancelled", "skipped", "waiting", "running")
        yield StageAudit(stage, planned[stage], *(counts[stage, state] for state in states))


def _planned(rows: Rows) -> Counter[str]:
    planned: Counter[str] = Counter()
    for revision in rows.specs:
        if _is_count(revision.planned):
            planned.update(revision.planned)
    return planned


def _is_count(planned: Any) -> bool:
    return isinstance(planned, dict) and all(type(count) is int for count in planned.values())


def _spec_violations(rows: Rows) -> Iterator[checks.Finding]:
    (sweep,) = (row for row in rows.specs if row.number is None)
    latest = [row.fingerprint for row in rows.specs if row.number == rows.revision]
    for row in rows.specs:
        where = "the sweep" if row.number is None else f"revision {row.number}"
        if isinstance(row.spec, Unreadable):
            yield checks.Finding(f"the spec of {where} is not JSON ({row.spec.why})")
        elif (sha256 := _sha256(row)) != row.fingerprint:
            text = f"the spec of {where} was changed: expected fingerprint {row.fingerprint[:12]}, found {sha256[:12]}"
            yield checks.Finding(text)
        elif row is sweep and latest not in ([], [row.fingerprint]):
            text = f"the sweep: expected the spec {latest[0][:12]} of its revision {rows.revision}, found {sha256[:12]}"
            yield checks.Finding(text)


def _sha256(row: SpecRow) -> str:
    return hashlib.sha256(json.dumps(row.spec, sort_keys=True).encode()).hexdigest()


def _plan_violations(rows: Rows) -> Iterator[checks.Finding]:
    revisions = [row for row in rows.specs if row.number is not None]
    expected, numbers = list(range(1, rows.revision + 1)), [row.number for row in revisions]
    unreadable = [row.number for row in revisions if not _is_count(row.planned)]
    if numbers != expected:
        yield checks.Finding(f"the plan: expected the revisions {expected}, found {numbers}")
    elif unreadable:
        text = f"the plan: expected how many tasks each phase got, found no such counts in the revisions {unreadable}"
        yield checks.Finding(text)
    else:
        planned = _planned(rows)
        counts = Counter(str(task.phase) for task in rows.tasks)
        for phase in dict.fromkeys([*rows.stages, *planned, *counts]):
            if planned[phase] != counts[phase]:
                yield checks.Finding(f"{phase}: expected {planned[phase]} tasks as planned, found {counts[phase]}")


def _study_violations(rows: Rows) -> Iterator[checks.Finding]:
    recreate = NextStep("to recreate it, type", "create", rows.name)
    for stage in dict.fromkeys(rows.stages.values()):
        study = study_name(rows.name, stage)
        if study in rows.trials:
            continue
        if study in rows.replaced:
            yield checks.Finding(
                f"study {study} was deleted by another tool, and another program has created one of that name; the"
                " results are intact",
                (NextStep("to recreate it, delete that one in optuna-dashboard and type", "create", rows.name),),
            )
        elif rows.state == "cancelled":  # a deletion cancels first, and removes the row of the sweep last
            yield checks.Finding(
                f"study {study} is missing and the sweep is cancelled: its deletion was interrupted",
                (NextStep("to complete it, type", "delete", rows.name), recreate),
            )
        else:
            yield checks.Finding(f"study {study} was deleted by another tool; the results are intact", (recreate,))


_OWNER = "arm"  # stored with a selected point; the trial has the point alone


def _selection_violations(
    rows: Rows, tasks: checks.AuditedTasks, faults: Mapping[str, checks.Finding]
) -> Iterator[checks.Finding]:
    """Find selected points without a done task, for example from another tool's trial."""
    done: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for task in rows.tasks:
        for attempt in tasks.attempts[task.id]:
            counted = attempt.state == "done" or attempt.error_class == UNREADABLE
            if counted and isinstance(attempt.params, dict):
                done[task.key].append(attempt.params)
    everything = [params for points in done.values() for params in points]
    names = {name for params in everything for name in params}
    for selection, value in rows.selections.items():
        if isinstance(value, Unreadable):
            yield checks.Finding(f"selection {selection} is not JSON ({value.why})")
            continue
        for point in _points(value):
            chosen = {name: point[name] for name in point if name in names and name != _OWNER}
            of = str(point["task"]) if point.get("task") else None
            if of in faults or not (chosen or of):
                continue
            if not any(chosen.items() <= params.items() for params in (done.get(of, []) if of else everything)):
                text = f"expected parameters with which {of or 'a task'} was done, found {chosen}"
                yield checks.Finding(f"selection {selection}: {text}")


def _points(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _points(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _points(inner)


def _blob_violations(rows: Rows) -> Iterator[checks.Finding]:
    makers = {digest: f"{what} of {task.key}" for task in rows.tasks for what, digest in named_blobs(task)}
    for digest, what in makers.items():
        size, sha256 = rows.blobs.get(digest, (0, None))
        if sha256 != digest:
            stored = "none" if sha256 is None else f"{size} bytes of SHA-256 {sha256[:12]}"
            text = f"{what}: expected a blob of SHA-256 {digest[:12]}, found {stored}"
            yield checks.Finding(text, (NextStep("type", "retry", rows.name),))


def _lease_warnings(
    rows: Rows, tasks: checks.AuditedTasks, faults: Mapping[str, checks.Finding]
) -> Iterator[checks.Finding]:
    for task in rows.tasks:
        for attempt in tasks.attempts[task.id]:
            if task.key not in faults and attempt.state == "running" and attempt.lapsed_s > 0:
                yield checks.Finding(
                    f"{task.key} attempt {attempt.number}: the lease of {attempt.worker} on {attempt.host} lapsed"
                    f" {attempt.lapsed_s:.0f} s ago",
                    (
                        NextStep("to run it again, type", "launch", rows.name),
                        NextStep("only to free it, type", "reap", rows.name),
                    ),
                )
