"""Looks at the test set: the plan that was stored before the first one, and the seeds that were added after each.

Every look is another chance to be right by luck. So their number is declared in the spec, which is stored with its
hash and the time before any test image is read, and each is decided at its share of the 5 %.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy

from storage.records import queries
from storage.records.queries import RevisionRecord, TaskRecord
from sweeps.plan.names import groups
from sweeps.plan.payloads import Payload, TransferTask, payload_of
from sweeps.spec.model import parse


@dataclass(frozen=True)
class Look:
    """One look: the plan it was taken by, and when. Times are seconds since 1970.

    number: from 1. seeds: of each arm of the first search; searches: of each teacher. first_read: when the first of its
    trainings that read the test began.
    """

    number: int
    fingerprint: str
    registered_at: float
    seeds: int
    searches: int
    first_read: float | None


@dataclass(frozen=True)
class Read:
    """A training that reads the test: its group, its repeat there, and when it began, in seconds since 1970."""

    group: str
    repeat: int
    at: float


def looks(revisions: Sequence[RevisionRecord], reads: Sequence[Read]) -> list[Look]:
    """Return the looks of a sweep, planned ones included.

    A plan with more seeds or more searches is a new look if the test was read before. What is added before any test
    image was read belongs to the first look.

    Args:
        reads: every training that reads the test, as far as it began.
    """
    found: list[Look] = []
    seen: list[set[tuple[str, int]]] = []  # groups and repeats of each look and of those before it
    for revision in revisions:
        if found:
            latest = found[-1]
            if revision.fingerprint == latest.fingerprint:
                continue  # something was tried again: the same look, by the plan that it was begun with
            if latest.first_read is None or latest.first_read > revision.created_at:
                found.pop()  # nothing was seen of that plan's look: this one replaces it
                seen.pop()
        spec = parse(revision.spec, origin="a stored revision")
        planned = {(group, repeat) for group in groups(spec) for repeat in range(spec.of_group(group).transfer.seeds)}
        new = planned - seen[-1] if seen else planned
        first = min((one.at for one in reads if (one.group, one.repeat) in new), default=None)
        made = revision.fingerprint, revision.created_at, spec.transfer.seeds, spec.outer.searches
        found.append(Look(len(found) + 1, *made, first))
        seen.append(planned)
    return found


def of_sweep(engine: sqlalchemy.Engine, sweep_id: int) -> list[Look]:
    """Return the looks of a stored sweep."""
    transfers = queries.task_records(engine, sweep_id, stage="transfer", keep=())
    return looks(queries.revisions(engine, sweep_id), reads([(task, payload_of(task)) for task in transfers]))


def reads(tasks: Iterable[tuple[TaskRecord, Payload]]) -> list[Read]:
    """Return each training that reads the test and has begun, of tasks with their payloads."""
    return [
        Read(payload.group, payload.repeat, task.started_at)
        for task, payload in tasks
        if isinstance(payload, TransferTask) and task.started_at is not None
    ]


def taken(engine: sqlalchemy.Engine, sweep_id: int) -> int:
    """Return how many looks have begun: the test was read at least once for each of them."""
    return sum(look.first_read is not None for look in of_sweep(engine, sweep_id))
