"""Tell where a sweep stands: tasks by state, workers, what failed, how long it may still take."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import sqlalchemy

from storage.records import queries
from storage.records.queries import SweepRecord, TaskRecord
from sweeps.plan.tasks import STAGES
from sweeps.query.bits import KEEP, Bits, bits_of

_STUDENT_STAGES = ("search", "confirm", "native", "transfer")


@dataclass(frozen=True)
class StageCount:
    """Tasks of one stage by state."""

    waiting: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0

    @property
    def ended(self) -> int:
        """Tasks that will not run again."""
        return self.done + self.failed + self.cancelled + self.skipped

    @property
    def total(self) -> int:
        """All tasks of the stage."""
        return self.ended + self.waiting + self.running


def stage_counts(engine: sqlalchemy.Engine, sweep_id: int) -> dict[str, StageCount]:
    """Return the counts of every stage, in the order of the stages."""
    counts: dict[str, dict[str, int]] = {stage: {} for stage in STAGES}
    for phase in queries.phase_records(engine, sweep_id):
        for state, number in phase.counts.items():
            counts[phase.stage][state] = counts[phase.stage].get(state, 0) + number
    return {stage: StageCount(**states) for stage, states in counts.items()}


def failures(engine: sqlalchemy.Engine, sweep_id: int) -> list[str]:
    """Return one line for each phase that failed or was skipped although others, or the user, need it."""
    lines = []
    for phase in queries.phase_records(engine, sweep_id):
        if phase.state in ("failed", "skipped"):
            reasons = [t.reason for t in queries.task_records(engine, sweep_id, phase=phase.name, state="failed")]
            why = reasons[0] if reasons and reasons[0] else phase.reason
            lines.append(f"{phase.name} {phase.state}: {why}")
    return lines


@dataclass(frozen=True, kw_only=True)
class Working:
    """An attempt at work. lease_left_s: seconds; below 0 its lease has lapsed and nobody has taken the task yet."""

    worker: str
    host: str
    task: str
    attempt: int
    lease_left_s: float

    @property
    def alive(self) -> bool:
        """Whether its lease is good."""
        return self.lease_left_s >= 0


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where a sweep stands.

    state: "active", "paused" or "cancelled". stages: in their order. seconds_left: a guess, None while there is
    nothing to go by. problems: one line for each phase that failed or was skipped. bits: of its answer.
    """

    sweep: str
    state: str
    stages: Mapping[str, StageCount]
    workers: tuple[Working, ...]
    seconds_left: float | None
    problems: tuple[str, ...]
    bits: Bits

    def as_json(self) -> dict[str, Any]:
        """Return plain values, as `status -f json` prints them."""
        values = {name: value for name, value in asdict(self).items() if name != "bits"}
        lists = {"workers": [asdict(one) for one in self.workers], "problems": list(self.problems)}
        return values | lists | {"answer_hash": self.bits.answer_hash, "numerics": list(self.bits.numerics)}


def status(engine: sqlalchemy.Engine, sweep: SweepRecord) -> Status:
    """Return where a sweep stands. Only reads.

    Raises:
        storage.errors.RecordBroken: a stored value of it can no longer be read.
    """
    tasks = queries.task_records(engine, sweep.id, keep=KEEP)  # read all the same: a damaged one has to be told
    workers = tuple(
        Working(worker=one.worker, host=one.host, task=one.key, attempt=one.attempt, lease_left_s=one.lease_left_s)
        for one in queries.running(engine, sweep.id)
    )
    return Status(
        sweep=sweep.name,
        state=sweep.state,
        stages=stage_counts(engine, sweep.id),
        workers=workers,
        seconds_left=seconds_left(tasks, len({one.worker for one in workers if one.alive})),
        problems=tuple(failures(engine, sweep.id)),
        bits=bits_of(tasks),
    )


def seconds_left(tasks: Sequence[TaskRecord], workers: int) -> float | None:
    """Guess the seconds left from the tasks done so far: the mean duration per stage, shared among the workers.

    None while nothing works on the sweep, or nothing like the open tasks has finished.
    """
    durations: dict[str, list[float]] = {}
    for task in tasks:
        if task.state == "done" and task.started_at is not None and task.finished_at is not None:
            seconds = task.finished_at - task.started_at
            durations.setdefault(task.stage, []).append(seconds)
            if task.stage in _STUDENT_STAGES:
                durations.setdefault("student", []).append(seconds)
    still = [task for task in tasks if task.state in ("waiting", "running")]
    if not still:
        return 0.0
    if not workers or "student" not in durations:
        return None
    # A student of another stage stands in where a stage has finished none; a baseline has no stand-in.
    known = [durations.get(t.stage) or (durations["student"] if t.stage in _STUDENT_STAGES else []) for t in still]
    return sum(fmean(values) for values in known if values) / workers
