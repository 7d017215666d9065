"""What can no longer be read, and what to type: a column that meets such a value knows its text only."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, Text, select, type_coerce

from storage.errors import RecordBroken
from storage.schema import attempts, blobs, sweeps, tasks

_ELSE = "put it back, or make another sweep: kd-sweeps create NAME"


def is_whole(connection: Connection, outcome: str | None) -> bool:
    """Whether the outcome of a done task can be read, and every blob that it names under "blobs"."""
    if outcome is None or not _is_json(outcome):
        return False
    found = json.loads(outcome)
    named = found.get("blobs", {}) if isinstance(found, dict) else None
    return isinstance(named, dict) and all(_is_stored(connection, str(digest)) for digest in named.values())


@contextmanager
def named(connection: Connection, sweep_id: int) -> Iterator[None]:
    """Let an error say which task of the sweep cannot be read."""
    try:
        yield
    except RecordBroken as error:
        raise RecordBroken(_which_task(connection, sweep_id) or str(error)) from error


@contextmanager
def named_sweep(connection: Connection) -> Iterator[None]:
    """Let an error say which sweep cannot be read."""
    try:
        yield
    except RecordBroken as error:
        texts = [type_coerce(sweeps.c[name], Text).label(name) for name in ("spec", "provenance")]
        for row in connection.execute(select(sweeps.c.name, *texts)):
            if column := _first_broken(row, "spec", "provenance"):
                raise RecordBroken(f"the stored {column} of {row.name} is not JSON any more; {_ELSE}") from error
        raise


def _which_task(connection: Connection, sweep_id: int) -> str | None:
    query = (
        select(
            sweeps.c.name,
            tasks.c.key,
            type_coerce(tasks.c.outcome, Text).label("outcome"),
            type_coerce(tasks.c.payload, Text).label("payload"),
            type_coerce(attempts.c.params, Text).label("params"),
        )
        .join(tasks, tasks.c.sweep_id == sweeps.c.id)
        .join(attempts, attempts.c.task_id == tasks.c.id, isouter=True)
        .where(sweeps.c.id == sweep_id)
        .order_by(tasks.c.id)
    )
    for row in connection.execute(query):
        if column := _first_broken(row, "outcome", "payload", "params"):
            cure = f"to make it again, type: kd-sweeps retry {row.name}" if column == "outcome" else _ELSE
            return f"the stored {column} of {row.key} is not JSON any more; {cure}"
    return None


def _first_broken(row: Row[Any], *columns: str) -> str | None:
    return next((column for column in columns if not _is_json(getattr(row, column))), None)


def _is_json(text: str | None) -> bool:
    try:
        json.loads("null" if text is None else text)
    except ValueError:
        return False
    return True


def _is_stored(connection: Connection, digest: str) -> bool:
    data = connection.scalar(select(blobs.c.bytes).where(blobs.c.digest == digest))
    return data is not None and hashlib.sha256(data).hexdigest() == digest
