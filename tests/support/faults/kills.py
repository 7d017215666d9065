"""Kill -9 at random moments, and the database's record of where each struck. Imports no pytest."""

import contextlib
import os
import random
import signal
import time
from collections import Counter

import sqlalchemy

from storage.db.engine import open_engine
from storage.url import resolve


class Kills:
    """Kills a random worker with -9 repeatedly, and records from the database what each was doing.

    One kill for every two results, on any machine: kills at a fixed pace would, on a busy machine, only meet workers
    that are starting.
    """

    RESULTS_PER_KILL = 2

    def __init__(self, url: str, *, seed: int) -> None:
        self.during: Counter[str] = Counter()
        self._engine = open_engine(resolve(url), read_only=True)
        self._random = random.Random(seed)
        self._next = 1

    def __call__(self, living: list[int]) -> float:
        """Kill a worker if it is time; see `Fault`."""
        if self._done() < self._next:
            return 0.02
        time.sleep(self._random.uniform(0.0, 0.1))  # at any step of a task, not just after the end of one
        self.kill(self._random.choice(living))
        self._next = self._done() + self.RESULTS_PER_KILL
        return 0.0

    def _done(self) -> int:
        with self._engine.connect() as connection:
            return tasks_done(connection)

    def kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, signal.SIGKILL)

    def note(self, pid: int, code: int) -> None:
        """Record what an ended worker was doing; for `on_end`."""
        if code == -signal.SIGKILL:
            self.during[moment_of_death(self._engine, pid)] += 1

    def close(self) -> None:
        self._engine.dispose()


def tasks_done(connection: sqlalchemy.Connection) -> int:
    """Return the number of done tasks."""
    return int(connection.execute(sqlalchemy.text("SELECT count(*) FROM tasks WHERE state = 'done'")).scalar_one())


MOMENTS = (
    "starting",  # it has claimed nothing yet
    "claimed",  # a task, but no point yet
    "saved",  # the point is saved; the task runs, or is about to be finished
    "between tasks",
    "robbed",  # it renewed its lease too late: another worker had taken the task
)


def moment_of_death(engine: sqlalchemy.Engine, pid: int) -> str:
    """Return which of MOMENTS the rows of a dead process show."""
    latest = "SELECT state, params FROM attempts WHERE pid = :pid ORDER BY started_at DESC LIMIT 1"
    with engine.connect() as connection:
        row = connection.execute(sqlalchemy.text(latest), {"pid": pid}).one_or_none()
    if row is None:
        return "starting"
    if row.state == "running":
        return "claimed" if row.params is None else "saved"
    return "between tasks" if row.state == "done" else "robbed"
