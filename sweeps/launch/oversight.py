"""`Oversight`: the interface between a launch and its sweep; `DatabaseOversight` implements it on a storage."""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from storage.queue import tasks, workers
from storage.queue.workers import Seen
from storage.records import queries
from storage.tables import LOST
from sweeps.query import best, listing, status
from sweeps.query.status import Eta, StageCount
from sweeps.workers.attempt import cap_of
from sweeps.workers.backend import Backend, DatabaseBackend
from sweeps.workers.reach import Reach, Service


@dataclass(frozen=True)
class Outline:
    """The progress of a sweep. insight: its results so far in one line, "" if there are none."""

    eta: Eta
    insight: str


class Oversight(Backend, Protocol):
    """The queue of one sweep, as a launch sees it: a worker's interface, and the following."""

    def to_wake(self, most: int) -> Collection[str]:
        """Return the idle workers to wake, at most so many."""

    def seen(self) -> Mapping[str, Seen]: ...

    def has_finished(self, worker: str) -> bool:
        """Return whether a worker has ever finished a task."""

    def reap(self, worker: str, *, reason: str, log: str | None) -> None:
        """Free the task of a worker whose process is dead. log: the end of its log."""

    def check_room(self, worker: str) -> None:
        """Raise StorageFull if a worker may be alive, but unable to renew its lease."""

    def counts(self) -> Mapping[str, StageCount]: ...

    def outline(self, workers: int) -> Outline:
        """Return the progress with so many workers running."""

    def failures(self) -> list[str]: ...


class DatabaseOversight(DatabaseBackend):
    """An `Oversight` of a storage."""

    def to_wake(self, most: int) -> Collection[str]:
        return workers.to_wake(self.engine, self.sweep.id, most=most)

    def seen(self) -> Mapping[str, Seen]:
        return workers.seen(self.engine, self.sweep.id)

    def has_finished(self, worker: str) -> bool:
        return workers.has_finished(self.engine, worker)

    def reap(self, worker: str, *, reason: str, log: str | None) -> None:
        tasks.reap_worker(self.engine, worker, cap=cap_of(LOST, self.spec), log=log)
        workers.sign_out(self.engine, self.sweep.id, worker, reason=reason, unless_ended=True)

    def check_room(self, worker: str) -> None:
        workers.check_room(self.engine, self.sweep.id, worker)

    def counts(self) -> Mapping[str, StageCount]:
        return status.stage_counts(self.engine, self.sweep.id)

    def outline(self, workers: int) -> Outline:
        rows = queries.task_records(self.engine, self.sweep.id, keep=())
        return Outline(status.eta(self.spec, rows, workers), best.insight(self.spec, rows))

    def failures(self) -> list[str]:
        return status.failures(self.engine, self.sweep.id)


@contextlib.contextmanager
def overseen(reach: Reach, name: str) -> Iterator[Oversight]:
    """Open a sweep for its launch while the block runs."""
    if isinstance(reach, Service):
        with contextlib.closing(reach.oversight(name)) as oversight:
            yield oversight
        return
    with listing.open_sweep(reach, name, write=True) as (engine, sweep):
        yield DatabaseOversight(engine, sweep)
