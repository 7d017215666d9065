"""Lists: the sweeps of a storage, the tasks of a sweep with their trials."""

from typing import Any

import sqlalchemy

from storage.records import queries
from storage.records.queries import SweepRecord
from sweeps.errors import SpecError
from sweeps.plan.tasks import STAGES
from sweeps.query.status import stage_counts


def sweep_rows(engine: sqlalchemy.Engine) -> list[dict[str, Any]]:
    """One row per sweep of the storage."""
    rows = []
    for sweep in queries.list_sweeps(engine):
        counts = stage_counts(engine, sweep.id).values()
        rows.append(
            {
                "name": sweep.name,
                "source": sweep.spec["source"]["dataset"],
                "target": sweep.spec["target"]["dataset"],
                "state": sweep.state,
                "done": sum(count.done for count in counts),
                "tasks": sum(count.total for count in counts),
            }
        )
    return rows


def trial_rows(engine: sqlalchemy.Engine, sweep: SweepRecord, stage: str | None = None) -> list[dict[str, Any]]:
    """One row per task, in the order of the plan: what was tried and what came of it.

    Raises:
        SpecError: there is no such stage.
    """
    if stage is not None and stage not in STAGES:
        raise SpecError(f"--stage: got {stage!r}; allowed: {', '.join(STAGES)}")
    rows = []
    for task in queries.task_records(engine, sweep.id, stage=stage, keep=("test_accuracy", "train_s", "cpu_s")):
        outcome, params = task.outcome or {}, task.params or {}
        role = task.payload.get("role")
        rows.append(
            {
                "task": task.key,
                "stage": task.stage,
                "state": task.state,
                "attempt": task.attempt,
                "trial": task.trial_number,
                "dataset": sweep.spec[role]["dataset"] if role else None,
                "arm": task.payload.get("arm") or task.payload.get("method"),
                "temperature": params.get("temperature"),
                "alpha": params.get("alpha"),
                "score": task.score,
                "test_accuracy": outcome.get("test_accuracy"),
                "seed": task.payload.get("seed"),
                "train_s": outcome.get("train_s"),
                "cpu_s": outcome.get("cpu_s"),
                "worker": task.worker,
                "reason": task.reason,
            }
        )
    return rows
