"""Wake waiting workers: NOTIFY on Postgres, polling with back-off on SQLite.

Source: https://www.postgresql.org/docs/current/sql-notify.html. A missed notification costs a pause and nothing else,
since a waiting worker looks now and then by itself.
"""

import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import sqlalchemy.exc
from sqlalchemy import Connection, Engine, func, select

from storage.db.engine import lone_connection
from storage.errors import StorageError

if TYPE_CHECKING:
    import psycopg  # at work it is imported where it is needed: reading commands on SQLite start without it


log = logging.getLogger(__name__)

_CHANNEL = "kd_sweeps"
_FIRST_S, _MOST_S = 0.5, 5.0  # between two looks, without a notification
_SLICE_S = 0.5  # so soon a waiting worker hears that it shall stop


def notify(connection: Connection, sweep_id: int) -> None:
    """Wake the waiting workers of a sweep once this transaction is committed."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_notify(_CHANNEL, str(sweep_id))))


class Listener:
    """Waits without notifications: looks often at first, then less and less."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._pause = _FIRST_S

    def clear(self) -> None:
        """Forget what has come so far."""

    def reset_backoff(self) -> None:
        self._pause = _FIRST_S

    def wait(self, *, most_s: float) -> None:
        """Return after a pause, at a notification, or when asked to stop; after most_s seconds at the latest."""
        # Not all workers at the same instant: each look is a write transaction on SQLite.
        self._stop.wait(min(self._pause, most_s) * random.uniform(0.8, 1.2))
        self._pause = min(2 * self._pause, _MOST_S)


class _PostgresListener(Listener):
    def __init__(self, stop: threading.Event, connection: Connection, sweep_id: int) -> None:
        super().__init__(stop)
        self._sweep = str(sweep_id)
        self._error = connection.dialect.loaded_dbapi.Error
        self._driver: psycopg.Connection[tuple[object, ...]] | None = connection.connection.driver_connection

    def clear(self) -> None:
        self._notified(0.0)

    def wait(self, *, most_s: float) -> None:
        until = time.monotonic() + most_s * random.uniform(0.8, 1.2)
        while self._driver is not None and not self._stop.is_set():
            if self._notified(min(_SLICE_S, max(until - time.monotonic(), 0.0))) or time.monotonic() >= until:
                return
        if self._driver is None:
            super().wait(most_s=most_s)

    def _notified(self, seconds: float) -> bool:
        """Wait so long for a notification; without a connection return at once."""
        if self._driver is None:
            return False
        try:
            sweeps = [notification.payload for notification in self._driver.notifies(timeout=seconds, stop_after=1)]
        except self._error as error:
            log.warning("no bell from the database any more (%s): this worker looks by itself", error)
            self._driver = None
            return False
        return self._sweep in sweeps


@contextmanager
def listen(engine: Engine, sweep_id: int, *, stop: threading.Event) -> Iterator[Listener]:
    """Give what hears the changes of one sweep; `stop` ends every wait.

    On Postgres it holds a connection of its own. Where none can be had, the worker looks by itself.
    """
    with ExitStack() as stack:
        listener = Listener(stop)
        if engine.dialect.name == "postgresql":
            try:
                connection = stack.enter_context(lone_connection(engine.url))
                connection.exec_driver_sql(f"LISTEN {_CHANNEL}")
                listener = _PostgresListener(stop, connection, sweep_id)
            except (StorageError, sqlalchemy.exc.DBAPIError) as error:
                log.warning("no bell from the database (%s): this worker looks by itself", error)
        yield listener
