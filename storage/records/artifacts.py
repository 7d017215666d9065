"""Bytes by their SHA-256, and frozen selections.

Teacher logits (2.4 MB for 60,000 images) and models are stored here, so that a worker needs only the URL.
"""

import hashlib
from typing import Any

from sqlalchemy import Connection, Engine, select, update

from storage.db import transaction as db
from storage.errors import BlobCorrupt
from storage.tables import blobs, selections


@db.retry_transient(db.RESULT_RETRY_FOR_S, when=db.is_transient_or_full)
def put(engine: Engine, data: bytes) -> str:
    """Store the bytes, deduplicated; return their SHA-256, 64 lower-case hex digits."""
    digest = hashlib.sha256(data).hexdigest()
    with db.write(engine) as connection:
        put_in(connection, digest, data)
    return digest


def put_in(connection: Connection, digest: str, data: bytes) -> None:
    values = {"bytes": data, "size": len(data), "stored_at": db.database_now()}
    blob = db.insert_into(connection, blobs).values(values | {"digest": digest})
    # Overwriting repairs bytes that were damaged in the database: a retried teacher restores them.
    replaced = {name: blob.excluded[name] for name in values}
    connection.execute(blob.on_conflict_do_update(index_elements=[blobs.c.digest], set_=replaced))


@db.retry_transient(db.RESULT_RETRY_FOR_S, when=db.is_transient_or_full)
def keep(engine: Engine, digest: str) -> bool:
    """Return whether these bytes are stored and intact, and mark them as stored now, so that a deletion spares them."""
    with db.write(engine) as connection:
        now = update(blobs).where(blobs.c.digest == digest).values(stored_at=db.database_now())
        data = connection.scalar(now.returning(blobs.c.bytes))
    return data is not None and hashlib.sha256(bytes(data)).hexdigest() == digest


@db.retry_transient()
def get(engine: Engine, digest: str) -> bytes:
    """Return the bytes with that SHA-256; BlobCorrupt if they are missing or damaged."""
    with db.read(engine) as connection:
        data = connection.scalar(select(blobs.c.bytes).where(blobs.c.digest == digest))
    if data is None:
        raise BlobCorrupt(f"blob {digest[:12]} is missing; the task that makes it must run again")
    data = bytes(data)
    actual = hashlib.sha256(data).hexdigest()
    if actual != digest:
        raise BlobCorrupt(
            f"blob {digest[:12]} is damaged: its {len(data)} bytes hash to {actual[:12]}; the task that makes"
            " it must run again"
        )
    return data


@db.retry_transient()
def get_selection(engine: Engine, sweep_id: int, name: str) -> dict[str, Any] | None:
    query = select(selections.c.value).where(selections.c.sweep_id == sweep_id, selections.c.name == name)
    with db.read(engine) as connection:
        value: dict[str, Any] | None = connection.scalar(query)
    return value


@db.retry_transient()
def freeze_selection(engine: Engine, sweep_id: int, name: str, value: dict[str, Any]) -> dict[str, Any]:
    """Store a selection unless one of that name exists; return the stored one."""
    row = {"sweep_id": sweep_id, "name": name, "value": value, "created_at": db.database_now()}
    with db.write(engine) as connection:
        connection.execute(db.insert_into(connection, selections).values(row).on_conflict_do_nothing())
    stored = get_selection(engine, sweep_id, name)
    return value if stored is None else stored
