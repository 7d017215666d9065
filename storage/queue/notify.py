"""Wake waiting workers.

On Postgres each transaction that makes tasks ready sends a NOTIFY. The launch listens for its workers, and writes into
the standard input of those that should look for a task. A worker without a launch listens itself. Without
notifications, as on SQLite, each worker polls, with backoff. A missed notification only costs a pause, since waiting
workers poll anyway.

Source: https://www.postgresql.org/docs/current/sql-notify.html.
"""

import logging
import os
import random
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import sqlalchemy.exc
from sqlalchemy import Connection, Engine, func

from storage.db.engine import lone_connection
from storage.errors import StorageError

if TYPE_CHECKING:
    import psycopg  # not at run time: commands on SQLite start without it


log = logging.getLogger(__name__)

_CHANNEL = "kd_sweeps"
_FIRST_S, _MOST_S = 0.5, 5.0  # polling intervals without notifications
_SLICE_S = 0.5  # within which a waiting worker notices a request to stop

Hear = Callable[[float], bool]
"""Waits so many seconds for a call, and returns whether one came; EOFError: no more will come."""


def notify(connection: Connection, sweep_id: int) -> None:
    """Wake the waiting workers of a sweep when this transaction commits."""
    if connection.dialect.name == "postgresql":
        connection.execute(sqlalchemy.select(func.pg_notify(_CHANNEL, str(sweep_id))))


class Listener:
    """Wait for a call, or, without `hear`, for a pause. `stop` ends every wait."""

    def __init__(self, stop: threading.Event, hear: Hear | None = None) -> None:
        self._stop, self._hear = stop, hear
        self._pause = _FIRST_S

    def clear(self) -> None:
        """Discard the calls so far."""
        self._heard(0.0)

    def reset_backoff(self) -> None:
        self._pause = _FIRST_S

    def wait(self, *, most_s: float) -> None:
        """Return at a call, at a stop, or, without `hear`, after a pause; after most_s at the latest."""
        # Jitter: each poll is a write transaction on SQLite.
        until = time.monotonic() + most_s * random.uniform(0.8, 1.2)
        while self._hear is not None and not self._stop.is_set():
            if self._heard(min(_SLICE_S, max(until - time.monotonic(), 0.0))) or time.monotonic() >= until:
                return
        if self._hear is None:
            self._stop.wait(min(self._pause, most_s) * random.uniform(0.8, 1.2))
            self._pause = min(2 * self._pause, _MOST_S)

    def _heard(self, seconds: float) -> bool:
        if self._hear is None:
            return False
        try:
            return self._hear(seconds)
        except EOFError as error:
            log.warning("notifications have ended (%s): polling instead", error)
            self._hear = None
            return False


@contextmanager
def listen(engine: Engine, sweep_id: int, *, stop: threading.Event) -> Iterator[Listener]:
    """Yield the listener for one sweep; on Postgres with a dedicated connection, if one is available."""
    with ExitStack() as stack:
        hear = None
        if engine.dialect.name == "postgresql":
            try:
                connection = stack.enter_context(lone_connection(engine.url))
                connection.exec_driver_sql(f"LISTEN {_CHANNEL}")
                hear = _notifications(connection, sweep_id)
            except (StorageError, sqlalchemy.exc.DBAPIError) as error:
                log.warning("no notifications from the database (%s): polling instead", error)
        yield Listener(stop, hear)


def _notifications(connection: Connection, sweep_id: int) -> Hear:
    driver: psycopg.Connection[tuple[object, ...]] | None = connection.connection.driver_connection
    assert driver is not None
    lost = connection.dialect.loaded_dbapi.Error

    def hear(seconds: float) -> bool:
        try:
            sweeps = [notification.payload for notification in driver.notifies(timeout=seconds, stop_after=1)]
        except lost as error:
            raise EOFError(error) from error
        return str(sweep_id) in sweeps

    return hear


def pipe(descriptor: int) -> Hear:
    """Return what waits for writes into a pipe; its end is the end of the launch."""

    def hear(seconds: float) -> bool:
        if not select.select([descriptor], [], [], seconds)[0]:
            return False
        if not os.read(descriptor, 65_536):
            raise EOFError("the launch has ended")
        return True

    return hear
