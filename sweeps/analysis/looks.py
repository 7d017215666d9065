"""Looks at the test set: the plan that was stored before the first one, and the seeds that were added after each.

Every look is another chance to be right by luck. So their number is declared in the spec, which is stored with its
hash and the time before any test image is read, and each is decided at its share of the 5 %.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy

from storage.records import queries
from storage.records.queries import RevisionRecord, TaskRecord
from sweeps.plan.payloads import Payload, TransferTask, payload_of


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


def looks(revisions: Sequence[RevisionRecord], reads: Sequence[tuple[int, float]]) -> list[Look]:
    """Return the looks of a sweep, planned ones included.

    A plan with more seeds is a new look if the test was read before. Seeds that are added before any test image was
    read belong to the first look.

    Args:
        reads: (repeat, when it began) of each training that reads the test.
    """
    found: list[Look] = []
    for revision in revisions:
        seeds = int(revision.spec["transfer"]["seeds"])
        if found:
            latest = found[-1]
            if revision.fingerprint == latest.fingerprint:
                continue  # something was tried again: the same look, by the plan that it was begun with
            if latest.first_read is None or latest.first_read > revision.created_at:
                found.pop()  # nothing was seen of that plan's look: this one replaces it
        before = found[-1].seeds if found else 0
        first = min((at for repeat, at in reads if before <= repeat < seeds), default=None)
        found.append(Look(len(found) + 1, revision.fingerprint, revision.created_at, seeds, first))
    return found


def of_sweep(engine: sqlalchemy.Engine, sweep_id: int) -> list[Look]:
    """Return the looks of a stored sweep."""
    transfers = queries.task_records(engine, sweep_id, stage="transfer", keep=())
    return looks(queries.revisions(engine, sweep_id), reads([(task, payload_of(task)) for task in transfers]))


def reads(tasks: Iterable[tuple[TaskRecord, Payload]]) -> list[tuple[int, float]]:
    """Return the repeat and the beginning of each training that reads the test, of tasks with their payloads."""
    return [
        (payload.repeat, task.started_at)
        for task, payload in tasks
        if isinstance(payload, TransferTask) and task.started_at is not None
    ]


def taken(engine: sqlalchemy.Engine, sweep_id: int) -> int:
    """Return how many looks have begun: the test was read at least once for each of them."""
    return sum(look.first_read is not None for look in of_sweep(engine, sweep_id))
