"""Where a sweep stands: tasks by state, workers, what failed, how long it may still take."""

from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import sqlalchemy

from storage.records import queries
from storage.records.queries import SweepRecord, TaskRecord
from sweeps.plan.tasks import STAGES

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
    """Counts for every stage, in the order of the stages."""
    counts: dict[str, dict[str, int]] = {stage: {} for stage in STAGES}
    for phase in queries.phase_records(engine, sweep_id):
        for state, number in phase.counts.items():
            counts[phase.stage][state] = counts[phase.stage].get(state, 0) + number
    return {stage: StageCount(**states) for stage, states in counts.items()}


def failures(engine: sqlalchemy.Engine, sweep_id: int) -> list[str]:
    """One line for each phase that failed or was skipped although others, or the user, need it."""
    lines = []
    for phase in queries.phase_records(engine, sweep_id):
        if phase.state in ("failed", "skipped"):
            reasons = [t.reason for t in queries.task_records(engine, sweep_id, phase=phase.name, state="failed")]
            why = reasons[0] if reasons and reasons[0] else phase.reason
            lines.append(f"{phase.name} {phase.state}: {why}")
    return lines


def status(engine: sqlalchemy.Engine, sweep: SweepRecord) -> dict[str, Any]:
    """Everything `status` shows, as plain values. seconds_left is a guess, None while there is nothing to go by."""
    tasks = queries.task_records(engine, sweep.id, keep=())  # read all the same: a damaged one has to be told
    running = queries.running(engine, sweep.id)
    return {
        "sweep": sweep.name,
        "state": sweep.state,
        "stages": {stage: asdict(count) for stage, count in stage_counts(engine, sweep.id).items()},
        "workers": [
            {
                "worker": one.worker,
                "host": one.host,
                "task": one.key,
                "attempt": one.attempt,
                "lease_left_s": one.lease_left_s,
            }
            for one in running
        ],
        "seconds_left": seconds_left(tasks, len({one.worker for one in running if one.lease_left_s >= 0})),
        "problems": failures(engine, sweep.id),
    }


def seconds_left(tasks: list[TaskRecord], workers: int) -> float | None:
    """A guess from the tasks done so far: the mean duration per stage, shared among the workers.

    None while nothing works on the sweep, or nothing like the open tasks has finished.
    """
    durations: dict[str, list[float]] = {}
    for task in tasks:
        if task.state == "done" and task.started_at and task.finished_at:
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


def describe(found: dict[str, Any]) -> str:
    """`status` for people."""
    columns = ["stage", "total", "waiting", "running", "done", "failed", "skipped"]
    if any(counts["cancelled"] for counts in found["stages"].values()):
        columns.append("cancelled")
    lines = ["".join(name.ljust(11) for name in columns).rstrip()]
    for stage, counts in found["stages"].items():
        row = {"stage": stage, "total": sum(counts.values())} | counts
        lines.append("".join(str(row[name]).ljust(11) for name in columns).rstrip())
    lines.append("")
    name, alive = found["sweep"], [one for one in found["workers"] if one["lease_left_s"] >= 0]
    for one in found["workers"]:
        left = one["lease_left_s"]
        lease = f"lease {left:.0f} s" if left >= 0 else f"lease lapsed {-left:.0f} s ago: its worker is probably dead"
        lines.append(f"worker {one['worker']}: {one['task']} attempt {one['attempt']}, {lease}")
    lines += found["problems"]
    if found["problems"]:
        lines.append(f"to try that again: kd-sweeps retry {name}, then kd-sweeps launch {name}")
    seconds = found["seconds_left"]
    if found["state"] != "active":
        lines.append(f"the sweep is {found['state']}; to go on: kd-sweeps resume {name}, then kd-sweeps launch {name}")
    elif seconds == 0:
        lines.append(f"finished; next: kd-sweeps report {name}")
    elif not alive:
        frees = " (it takes over what is left)" if found["workers"] else ""
        lines.append(f"no worker is running; next: kd-sweeps launch {name}{frees}")
    else:
        lines.append(
            "time left: unknown yet" if seconds is None else f"time left: about {max(1, round(seconds / 60))} min"
        )
    return "\n".join(lines)
