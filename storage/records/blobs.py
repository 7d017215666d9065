"""Store bytes in the database, named by their SHA-256 and checked on every read.

Teacher logits (2.4 MB for 60,000 images) and models live here, so that a worker needs nothing but the URL.
"""

import hashlib

from sqlalchemy import Engine, select

from storage.db.dialects import database_now, insert_into
from storage.db.faults import RESULT_RETRY_FOR_S, enduring_for, retrying
from storage.db.schema import blobs
from storage.db.transaction import read, write
from storage.errors import BlobCorrupt


@enduring_for(RESULT_RETRY_FOR_S)
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


@retrying
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
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise BlobCorrupt(
            f"blob {digest[:12]} is damaged: its {len(data)} bytes hash to {found[:12]}; the task that makes"
            " it has to run again"
        )
    return data
