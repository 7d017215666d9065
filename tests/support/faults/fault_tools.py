"""Tools of the fault tests: cause something at a chosen moment, and read the database's errors."""

import contextlib
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy import Engine, event

from tests.support.paths import REPOSITORY
from tests.support.postgres_server import PostgresServer


@contextlib.contextmanager
def meanwhile(seconds: float, then: Callable[[], Any]) -> Iterator[None]:
    """Run `then` after `seconds`, concurrently with the block, and before the block is left."""
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(lambda: (time.sleep(seconds), then()))
        yield
        later.result()


@contextlib.contextmanager
def running(script: str, engine: Engine, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a Python process that finds the storage in its environment; killed at the end of the block."""
    environ = os.environ | {
        "KD_SWEEPS_STORAGE": engine.url.render_as_string(hide_password=False),
        "PYTHONPATH": str(REPOSITORY),
    }
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def set_on_connect(engine: Engine, name: str, value: str) -> None:
    """Change a setting of every connection opened from now on."""
    engine.dispose()

    @event.listens_for(engine, "connect")
    def change(connection: psycopg.Connection[Any], record: object) -> None:
        connection.execute(f"SET {name} = '{value}'")
        connection.commit()


def errors_of(engine: Engine) -> list[str]:
    """Collect every error of the server, refused connections included: its SQLSTATE, if any, and its text."""
    seen: list[str] = []

    @event.listens_for(engine, "handle_error")
    def note(context: sqlalchemy.ExceptionContext) -> None:
        error = context.original_exception
        seen.append(f"{getattr(error, 'sqlstate', None)} {error}")

    return seen


def backend(connection: sqlalchemy.Connection) -> int:
    """Return the process number of the server's backend for this connection."""
    return int(connection.connection.dbapi_connection.info.backend_pid)  # type: ignore[union-attr]


class CutBefore:
    """Cuts the connection that is about to send the `at`-th statement from now on, commits included.

    Counts what this process sends to the database of `engine`, also through Optuna's engine.
    """

    def __init__(self, at: int, server: PostgresServer, engine: Engine) -> None:
        self.done = False
        self._left, self._server = at, server
        self._database = engine.url.database
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "commit", self._count)
        self.no_more = lambda: (
            event.remove(Engine, "before_cursor_execute", self._statement),
            event.remove(Engine, "commit", self._count),
        )

    def _statement(self, connection: sqlalchemy.Connection, *statement: object) -> None:
        self._count(connection)

    def _count(self, connection: sqlalchemy.Connection) -> None:
        if connection.engine.url.database != self._database:
            return
        self._left -= 1
        if self._left == 0:
            self.done = True
            self._server.terminate_backend(backend(connection))
