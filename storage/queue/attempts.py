"""Attempts as their workers name them from elsewhere, by worker and number: a worker has one at work, or none."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Engine, Select, select

from storage.db.transaction import explain_corruption, read, retry_transient
from storage.tables import TaskRecord, attempts, phases, tasks


@retry_transient()
def at_work(engine: Engine, sweep_id: int, worker: str) -> TaskRecord | None:
    """Return the task that a worker has at work, as its claim gave it; None: it has none.

    A worker that asks for a task has none that it knows of: the answer to its claim was lost.
    """
    query = _attempts(sweep_id, worker).where(attempts.c.state == "running", attempts.c.number == tasks.c.attempt)
    return _read(engine, sweep_id, query)


@retry_transient()
def of_worker(engine: Engine, sweep_id: int, worker: str, *, task: int, number: int) -> TaskRecord | None:
    """Return a task as a worker claimed it for this attempt, whatever has become of both; None: it never did."""
    query = _attempts(sweep_id, worker).where(attempts.c.task_id == task, attempts.c.number == number)
    return _read(engine, sweep_id, query)


@retry_transient()
def saved_point(engine: Engine, claim: TaskRecord) -> dict[str, Any] | None:
    """Return the parameters that this very attempt saved; None: it has saved none yet."""
    own = select(attempts.c.params).where(attempts.c.task_id == claim.id, attempts.c.number == claim.attempt)
    with read(engine) as connection:
        params: dict[str, Any] | None = connection.scalar(own)
    return params


def _attempts(sweep_id: int, worker: str) -> Select[Any]:
    return (
        select(
            tasks.c.id,
            tasks.c.sweep_id,
            tasks.c.key,
            tasks.c.stage,
            phases.c.name.label("phase"),
            tasks.c.payload,
            attempts.c.state,
            attempts.c.number.label("attempt"),
            attempts.c.worker,
        )
        .join_from(tasks, attempts, attempts.c.task_id == tasks.c.id)
        .join(phases, phases.c.id == tasks.c.phase_id)
        .where(tasks.c.sweep_id == sweep_id, attempts.c.worker == worker)
    )


def _read(engine: Engine, sweep_id: int, query: Select[Any]) -> TaskRecord | None:
    with read(engine) as connection, explain_corruption(connection, sweep_id):
        row = connection.execute(query.order_by(attempts.c.started_at.desc()).limit(1)).one_or_none()
        if row is None:
            return None
        kept = (
            select(attempts.c.params)
            .where(attempts.c.task_id == row.id, attempts.c.number <= row.attempt, attempts.c.params.is_not(None))
            .order_by(attempts.c.number.desc())
            .limit(1)
        )
        return replace(TaskRecord(**row._asdict()), params=connection.scalar(kept))
