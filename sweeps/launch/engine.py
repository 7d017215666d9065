"""What the launcher asks of an engine. Small: engines implement it, and the launcher imports them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import sqlalchemy

from sweeps.workers.reach import Reach


class WorkerHandle(Protocol):
    """One worker that an engine has started."""

    @property
    def slot(self) -> int:
        """Which of the workers that are kept alive it is, from 0."""

    @property
    def worker(self) -> str:
        """Its name in the tables of workers and attempts."""

    @property
    def log_place(self) -> str:
        """Where its log is, for people."""

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives or waits for its machine."""

    @property
    def lived_s(self) -> float:
        """Seconds since it began to run; 0 while it waits for its machine."""

    @property
    def replacement(self) -> "WorkerHandle | None":
        """Once it has ended: the worker that its engine starts in its place by itself; None: there is none."""

    def send(self, number: int) -> None:
        """Send it a signal; one that has ended gets none."""

    def wake(self) -> None:
        """Let it look for a task at once, if it waits for one; nothing where its engine has it listen for itself."""

    def kill(self) -> None:
        """End it at once, with what it started."""

    def end_children(self) -> None:
        """End what a dead worker left behind, where the engine does not do so by itself."""

    def last_lines(self, count: int) -> list[str]:
        """Return the last lines that it logged or printed, as people read them; none if they cannot be read here."""

    def stored_log(self, url: sqlalchemy.URL | None) -> str | None:
        """Return the end of its log as it is stored with an attempt; None if it cannot be read here."""


class Engine(Protocol):
    """Starts workers of one sweep."""

    @property
    def stop_s(self) -> float:
        """Seconds that a stopped worker is waited for before it is killed."""

    def start(self, slots: Sequence[int], first: int) -> Sequence[WorkerHandle]:
        """Start a worker for each slot; SweepError if they cannot be started, for a reason that a person mends.

        first: number of the first; numbers make their names differ from those of the workers before them.
        """


DETACHED_VARIABLE = "KD_SWEEPS_DETACHED"  # in the environment of a worker that no launch waits for


@dataclass(frozen=True)
class Request:
    """What an engine is asked for.

    url: how its workers reach the sweep. options: what was typed after "--". gpus: devices, one for each in turn.
    """

    url: Reach
    sweep: str
    options: Sequence[str] = ()
    gpus: Sequence[str] = ()


@runtime_checkable
class Submitter(Protocol):
    """An engine whose workers can be submitted and left alone."""

    def script(self, slots: Sequence[int]) -> str: ...

    def detach(self, slots: Sequence[int]) -> int:
        """Submit it; return the number of the job."""
