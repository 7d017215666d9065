"""Delete a sweep: its studies, its rows, and the blobs that no other sweep uses.

The order makes a killed deletion harmless: the sweep is cancelled first, so no task is claimed meanwhile, and its row
is deleted last, so deleting it again completes the job.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Engine, Text, delete, func, select, type_coerce

from storage.db.transaction import database_now, read, retry_transient, write
from storage.db.upgrade import valid_lease
from storage.errors import NextStep, SweepInUse
from storage.failpoints import failpoint
from storage.queue.workers import cancel
from storage.studies.ownership import owned, owner_of
from storage.tables import SweepRecord, attempts, blobs, reserved_studies, sweeps, tasks

if TYPE_CHECKING:  # storage.studies.studies imports Optuna, which costs a second
    from storage.studies.studies import Studies


_DIGEST = re.compile("[0-9a-f]{64}")  # a search, not a parse: even an unreadable outcome keeps its blobs


@dataclass(frozen=True)
class Deleted:
    """What a deletion removed. `bytes`: total size of the blobs."""

    tasks: int
    studies: int
    blobs: int
    bytes: int


def delete_sweep(studies: "Studies", engine: Engine, sweep: SweepRecord) -> Deleted:
    """Remove the sweep, its studies and its blobs. Studies of other sweeps and tools stay.

    Raises SweepInUse, before any change, while a lease is valid, since a worker is probably alive.
    """
    _refuse_if_in_use(engine, sweep)
    cancel(engine, sweep.id)
    failpoint("delete-cancelled")
    names = owned(studies, owner_of(engine, sweep.id))  # not by name alone: another program's study may share it
    for name in names:
        studies.delete(name)
    failpoint("delete-studies")
    return _delete_rows(engine, sweep, len(names))


@retry_transient()
def _refuse_if_in_use(engine: Engine, sweep: SweepRecord) -> None:
    with read(engine) as connection:
        lease = valid_lease(connection, sweep.id)
    if lease:
        raise SweepInUse(
            f"{sweep.name} is in use ({lease})", NextStep("stop its workers first, or type", "cancel", sweep.name)
        )


@retry_transient()
def _delete_rows(engine: Engine, sweep: SweepRecord, studies: int) -> Deleted:
    with write(engine) as connection:
        counted = select(func.count()).select_from(tasks).where(tasks.c.sweep_id == sweep.id)
        number = connection.execute(counted).scalar_one()
        connection.execute(delete(sweeps).where(sweeps.c.id == sweep.id))  # cascades to all its rows
        connection.execute(delete(reserved_studies).where(reserved_studies.c.identity == sweep.identity))
        # A running task may have stored a blob that its outcome will name: keep blobs younger than the oldest running
        # attempt. Query this before the outcomes: an attempt that ends in between shows up there.
        at_work = select(func.min(attempts.c.started_at)).where(attempts.c.state == "running").scalar_subquery()
        old = connection.execute(select(func.coalesce(at_work, database_now()))).scalar_one()
        used = set()
        for text in connection.scalars(select(type_coerce(tasks.c.outcome, Text)).where(tasks.c.outcome.is_not(None))):
            used.update(_DIGEST.findall(str(text)))
        stored = connection.execute(select(blobs.c.digest, blobs.c.size)).all()
        unused = {blob.digest: blob.size for blob in stored if blob.digest not in used}
        digests = [
            digest
            for digest in unused
            # Check the age again: another task may just have stored the same bytes.
            if connection.execute(delete(blobs).where(blobs.c.digest == digest, blobs.c.stored_at < old)).rowcount
        ]
    return Deleted(tasks=number, studies=studies, blobs=len(digests), bytes=sum(unused[digest] for digest in digests))
