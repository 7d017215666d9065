"""Faults of the database, for `storms.work_through`: an outage, cut connections, a locked file. Imports no pytest."""

import random
import subprocess
import sys
import time
from typing import Literal

import sqlalchemy
from sqlalchemy.pool import NullPool

from storage.url import resolve, sqlite_path
from tests.support.faults.kills import tasks_done
from tests.support.postgres_server import ROLE, PostgresServer

_UNDER_WAY = 6  # done tasks
_HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE sweeps SET revision = revision")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("COMMIT")
"""


class Outage:
    """Stops the server once, in the middle of the load, for `seconds`, and starts it again."""

    def __init__(
        self, server: PostgresServer, url: str, *, seconds: float, mode: Literal["fast", "immediate"] = "immediate"
    ) -> None:
        self.injected = 0
        self._server, self._url, self._seconds, self._mode = server, url, seconds, mode

    def __call__(self, living: list[int]) -> float:
        if not is_under_way(self._url):
            return 0.02
        self._server.stop(self._mode)
        time.sleep(self._seconds)
        self._server.start()
        self.injected += 1
        return float("inf")


class Cuts:
    """Cuts the connection of a random worker with pg_terminate_backend, every `pause_s` on average."""

    def __init__(self, server: PostgresServer, url: str, *, pause_s: float = 0.2, seed: int = 0) -> None:
        self.injected = 0
        self.inside = 0  # cuts inside a transaction
        self._server, self._database, self._pause_s = server, resolve(url).database, pause_s
        self._random = random.Random(seed)

    def __call__(self, living: list[int]) -> float:
        with self._server.admin() as connection:
            pids = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = %s AND usename = %s ORDER BY pid",
                [self._database, ROLE],
            ).fetchall()
            if not pids:
                return 0.02
            row = connection.execute(
                "SELECT state, pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s",
                self._random.choice(pids),
            ).fetchone()
        if row is not None and row[1]:
            self.injected += 1
            self.inside += row[0] != "idle"
        return self._pause_s * self._random.uniform(0.5, 1.5)


class LockedFile:
    """Has another process hold SQLite's write lock once, in the middle of the load, for `seconds`."""

    def __init__(self, url: str, *, seconds: float) -> None:
        self.injected = 0
        self._url, self._seconds = url, seconds

    def __call__(self, living: list[int]) -> float:
        if not is_under_way(self._url):
            return 0.02
        path = sqlite_path(resolve(self._url))
        held = subprocess.run(
            [sys.executable, "-c", _HOLD, str(path), str(self._seconds)], stdout=subprocess.PIPE, text=True, check=True
        )
        assert held.stdout == "locked\n"
        self.injected += 1
        return float("inf")


def is_under_way(url: str) -> bool:
    """Return whether some tasks are done, so that a fault meets workers at work."""
    engine = sqlalchemy.create_engine(resolve(url), poolclass=NullPool)
    with engine.connect() as connection:
        return tasks_done(connection) >= _UNDER_WAY
