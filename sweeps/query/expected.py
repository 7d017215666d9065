"""Tell how much of a sweep is done and how long the rest takes, by the expected seconds of every task."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.records.queries import TaskRecord
from sweeps.plan.expected import expected_seconds
from sweeps.spec.model import Spec


@dataclass(frozen=True)
class Expected:
    """How far a sweep is.

    fraction: of the whole work that is done, in [0, 1]. seconds_left: None while nobody works on the rest. shares: of
    each stage in the whole work; together 1.
    """

    fraction: float
    seconds_left: float | None
    shares: Mapping[str, float]


def expected_time(spec: Spec, tasks: Sequence[TaskRecord], workers: int) -> Expected:
    """Return how far a sweep is.

    A task takes as long as its spec lets expect, times how much longer its kind took so far: teachers, students and
    comparison methods apart. The rest is shared among the workers, but one task is never shared.

    Args:
        spec: of the sweep. tasks: all of its tasks.
        workers: how many are at work.
    """
    planned = [expected_seconds(spec, task.stage, task.payload.get("role")) for task in tasks]
    took: dict[str, float] = defaultdict(float)
    expected: dict[str, float] = defaultdict(float)
    for task, seconds in zip(tasks, planned, strict=True):
        if task.state == "done" and task.started_at is not None and task.finished_at is not None:
            for kind in (_kind(task), "any"):
                took[kind] += task.finished_at - task.started_at
                expected[kind] += seconds
    slower = {kind: took[kind] / expected[kind] for kind in expected}
    likely = [
        seconds * slower.get(_kind(task), slower.get("any", 1.0)) for task, seconds in zip(tasks, planned, strict=True)
    ]
    left = [seconds for task, seconds in zip(tasks, likely, strict=True) if task.state in ("waiting", "running")]
    whole, by_stage = sum(likely) or 1.0, defaultdict[str, float](float)
    for task, seconds in zip(tasks, likely, strict=True):
        by_stage[task.stage] += seconds / whole
    if not left:
        return Expected(1.0, 0.0, by_stage)
    return Expected(1 - sum(left) / whole, max(sum(left) / workers, *left) if workers else None, by_stage)


def _kind(task: TaskRecord) -> str:
    return {"teachers": "teacher", "baselines": "method", "measure": "method"}.get(task.stage, "student")
