"""The interface between the launcher and its engines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import sqlalchemy

from sweeps.workers.reach import Reach


class WorkerHandle(Protocol):
    """A worker started by an engine."""

    @property
    def slot(self) -> int:
        """Its index among the workers that are kept alive, from 0."""

    @property
    def worker(self) -> str:
        """Its name in the tables of workers and attempts."""

    @property
    def log_place(self) -> str:
        """The location of its log, for display."""

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives or waits for its machine."""

    @property
    def lived_s(self) -> float:
        """Seconds since it started running; 0 while it waits for its machine."""

    @property
    def replacement(self) -> "WorkerHandle | None":
        """Once it has ended: the worker that its engine starts in its place; None: the launcher starts one."""

    def send(self, number: int) -> None:
        """Send it a signal, unless it has ended."""

    def wake(self) -> None:
        """Let it look for a task at once, if it is idle; do nothing on an engine whose workers listen themselves."""

    def kill(self) -> None:
        """End it at once, with its children."""

    def end_children(self) -> None:
        """End the children of a dead worker, if the engine does not."""

    def last_lines(self, count: int) -> list[str]:
        """Return the last lines of its output, for display; none if they cannot be read here."""

    def stored_log(self, url: sqlalchemy.URL | None) -> str | None:
        """Return the end of its log for storing with an attempt; None if it cannot be read here."""


class Engine(Protocol):
    """Starts workers of one sweep."""

    @property
    def stop_s(self) -> float:
        """Seconds that a stopped worker is waited for before it is killed."""

    def start(self, slots: Sequence[int], first: int) -> Sequence[WorkerHandle]:
        """Start a worker for each slot; SweepError if a person must mend the reason why they cannot start.

        first: number of the first; numbers make names of workers unique.
        """


DETACHED_VARIABLE = "KD_SWEEPS_DETACHED"  # in the environment of a worker that no launch waits for


@dataclass(frozen=True)
class Request:
    """A request to an engine.

    url: how its workers reach the sweep. options: typed after "--". gpus: devices, assigned to workers in turn.
    """

    url: Reach
    sweep: str
    options: Sequence[str] = ()
    gpus: Sequence[str] = ()


@runtime_checkable
class Submitter(Protocol):
    """An engine whose workers can run without a launch."""

    def script(self, slots: Sequence[int]) -> str: ...

    def detach(self, slots: Sequence[int]) -> int:
        """Submit the script; return the number of the job."""
