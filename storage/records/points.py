"""Read the points of a search, without what else is stored of them: the next point is proposed after every trial."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Text, and_, case, select, type_coerce

from storage import json_text
from storage.db import corruption
from storage.db.faults import retrying
from storage.db.schema import attempts, phases, tasks
from storage.db.transaction import read
from storage.errors import RecordBroken


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
            type_coerce(attempts.c.params, Text),
            case((attempts.c.params.is_(None), tasks.c.payload)),
        )
        .select_from(tasks)
        .join(attempts, latest, isouter=True)
        .where(tasks.c.phase_id == of_phase, tasks.c.ordinal <= last)
        .order_by(tasks.c.ordinal)
    )
    with read(engine) as connection, corruption.explain_corruption(connection, sweep_id):
        rows = connection.execute(query).all()
        points = _decoded([row[3] for row in rows])
        return [
            TaskPoint(key, state, score, point, payload)
            for (key, state, score, _, payload), point in zip(rows, points, strict=True)
        ]


def _decoded(texts: list[str | None]) -> list[dict[str, Any] | None]:
    """Return what `JsonText` stored, in one call: for a thousand small texts that takes half of the time."""
    try:
        found: list[dict[str, Any] | None] = json_text.parse(f"[{','.join(text or 'null' for text in texts)}]")
    except ValueError as error:
        raise RecordBroken(f"the parameters of an attempt are not JSON: {error}") from error
    return found
