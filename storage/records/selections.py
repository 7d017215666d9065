"""Store selections, the frozen results of a stage. The first to insert one decides; all others read that row."""

from typing import Any

from sqlalchemy import Engine, select

from storage.db.dialects import database_now, insert_into
from storage.db.faults import retrying
from storage.db.schema import selections
from storage.db.transaction import read, write


@retrying
def get(engine: Engine, sweep_id: int, name: str) -> dict[str, Any] | None:
    """Return the selection, or None while nobody has made it."""
    with read(engine) as connection:
        value: dict[str, Any] | None = connection.scalar(
            select(selections.c.value).where(selections.c.sweep_id == sweep_id, selections.c.name == name)
        )
    return value


@retrying
def insert_or_ignore(engine: Engine, sweep_id: int, name: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return the selection that is stored: `value` if it was the first, else the one that was there."""
    with write(engine) as connection:
        connection.execute(
            insert_into(connection, selections)
            .values(sweep_id=sweep_id, name=name, value=value, created_at=database_now())
            .on_conflict_do_nothing()
        )
    stored = get(engine, sweep_id, name)
    return value if stored is None else stored
