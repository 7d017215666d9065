"""`Status`: tasks, workers, failures, time left, fingerprints."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import sqlalchemy
from pydantic import Field

from storage.queue import workers
from storage.queue.phases import parse_dependencies
from storage.queue.workers import WorkerRecord
from storage.records import queries
from storage.records.queries import RunningRecord
from storage.studies.mirror import backlog
from storage.tables import PhaseRecord, SweepRecord, TaskRecord
from sweeps.plan import identity, plan
from sweeps.plan.phases import STAGES, UNAVAILABLE, display_stage, display_state, run_kind
from sweeps.spec.model import Spec
from sweeps.spec.stored import as_it_stands

STATES = ("working", "idle", "vanished", "stopped", "ended")  # of workers
_MANY_UNDRAWN, _LONG_UNDRAWN_S = 10, 60.0  # attempts, seconds: below both a mirror is about to add them
KEEP = (*identity.KEEP, "numerics")  # keys read of an outcome
# Weight of the spec's estimate, as a fraction of the whole work: measured times weigh as much once that fraction is
# done. In five recorded sweeps the time left rose by at most 0.46 of the sweep's duration, without it by 2.5.
_BELIEVED = 0.1


@dataclass(frozen=True, kw_only=True)
class WorkerRow:
    """A worker.

    state: "working"; "idle", waiting for a task; "vanished", not seen for longer than a lease; "stopped", by reason;
    "ended", since no task was left. seen_s: seconds since it was last seen. done, failed: number of attempts. numerics:
    fingerprint of its arithmetic, None before it has trained.
    """

    worker: str
    host: str
    pid: int
    state: str
    task: str | None
    attempt: int | None
    done: int
    failed: int
    seen_s: float
    started_at: float
    reason: str | None
    cpu: str | None
    tensorflow: str | None
    kd_sweeps: str | None
    numerics: str | None


def worker_rows(
    engine: sqlalchemy.Engine, sweep: SweepRecord, spec: Spec, tasks: Sequence[TaskRecord]
) -> list[WorkerRow]:
    """Return every worker that ever worked on a sweep, oldest first. tasks: the done ones, or all."""
    numerics = {task.worker: task.outcome.get("numerics") for task in tasks if task.outcome}
    return [_row(record, spec.lease.seconds, numerics.get(record.name)) for record in workers.records(engine, sweep.id)]


def _row(record: WorkerRecord, lease_s: float, numerics: str | None) -> WorkerRow:
    versions = record.provenance.get("versions", {})
    ended, has_reason, busy = record.ended_at is not None, bool(record.reason), bool(record.task)
    state = worker_state(ended=ended, has_reason=has_reason, seen_s=record.seen_s, busy=busy, lease_s=lease_s)
    return WorkerRow(
        worker=record.name,
        host=record.host,
        pid=record.pid,
        state=state,
        task=record.task,
        attempt=record.attempt,
        done=record.done,
        failed=record.failed,
        seen_s=max(record.seen_s, 0.0),  # the database's clock may have been set back
        started_at=record.started_at,
        reason=record.reason,
        cpu=record.provenance.get("cpu"),
        tensorflow=versions.get("tensorflow"),
        kd_sweeps=versions.get("kd-sweeps"),
        numerics=numerics,
    )


def worker_state(*, ended: bool, has_reason: bool, seen_s: float, busy: bool, lease_s: float) -> str:
    """Return the state of a worker, one of STATES; arguments as in `storage.records.tallies.WorkerTally`."""
    if ended:
        return "stopped" if has_reason else "ended"
    if seen_s > lease_s:
        return "vanished"
    return "working" if busy else "idle"


@dataclass(frozen=True)
class Eta:
    """Progress of a sweep.

    fraction: of the work, in [0, 1]. seconds_left: None without workers, and before a task has ended if the trainer
    does not say how long its runs take. shares: by stage.
    """

    fraction: float
    seconds_left: float | None
    shares: Mapping[str, float]


@dataclass(frozen=True)
class Effort:
    """Tasks of one stage and role in one state. timed, took_s: how many are done and have both times; their seconds."""

    stage: str
    role: str | None
    state: str
    tasks: int
    timed: int
    took_s: float


def eta(spec: Spec, tasks: Sequence[TaskRecord], workers: int) -> Eta:
    """Return the progress of a sweep with these tasks, all of them, and so many running workers; see `eta_of`."""
    return eta_of(spec, efforts(tasks), workers)


def efforts(tasks: Sequence[TaskRecord]) -> list[Effort]:
    """Count tasks by stage, role and state."""
    groups = defaultdict[tuple[str, str | None, str], list[TaskRecord]](list)
    for task in tasks:
        groups[task.stage, task.payload.get("role"), task.state].append(task)
    counted = []
    for (stage, role, state), group in groups.items():
        took = [_took(task) for task in group] if state == "done" else []
        seconds = [value for value in took if value is not None]
        counted.append(Effort(stage, role, state, tasks=len(group), timed=len(seconds), took_s=sum(seconds)))
    return counted


def _took(task: TaskRecord) -> float | None:
    return None if task.started_at is None or task.finished_at is None else task.finished_at - task.started_at


def eta_of(spec: Spec, efforts: Sequence[Effort], workers: int) -> Eta:
    """Return the progress of a sweep whose tasks are counted by stage, role and state, with so many running workers.

    The fraction weighs tasks by the seconds expected from the spec, not by measured times, so it never falls. The time
    left uses the measured times by kind of task: preparations, trainings, others. It is divided by the number of
    workers, but is at least the longest task.
    """
    every, unended = Counter[tuple[str, str | None]](), Counter[tuple[str, str | None]]()  # tasks by stage and role
    for effort in efforts:
        every[effort.stage, effort.role] += effort.tasks
        unended[effort.stage, effort.role] += effort.tasks if effort.state in ("waiting", "running") else 0
    planned = {(stage, role): plan.expected_seconds(spec, stage, role) for stage, role in every}
    whole = sum(every[key] * seconds for key, seconds in planned.items()) or 1.0
    took, expected = defaultdict[str, float](float), defaultdict[str, float](float)
    for effort in efforts:
        for kind in (_kind(effort.stage), "any"):
            took[kind] += effort.took_s
            expected[kind] += effort.timed * planned[effort.stage, effort.role]

    believed = _BELIEVED * whole if plan.knows_seconds(spec) else 0.0

    def pace(kind: str, otherwise: float) -> float:
        weight = expected[kind] + believed
        return (took[kind] + believed * otherwise) / weight if weight else otherwise

    shares = defaultdict[str, float](float)
    left, longest, ahead = 0.0, 0.0, 0.0
    for (stage, role), seconds in planned.items():
        shares[stage] += every[stage, role] * seconds / whole
        if number := unended[stage, role]:
            each = seconds * pace(_kind(stage), pace("any", 1.0))
            left, longest = left + number * each, max(longest, each)
            ahead += number * seconds
    if not unended.total():
        return Eta(1.0, 0.0, shares)
    is_known = believed > 0 or expected["any"] > 0
    return Eta(1 - ahead / whole, max(left / workers, longest) if workers and is_known else None, shares)


def _kind(stage: str) -> str:
    kind = run_kind(stage)
    return kind if kind in ("prepare", "train") else "else"


@dataclass(frozen=True)
class Fingerprints:
    """answer_hash: None until every task has ended. numerics: the fingerprints of the workers' arithmetic, sorted."""

    answer_hash: str | None
    numerics: tuple[str, ...]

    def lines(self) -> list[str]:
        lines = [f"answer hash {self.answer_hash}"] if self.answer_hash else []
        return lines + ([identity.differing(self.numerics)] if len(self.numerics) > 1 else [])


def fingerprints(engine: sqlalchemy.Engine, sweep: SweepRecord) -> Fingerprints:
    return _fingerprints_of(queries.task_records(engine, sweep.id, keep=KEEP))


def _fingerprints_of(tasks: Sequence[TaskRecord]) -> Fingerprints:
    numerics = {str(fingerprint) for task in tasks if (fingerprint := (task.outcome or {}).get("numerics"))}
    return Fingerprints(identity.answer_hash(tasks), tuple(sorted(numerics)))


@dataclass(frozen=True)
class StageCount:
    """Tasks of one stage by state. unavailable: cannot run on this machine; not counted as failed."""

    waiting: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0
    unavailable: int = 0

    @property
    def ended(self) -> int:
        return self.done + self.failed + self.cancelled + self.skipped + self.unavailable

    @property
    def total(self) -> int:
        return self.ended + self.waiting + self.running


def stage_counts(engine: sqlalchemy.Engine, sweep_id: int) -> dict[str, StageCount]:
    counts = {stage: Counter[str]() for stage in STAGES}
    for phase in queries.phase_records(engine, sweep_id):
        counts[phase.stage].update(phase.counts)
    if any(count["failed"] for count in counts.values()):  # `launch` calls this twice a second
        failed = queries.task_records(engine, sweep_id, state="failed", keep=())
        missing = Counter(t.stage for t in failed if display_state(t.stage, t.state, t.error_class) == UNAVAILABLE)
        for stage, count in counts.items():
            count[UNAVAILABLE] = min(missing[stage], count["failed"])  # one may have failed between the queries
            count["failed"] -= count[UNAVAILABLE]
    return {stage: StageCount(**count) for stage, count in counts.items()}


def failures(engine: sqlalchemy.Engine, sweep_id: int) -> list[str]:
    """Return one line for each failed phase: why, and how many tasks were skipped because of it."""
    phases = {phase.name: phase for phase in queries.phase_records(engine, sweep_id)}
    skipped = Counter[str]()  # by failed phase, in plan order
    for phase in phases.values():
        if phase.state in ("failed", "skipped"):
            skipped[_root(phase, phases).name] += phase.counts.get("skipped", 0)
    keep = [name for name, stage in STAGES.items() if stage.keeps]
    if len(skipped) > 1 and not any(phase.counts.get("done") for phase in phases.values() if phase.stage in keep):
        skipped.pop("measure", None)  # a consequence of the other failure: there is no model to measure
    return [_failure(engine, sweep_id, phases[name], number) for name, number in skipped.items()]


def _root(phase: PhaseRecord, phases: Mapping[str, PhaseRecord]) -> PhaseRecord:
    """Return the failed phase that caused this one to be skipped; itself, if it failed."""
    for need in parse_dependencies(phase.needs) if phase.state == "skipped" else ():
        if not need.after_any_end and phases[need.phase].state in ("failed", "skipped"):
            return _root(phases[need.phase], phases)
    return phase


def _failure(engine: sqlalchemy.Engine, sweep_id: int, phase: PhaseRecord, skipped: int) -> str:
    tasks = queries.task_records(engine, sweep_id, phase=phase.name, state="failed", keep=())
    why = next((task.reason for task in tasks if task.reason), phase.reason) or "no reason recorded"
    after = f"; tasks skipped because of it: {skipped}" if skipped else ""
    return f"{phase.name} {phase.state}: {' '.join(why.split())}{after}"


@dataclass(frozen=True, kw_only=True)
class Working:
    """A running attempt.

    lease_left_s: seconds; negative: its lease has lapsed and no other worker has taken the task yet. idle_s: seconds
    since its latest step. limit_s: of idle_s, at which it is ended.
    """

    worker: str
    host: str
    task: str
    attempt: int
    lease_left_s: float
    idle_s: float
    limit_s: float

    @property
    def alive(self) -> bool:
        return self.lease_left_s >= 0


@dataclass(frozen=True, kw_only=True)
class Status:
    """The status of a sweep.

    state: as stored: "active", "paused" or "cancelled". stages: in order. workers: those with a task; idle_workers:
    those without one, vanished ones included. fraction: ended part of the work, in [0, 1]; 1 once every task has ended,
    so of an active sweep once it is finished. shares: of each stage in the whole work.
    seconds_left: an estimate, None if unknown. problems: see `failures`. undrawn: attempts that ended a while ago
    and are not in the dashboard; 0 if a mirror is about to add them. smoke_test: see `Spec.is_smoke_test`.
    """

    sweep: str
    state: str
    stages: Mapping[str, StageCount]
    workers: tuple[Working, ...]
    idle_workers: tuple[WorkerRow, ...]
    fraction: float
    shares: Mapping[str, float]
    seconds_left: float | None
    problems: tuple[str, ...]
    fingerprints: Fingerprints
    undrawn: Annotated[int, Field(exclude_if=lambda undrawn: not undrawn)] = 0
    smoke_test: Annotated[bool, Field(exclude_if=lambda smoke_test: not smoke_test)] = False

    @property
    def display_stages(self) -> dict[str, StageCount]:
        """The stages with tasks, by display name."""
        stages = [stage for stage, count in self.stages.items() if count.total]
        return {display_stage(stage, stages): count for stage, count in self.stages.items() if stage in stages}


def status(engine: sqlalchemy.Engine, sweep: SweepRecord) -> Status:
    tasks = queries.task_records(engine, sweep.id, keep=KEEP)
    spec = as_it_stands(sweep)
    at_work = queries.running_tasks(engine, sweep.id)
    stages = {attempt.stage for attempt in at_work}
    limits = {stage: spec.limits.of(stage, queries.durations(engine, sweep.id, stage)) for stage in stages}
    workers = tuple(_working(attempt, limits[attempt.stage]) for attempt in at_work)
    rows = worker_rows(engine, sweep, spec, tasks)
    left = backlog(engine, sweep.id)
    time = eta(spec, tasks, len({attempt.worker for attempt in workers if attempt.alive}))
    return Status(
        sweep=sweep.name,
        state=sweep.state,
        stages=stage_counts(engine, sweep.id),
        workers=workers,
        idle_workers=tuple(row for row in rows if row.task is None and row.state in ("idle", "vanished")),
        fraction=time.fraction,
        shares={stage: time.shares.get(stage, 0.0) for stage in STAGES},
        seconds_left=time.seconds_left,
        problems=tuple(failures(engine, sweep.id)),
        fingerprints=_fingerprints_of(tasks),
        undrawn=left.count if left.count >= _MANY_UNDRAWN and left.seconds >= _LONG_UNDRAWN_S else 0,
        smoke_test=spec.is_smoke_test,
    )


def _working(record: RunningRecord, limit_s: float) -> Working:
    return Working(
        worker=record.worker,
        host=record.host,
        task=record.key,
        attempt=record.attempt,
        lease_left_s=record.lease_left_s,
        idle_s=record.idle_s,
        limit_s=limit_s,
    )
