"""Read the attempts of a task, with what was logged meanwhile."""

from dataclasses import dataclass, fields

from sqlalchemy import Engine, select

from storage.db import corruption
from storage.db.faults import retrying
from storage.db.schema import attempts, tasks
from storage.db.transaction import read


@dataclass(frozen=True)
class AttemptRecord:
    """An attempt. Times are seconds since 1970.

    error_class, reason, trace: why it failed, and the traceback. log: the end of what its worker logged and printed;
    while it runs, as of the latest renewal of its lease. None where there is none.
    """

    number: int
    worker: str
    host: str
    pid: int
    state: str
    started_at: float
    finished_at: float | None
    error_class: str | None
    reason: str | None
    trace: str | None
    log: str | None


@retrying
def of_task(engine: Engine, sweep_id: int, key: str) -> list[AttemptRecord] | None:
    """Return the attempts of a task, the first one first; None if the sweep has no such task."""
    columns = [attempts.c[field.name] for field in fields(AttemptRecord)]
    with read(engine) as connection, corruption.explain_corruption(connection, sweep_id):
        task = connection.scalar(select(tasks.c.id).where(tasks.c.sweep_id == sweep_id, tasks.c.key == key))
        if task is None:
            return None
        rows = connection.execute(select(*columns).where(attempts.c.task_id == task).order_by(attempts.c.number))
        return [AttemptRecord(**row._asdict()) for row in rows]


@retrying
def last_log(engine: Engine, worker: str) -> str | None:
    """Return the end of what a worker logged and printed during its latest attempt, as far as it is stored."""
    latest = select(attempts.c.log).where(attempts.c.worker == worker).order_by(attempts.c.started_at.desc()).limit(1)
    with read(engine) as connection:
        return connection.scalar(latest)
