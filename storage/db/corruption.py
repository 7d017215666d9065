"""Name the stored values that can no longer be read: the column that meets one knows its text only."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Column, Connection, Row, Select, String, Text, cast, literal, select, type_coerce

from storage import json_text
from storage.db.schema import attempts, blobs, phases, revisions, selections, sweeps, tasks
from storage.errors import NextStep, RecordBroken

_OUTCOME = "outcome"


def outcome_is_readable(connection: Connection, outcome: str | None) -> bool:
    """Return whether the outcome of a done task can be read, and every blob that it names under "blobs"."""
    if outcome is None or not _is_json(outcome):
        return False
    found = json.loads(outcome)
    named = found.get("blobs", {}) if isinstance(found, dict) else None
    return isinstance(named, dict) and all(_is_stored(connection, str(digest)) for digest in named.values())


@contextmanager
def explain_corruption(connection: Connection, sweep_id: int | None = None) -> Iterator[None]:
    """Let an error out of the block say which value it is, of one sweep or of all.

    Raises:
        RecordBroken: with the task, phase or sweep, and what to do next.
    """
    try:
        yield
    except RecordBroken as error:
        for row in _values(connection, sweep_id):
            if not _is_json(row.text):
                cure = (
                    NextStep("to make it again, type", "retry", row.sweep)
                    if row.what == _OUTCOME
                    else NextStep("put it back, or make another sweep", "create")
                )
                of = row.of or row.sweep
                raise RecordBroken(f"the stored {row.what} of {of} is not JSON any more", cure) from error
        raise


def _values(connection: Connection, sweep_id: int | None) -> Iterator[Row[Any]]:
    revision = literal("revision ") + cast(revisions.c.number, String)
    for query in (
        _texts("spec", sweeps.c.spec, sweeps.c.name),
        _texts("provenance", sweeps.c.provenance, sweeps.c.name),
        _texts(_OUTCOME, tasks.c.outcome, tasks.c.key).join(tasks),
        _texts("payload", tasks.c.payload, tasks.c.key).join(tasks),
        _texts("parameters", attempts.c.params, tasks.c.key).join(tasks).join(attempts),
        _texts("needs", phases.c.needs, phases.c.name).join(phases),
        _texts("spec", revisions.c.spec, revision).join(revisions),
        _texts("plan", revisions.c.planned, revision).join(revisions),
        _texts("selection", selections.c.value, selections.c.name).join(selections),
    ):
        yield from connection.execute(query if sweep_id is None else query.where(sweeps.c.id == sweep_id)).all()


def _texts(what: str, column: Column[Any], of: Any) -> Select[Any]:
    return select(
        sweeps.c.name.label("sweep"),
        of.label("of"),
        literal(what).label("what"),
        type_coerce(column, Text).label("text"),
    ).select_from(sweeps)


def _is_json(text: str | None) -> bool:
    try:
        json_text.parse("null" if text is None else text)
    except ValueError:
        return False
    return True


def _is_stored(connection: Connection, digest: str) -> bool:
    data = connection.scalar(select(blobs.c.bytes).where(blobs.c.digest == digest))
    return data is not None and hashlib.sha256(data).hexdigest() == digest
