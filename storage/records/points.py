"""Read the points of a search, without what else is stored of them: the next point is proposed after every trial."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, and_, case, select

from storage.db import corruption
from storage.db.faults import retrying
from storage.db.schema import attempts, phases, tasks
from storage.db.transaction import read


@dataclass(frozen=True)
class TaskPoint:
    """A task of a search and its point.

    Attributes:
        params: None: it has not been asked for.
        payload: what was planned of it; None where `params` are known, since nobody needs it then.
    """

    key: str
    state: str
    score: float | None
    params: dict[str, Any] | None
    payload: dict[str, Any] | None


@retrying
def points_until(engine: Engine, sweep_id: int, *, phase: str, task_id: int) -> list[TaskPoint]:
    """Return the tasks of the phase in plan order, up to and with this one."""
    latest = and_(attempts.c.task_id == tasks.c.id, attempts.c.number == tasks.c.attempt)
    last = select(tasks.c.ordinal).where(tasks.c.id == task_id).scalar_subquery()
    of_phase = select(phases.c.id).where(phases.c.sweep_id == sweep_id, phases.c.name == phase).scalar_subquery()
    query = (
        select(
            tasks.c.key,
            tasks.c.state,
            tasks.c.score,
            attempts.c.params,
            case((attempts.c.params.is_(None), tasks.c.payload)),
        )
        .select_from(tasks)
        .join(attempts, latest, isouter=True)
        .where(tasks.c.phase_id == of_phase, tasks.c.ordinal <= last)
        .order_by(tasks.c.ordinal)
    )
    with read(engine) as connection, corruption.explain_corruption(connection, sweep_id):
        return [TaskPoint(*row) for row in connection.execute(query)]
