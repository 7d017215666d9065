"""Looks at the test set: the plan that was stored before the first one, and the seeds that were added after each.

Every look is another chance to be right by luck. So their number is declared in the spec, which is stored with its
hash and the time before any test image is read, and each is decided at its share of the 5 %.
"""

from dataclasses import dataclass

import sqlalchemy

from storage import records
from storage.records import RevisionRecord, TaskRecord


@dataclass(frozen=True)
class Look:
    """One look: the plan it was taken by, and when. Times are seconds since 1970.

    number: from 1. seeds: of each arm. first_read: when the first of its trainings that read the test began.
    """

    number: int
    fingerprint: str
    registered_at: float
    seeds: int
    first_read: float | None


def looks(revisions: list[RevisionRecord], transfers: list[TaskRecord]) -> list[Look]:
    """The looks of a sweep, planned ones included: a plan with more seeds is a new look if the test was read before.

    Seeds that are added before any test image was read belong to the first look.
    """
    found: list[Look] = []
    for revision in revisions:
        seeds = int(revision.spec["transfer"]["seeds"])
        latest = found[-1] if found else None
        was_read = latest is not None and latest.first_read is not None and latest.first_read < revision.created_at
        if was_read and latest is not None and seeds == latest.seeds:
            continue  # something was tried again: the same look, by the plan that it was begun with
        if latest is not None and not was_read:
            found.pop()  # nothing was seen of that plan's look: this one replaces it
        before = found[-1].seeds if found else 0
        reads = [
            task.started_at
            for task in transfers
            if task.started_at is not None and before <= task.payload["repeat"] < seeds
        ]
        first = min(reads, default=None)
        found.append(Look(len(found) + 1, revision.fingerprint, revision.created_at, seeds, first))
    return found


def of_sweep(engine: sqlalchemy.Engine, sweep_id: int) -> list[Look]:
    """The looks of a stored sweep."""
    transfers = records.task_records(engine, sweep_id, stage="transfer", keep=())
    return looks(records.revisions(engine, sweep_id), transfers)


def taken(engine: sqlalchemy.Engine, sweep_id: int) -> int:
    """How many looks have begun: the test was read at least once for each of them."""
    return sum(look.first_read is not None for look in of_sweep(engine, sweep_id))
