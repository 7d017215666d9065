"""Bytes by their SHA-256, and frozen selections.

Teacher logits (2.4 MB for 60,000 images) and models live here, so that a worker needs nothing but the URL.
"""

import hashlib
from typing import Any

from sqlalchemy import Engine, select

from storage.db.transaction import (
    RESULT_RETRY_FOR_S,
    database_now,
    insert_into,
    is_transient_or_full,
    read,
    retry_transient,
    write,
)
from storage.errors import BlobCorrupt
from storage.tables import blobs, selections


@retry_transient(RESULT_RETRY_FOR_S, when=is_transient_or_full)
def put(engine: Engine, data: bytes) -> str:
    """Store the bytes; the same bytes twice, or by two processes at once, are stored once.

    Returns:
        Their name: SHA-256, 64 lower-case hex digits.
    """
    digest = hashlib.sha256(data).hexdigest()
    with write(engine) as connection:
        statement = insert_into(connection, blobs).values(
            digest=digest, bytes=data, size=len(data), stored_at=database_now()
        )
        # Overwriting heals bytes that were damaged in the database: a retried teacher makes them good again.
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[blobs.c.digest],
                set_={name: statement.excluded[name] for name in ("bytes", "size", "stored_at")},
            )
        )
    return digest


@retry_transient()
def get(engine: Engine, digest: str) -> bytes:
    """Return the bytes of that name.

    Raises:
        BlobCorrupt: there are none, or they are not what was stored.
    """
    with read(engine) as connection:
        data = connection.scalar(select(blobs.c.bytes).where(blobs.c.digest == digest))
    if data is None:
        raise BlobCorrupt(f"blob {digest[:12]} is missing; the task that makes it has to run again")
    data = bytes(data)
    actual = hashlib.sha256(data).hexdigest()
    if actual != digest:
        raise BlobCorrupt(
            f"blob {digest[:12]} is damaged: its {len(data)} bytes hash to {actual[:12]}; the task that makes"
            " it has to run again"
        )
    return data


@retry_transient()
def get_selection(engine: Engine, sweep_id: int, name: str) -> dict[str, Any] | None:
    """Return the selection, or None before it is made."""
    with read(engine) as connection:
        value: dict[str, Any] | None = connection.scalar(
            select(selections.c.value).where(selections.c.sweep_id == sweep_id, selections.c.name == name)
        )
    return value


@retry_transient()
def freeze_selection(engine: Engine, sweep_id: int, name: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return the selection that is stored: `value` if it was the first, else the one that was there."""
    with write(engine) as connection:
        connection.execute(
            insert_into(connection, selections)
            .values(sweep_id=sweep_id, name=name, value=value, created_at=database_now())
            .on_conflict_do_nothing()
        )
    stored = get_selection(engine, sweep_id, name)
    return value if stored is None else stored
