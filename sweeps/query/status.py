"""Tell where a sweep stands: tasks by state, workers, what failed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy

from storage.queue.phases import parse_dependencies
from storage.records import queries
from storage.records.queries import PhaseRecord, RunningRecord, SweepRecord
from sweeps.plan.states import UNAVAILABLE, shown_stage, shown_state
from sweeps.plan.tasks import STAGES
from sweeps.query.bits import KEEP, Bits, bits_of
from sweeps.query.expected import expected_time
from sweeps.query.workers import WorkerRow, worker_rows
from sweeps.spec.model import as_it_stands

_KEEP_MODELS = ("teachers", "baselines", "transfer")


@dataclass(frozen=True)
class StageCount:
    """Tasks of one stage by state. unavailable: what cannot run on this machine; it is not counted as failed."""

    waiting: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0
    unavailable: int = 0

    @property
    def ended(self) -> int:
        """Tasks that will not run again."""
        return self.done + self.failed + self.cancelled + self.skipped + self.unavailable

    @property
    def total(self) -> int:
        """All tasks of the stage."""
        return self.ended + self.waiting + self.running


def stage_counts(engine: sqlalchemy.Engine, sweep_id: int) -> dict[str, StageCount]:
    """Return the counts of every stage, in the order of the stages."""
    counts = {stage: Counter[str]() for stage in STAGES}
    for phase in queries.phase_records(engine, sweep_id):
        counts[phase.stage].update(phase.counts)
    if any(count["failed"] for count in counts.values()):  # `launch` asks twice a second
        failed = queries.task_records(engine, sweep_id, state="failed", keep=())
        missing = Counter(t.stage for t in failed if shown_state(t.stage, t.state, t.error_class) == UNAVAILABLE)
        for stage, count in counts.items():
            count[UNAVAILABLE] = min(missing[stage], count["failed"])  # one may have failed since
            count["failed"] -= count[UNAVAILABLE]
    return {stage: StageCount(**count) for stage, count in counts.items()}


def failures(engine: sqlalchemy.Engine, sweep_id: int) -> list[str]:
    """Return one line for each phase that failed by itself: why, and how many tasks were skipped because of it."""
    phases = {phase.name: phase for phase in queries.phase_records(engine, sweep_id)}
    skipped = Counter[str]()  # by the phase that failed, in the order of the plan
    for phase in phases.values():
        if phase.state in ("failed", "skipped"):
            skipped[_root(phase, phases).name] += phase.counts.get("skipped", 0)
    if len(skipped) > 1 and not any(one.counts.get("done") for one in phases.values() if one.stage in _KEEP_MODELS):
        skipped.pop("measure", None)  # nothing was made that could be measured: that follows from the other failure
    return [_failure(engine, sweep_id, phases[name], number) for name, number in skipped.items()]


def _root(phase: PhaseRecord, phases: Mapping[str, PhaseRecord]) -> PhaseRecord:
    """Return the failed phase because of which this one was skipped; itself, if it failed."""
    for need in parse_dependencies(phase.needs) if phase.state == "skipped" else ():
        if not need.after_any_end and phases[need.phase].state in ("failed", "skipped"):
            return _root(phases[need.phase], phases)
    return phase


def _failure(engine: sqlalchemy.Engine, sweep_id: int, phase: PhaseRecord, skipped: int) -> str:
    tasks = queries.task_records(engine, sweep_id, phase=phase.name, state="failed", keep=())
    why = next((task.reason for task in tasks if task.reason), phase.reason) or "nobody stored why"
    after = f"; tasks skipped because of it: {skipped}" if skipped else ""
    return f"{phase.name} {phase.state}: {' '.join(why.split())}{after}"


@dataclass(frozen=True, kw_only=True)
class Working:
    """An attempt at work.

    lease_left_s: seconds; below 0 its lease has lapsed and nobody has taken the task yet. idle_s: seconds since its
    latest step. limit_s: of those, after which it is ended.
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
        """Whether its lease is good."""
        return self.lease_left_s >= 0


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where a sweep stands.

    state: "active", "paused" or "cancelled". stages: in their order. workers: those with a task; others: those that are
    idle or vanished. fraction: of the work that is done, in [0, 1]. shares: of each stage in the whole work.
    seconds_left: a guess, None while nobody works. problems: see `failures`. bits: of its answer.
    """

    sweep: str
    state: str
    stages: Mapping[str, StageCount]
    workers: tuple[Working, ...]
    others: tuple[WorkerRow, ...]
    fraction: float
    shares: Mapping[str, float]
    seconds_left: float | None
    problems: tuple[str, ...]
    bits: Bits

    @property
    def shown_stages(self) -> dict[str, StageCount]:
        """The stages as people see them: on one dataset nothing is searched natively, and nothing is transferred."""
        there = [stage for stage, count in self.stages.items() if count.total]
        return {
            shown_stage(stage, there): count
            for stage, count in self.stages.items()
            if stage in there or stage != "native"
        }

    def as_json(self) -> dict[str, Any]:
        """Return plain values, as `status -f json` prints them."""
        values = {name: value for name, value in asdict(self).items() if name != "bits"}
        lists = {
            "workers": [asdict(one) for one in self.workers],
            "others": [asdict(one) for one in self.others],
            "problems": list(self.problems),
        }
        return values | lists | {"answer_hash": self.bits.answer_hash, "numerics": list(self.bits.numerics)}


def status(engine: sqlalchemy.Engine, sweep: SweepRecord) -> Status:
    """Return where a sweep stands. Only reads.

    Raises:
        storage.errors.RecordBroken: a stored value of it can no longer be read.
        sweeps.errors.SpecError: its stored spec is none.
    """
    tasks = queries.task_records(engine, sweep.id, keep=KEEP)  # read all the same: a damaged one has to be told
    spec = as_it_stands(sweep)
    at_work = queries.running_tasks(engine, sweep.id)
    stages = {one.stage for one in at_work}
    limits = {stage: spec.limits.of(stage, queries.durations(engine, sweep.id, stage)) for stage in stages}
    workers = tuple(_working(one, limits[one.stage]) for one in at_work)
    time = expected_time(spec, tasks, len({one.worker for one in workers if one.alive}))
    return Status(
        sweep=sweep.name,
        state=sweep.state,
        stages=stage_counts(engine, sweep.id),
        workers=workers,
        others=tuple(one for one in worker_rows(engine, sweep, spec, tasks) if _is_other(one)),
        fraction=time.fraction,
        shares={stage: time.shares.get(stage, 0.0) for stage in STAGES},
        seconds_left=time.seconds_left,
        problems=tuple(failures(engine, sweep.id)),
        bits=bits_of(tasks),
    )


def _working(one: RunningRecord, limit_s: float) -> Working:
    return Working(
        worker=one.worker,
        host=one.host,
        task=one.key,
        attempt=one.attempt,
        lease_left_s=one.lease_left_s,
        idle_s=one.idle_s,
        limit_s=limit_s,
    )


def _is_other(row: WorkerRow) -> bool:
    """Return whether a worker has no task and has not said that it ended."""
    return row.task is None and row.state in ("idle", "vanished")
