"""Transactions: retry transient faults, translate others, name damaged values; SQL that differs between the databases.

Leases compare times of many machines, so only the database's clock counts.
"""

import hashlib
import logging
import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import sqlalchemy as sa
import tenacity
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from storage import json_text
from storage.errors import NextStep, NotAStorage, RecordBroken, StorageError, StorageFull, Unreachable
from storage.tables import attempts, blobs, phases, revisions, selections, sweeps, tasks
from storage.url import masked

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite


P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger(__name__)

# Read when a function is decorated, so a test that sets them before gets a process that gives up sooner.
RETRY_FOR_S = 60.0
RESULT_RETRY_FOR_S = 600.0  # for storing results: a training is worth more than a poll


@dataclass
class Patience:
    """How long to wait for the database.

    retry_s: maximum time of retries. silence_s: a server that is silent for so long is given up, and gets no further
    query.
    """

    retry_s: float = math.inf
    silence_s: float = math.inf
    given_up: bool = False


_ENDLESS = Patience()
_patience = ContextVar("_patience", default=_ENDLESS)

_PASSING_SQLITE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}  # the last: a race for the WAL
# Operational errors of psycopg that do not pass: authorization, unknown database, full disk.
_LASTING_SQLSTATES = ("28", "3D", "53100")
# While connecting there is no SQLSTATE, only the server's text.
_LASTING_TEXTS = (
    "authentication failed",
    "does not exist",
    "no password supplied",
    "no pg_hba.conf entry",
    "not permitted to log in",
    "permission denied",
)
_NOT_NOW_SQLSTATES = ("53300", "57P01", "57P02", "57P03")
_NOT_NOW_TEXTS = (
    "the database system is",  # starting up, shutting down, in recovery mode, not yet accepting connections
    "server closed the connection",
    "too many clients",
    "too many connections",
    "connection slots are reserved",
)
# SQLite has no room for a page, or for its side file (.db-shm), which it reports as "disk I/O error".
_FULL_SQLITE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
_FEWER = "start fewer workers, or raise max_connections of the server, and type the command again"
_ANOTHER = "or name another with --storage URL"
_CURES = {
    "authentication failed": f"check the user and the password in the URL, {_ANOTHER}",
    "no password supplied": f"write the password into the URL (postgresql://USER:PASSWORD@...), {_ANOTHER}",
    "too many clients": _FEWER,
    "too many connections": _FEWER,
    "connection slots are reserved": _FEWER,
    'role "': f"check the user in the URL, {_ANOTHER}",
    "does not exist": f"make it with: createdb {{database}}, {_ANOTHER}",
    "lock timeout": "another process keeps rows locked; end that one, and type the command again",
    "is locked": "another process keeps it locked; end that one, and type the command again",
    "invalid connection option": "take it out of the URL",
}


def is_transient(error: BaseException) -> bool:
    """Return whether a retry soon may succeed: locked, disconnected, restarting, too many clients.

    Follows `__cause__`, because Optuna and `translate` wrap the driver's error.
    """
    for cause in _causes(error):
        if isinstance(cause, (sa.exc.TimeoutError, sa.exc.PendingRollbackError)):
            return True  # the pool is exhausted; or the connection broke, and Optuna used it again
        if isinstance(cause, sa.exc.DBAPIError):
            return _is_transient(cause)
    return False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes, once each: `raise error from error` makes a cycle."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__


def _is_transient(error: sa.exc.DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    if not isinstance(error, sa.exc.OperationalError):
        return False
    if isinstance(error.orig, sqlite3.Error):  # also raised for a missing table or an unreadable file
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _PASSING_SQLITE
    text = str(error.orig).lower()
    lasting = (getattr(error.orig, "sqlstate", None) or "").startswith(_LASTING_SQLSTATES)
    return not lasting and not any(word in text for word in _LASTING_TEXTS)


def is_transient_or_full(error: BaseException) -> bool:
    """Return whether waiting may help: `is_transient`, or a full disk."""
    return is_transient(error) or any(isinstance(cause, StorageFull) for cause in _causes(error))


def _is_full(error: sa.exc.DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", 0) in _FULL_SQLITE
    return getattr(error.orig, "sqlstate", None) == "53100"


def is_refused_for_now(error: BaseException) -> bool:
    """Return whether a server exists but refuses connections for now. A closed port may as well be a wrong URL."""
    for cause in _causes(error):
        if isinstance(cause, sa.exc.OperationalError):
            by_state = getattr(cause.orig, "sqlstate", None) in _NOT_NOW_SQLSTATES
            text = str(cause.orig).lower()
            return cause.connection_invalidated or by_state or any(word in text for word in _NOT_NOW_TEXTS)
    return False


def translate(error: sa.exc.SQLAlchemyError, url: sa.URL) -> Exception:
    """Return the fault as an error with a one-line message; what can only be a bug of kd-sweeps, unchanged."""
    where = masked(url)
    if isinstance(error, sa.exc.TimeoutError):
        return Unreachable(f"cannot use {where}: all connections of this process are waiting; {_cure('', url)}")
    if isinstance(error, sa.exc.PendingRollbackError):
        return Unreachable(f"cannot use {where}: the connection was lost; {_cure('', url)}")
    if not isinstance(error, sa.exc.DBAPIError):
        return error
    reason = first_line(error)
    lowered = reason.lower()
    sqlstate = getattr(error.orig, "sqlstate", None)
    if "file is not a database" in lowered or "malformed" in lowered:
        return NotAStorage(f"{where} is not a readable SQLite database: {reason}")
    if "no such table" in lowered or sqlstate == "42P01":
        return NotAStorage(f"{where} lacks a table of kd-sweeps or Optuna: {reason}")
    if sqlstate in ("42501", "25006") or "readonly database" in lowered:
        return StorageError(
            f"{where} does not allow this: {reason}; let this user write there, and type the command again, {_ANOTHER}"
        )
    if isinstance(error, sa.exc.DataError) and "too big" in lowered:
        return StorageError(f"{where} cannot hold this: {reason}; a row of SQLite holds at most 1,000,000,000 bytes")
    if _is_full(error):
        full = "" if "full" in lowered or "space" in lowered else "the disk is full: "
        return StorageFull(f"cannot use {where}: {full}{reason}; free space there")
    operational = isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError))
    if operational or error.connection_invalidated or "invalid connection option" in lowered:
        return Unreachable(f"cannot use {where}: {reason}; {_cure(lowered, url)}")
    return error


def _cure(lowered: str, url: sa.URL) -> str:
    for words, cure in _CURES.items():
        if words in lowered:
            return cure.format(database=url.database)
    if url.get_backend_name() == "sqlite":
        return f"check the file and its folder, and type the command again, {_ANOTHER}"
    return f"check that it is up, and type the command again, {_ANOTHER}"


def first_line(error: sa.exc.DBAPIError) -> str:
    lines = [line.strip(" \t-") for line in str(error.orig).splitlines() if line.strip()]
    if not lines:
        return type(error.orig).__name__
    # psycopg tried several addresses of one host: the first line only announces the list
    reason = lines[1] if len(lines) > 1 and lines[0].endswith("were:") else lines[0]
    return reason.rstrip(".")


def retry_transient(
    deadline_s: float | None = None, *, when: Callable[[BaseException], bool] = is_transient
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that retries, with backoff and jitter, while the fault is transient.

    After deadline_s (None: RETRY_FOR_S), or sooner inside `patience`, the last fault is raised.
    `is_transient_or_full` is for writes of a running task: a user's command reports a full disk at once; a worker waits
    for room, since its result is worth it.
    """
    backoff = tenacity.wait_random_exponential(multiplier=0.05, max=5)  # jitter: many workers meet one fault at once
    seconds = RETRY_FOR_S if deadline_s is None else deadline_s

    def left(state: tenacity.RetryCallState) -> float:
        patience = current_patience()
        return -1 if patience.given_up else min(seconds, patience.retry_s) - (state.seconds_since_start or 0.0)

    return tenacity.retry(
        retry=tenacity.retry_if_exception(when),
        wait=lambda state: max(0.0, min(backoff(state), left(state))),  # the last try is at the deadline
        stop=lambda state: left(state) <= 0,
        before_sleep=_log_retry,
        reraise=True,
    )


@contextmanager
def patience(*, retry_s: float = math.inf, silence_s: float = math.inf) -> Iterator[None]:
    """Limit how long the block waits for the database, in its threads and tasks as well."""
    before = _patience.set(Patience(retry_s, silence_s))
    try:
        yield
    finally:
        _patience.reset(before)


def current_patience() -> Patience:
    return _patience.get()


def _log_retry(state: tenacity.RetryCallState) -> None:
    tries = state.attempt_number
    if tries & (tries - 1):  # log the 1st, 2nd, 4th, 8th ...: six lines a minute, not thirty
        return
    error = state.outcome.exception() if state.outcome else None
    text = first_line(error) if isinstance(error, sa.exc.DBAPIError) else str(error)
    _log.warning("retrying (%d): %s", tries, text)


_OUTCOME = "outcome"


def outcome_is_readable(connection: sa.Connection, outcome: str | None) -> bool:
    """Return whether the outcome of a done task is readable, with every blob that it names under "blobs"."""
    if outcome is None or not _is_json(outcome):
        return False
    value = json_text.parse(outcome)
    named = value.get("blobs", {}) if isinstance(value, dict) else None
    return isinstance(named, dict) and all(_is_stored(connection, str(digest)) for digest in named.values())


@contextmanager
def explain_corruption(connection: sa.Connection, sweep_id: int | None = None) -> Iterator[None]:
    """Let a RecordBroken of the block name the damaged value, of one sweep or all, and the remedy."""
    try:
        yield
    except RecordBroken as error:
        for row in _values(connection, sweep_id):
            if not _is_json(row.text):
                cure = (
                    NextStep("to recreate it, type", "retry", row.sweep)
                    if row.what == _OUTCOME
                    else NextStep("put it back, or create another sweep", "create")
                )
                of = row.of or row.sweep
                raise RecordBroken(f"the stored {row.what} of {of} is no longer JSON", cure) from error
        raise


def _values(connection: sa.Connection, sweep_id: int | None) -> Iterator[sa.Row[Any]]:
    revision = sa.literal("revision ") + sa.cast(revisions.c.number, sa.String)
    for query in (
        _texts("spec", sweeps.c.spec, sweeps.c.name),
        _texts("provenance", sweeps.c.provenance, sweeps.c.name),
        _texts(_OUTCOME, tasks.c.outcome, tasks.c.key).join(tasks),
        _texts("payload", tasks.c.payload, tasks.c.key).join(tasks),
        _texts("parameters", attempts.c.params, tasks.c.key).join(tasks).join(attempts),
        _texts("needs", phases.c.needs, phases.c.name).join(phases),
        _texts("spec", revisions.c.spec, revision).join(revisions),
        _texts("plan", revisions.c.planned, revision).join(revisions),
        _texts("selection", selections.c.value, selections.c.name).join(selections),
    ):
        yield from connection.execute(query if sweep_id is None else query.where(sweeps.c.id == sweep_id)).all()


def _texts(what: str, column: sa.Column[Any], of: Any) -> sa.Select[Any]:
    text = sa.type_coerce(column, sa.Text).label("text")
    return sa.select(sweeps.c.name.label("sweep"), of.label("of"), sa.literal(what).label("what"), text).select_from(
        sweeps
    )


def _is_json(text: str | None) -> bool:
    try:
        json_text.parse("null" if text is None else text)
    except ValueError:
        return False
    return True


def _is_stored(connection: sa.Connection, digest: str) -> bool:
    data = connection.scalar(sa.select(blobs.c.bytes).where(blobs.c.digest == digest))
    return data is not None and hashlib.sha256(data).hexdigest() == digest


@contextmanager
def write(engine: sa.Engine) -> Iterator[sa.Connection]:
    # BEGIN IMMEDIATE takes SQLite's write lock first: otherwise a transaction that reads and then writes
    # fails at once, without waiting, if another process wrote in between.
    with _transaction(engine, sqlite_begin="BEGIN IMMEDIATE") as connection:
        yield connection
        connection.commit()


@contextmanager
def read(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection for reading: on SQLite a snapshot. Nothing is committed."""
    with _transaction(engine, sqlite_begin="BEGIN") as connection:
        yield connection


@contextmanager
def _transaction(engine: sa.Engine, *, sqlite_begin: str) -> Iterator[sa.Connection]:
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql(sqlite_begin)
            yield connection
    except sa.exc.SQLAlchemyError as error:
        translated = translate(error, engine.url)
        if translated is error:
            raise
        raise translated from error


class database_now(FunctionElement[float]):
    """SQL expression: seconds since 1970 by the database's clock, float, resolution a millisecond or better.

    On Postgres it advances within a transaction: a writer that waited for a lock must not write an old time.
    """

    type = sa.Double()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _on_sqlite(element: database_now, compiler: SQLCompiler, **kw: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _on_postgres(element: database_now, compiler: SQLCompiler, **kw: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


def insert_into(connection: sa.Connection, table: sa.Table) -> "sqlite.Insert | postgresql.Insert":
    """Return an insert into `table` that has `on_conflict_do_nothing` and `on_conflict_do_update`."""
    # Postgres' dialect takes 40 ms to import, a twentieth of `best`; SQLite does not need it.
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)
