"""One engine per process, the create lock, create and check the tables."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, PoolProxiedConnection

from storage.db import sqlite_file
from storage.db.transaction import (
    current_patience,
    first_line,
    is_refused_for_now,
    read,
    retry_transient,
    translate,
    write,
)
from storage.errors import NextStep, NotAStorage, StorageError
from storage.tables import SCHEMA_VERSION, metadata, version_table
from storage.url import masked

if TYPE_CHECKING:
    import psycopg  # SQLAlchemy imports it where it is needed: on SQLite it is not


def exist(engine: Engine) -> bool:
    with read(engine) as connection:
        return sqlalchemy.inspect(connection).has_table(version_table.name)


def create_tables(engine: Engine) -> None:
    """Create missing tables, inside `create_lock`. NotAStorage: tables of another version, or of another program."""
    with write(engine) as connection:
        present = set(sqlalchemy.inspect(connection).get_table_names())
        if version_table.name not in present:
            if foreign := sorted(present & set(metadata.tables)):
                raise NotAStorage(
                    f"{masked(engine.url)} has a table {foreign[0]!r} that kd-sweeps did not make; use another database"
                )
            metadata.create_all(connection)
            connection.execute(version_table.insert().values(version=SCHEMA_VERSION))
    check(engine)


def check(engine: Engine) -> None:
    """Raise NotAStorage if the database does not hold the tables of this version."""
    with read(engine) as connection:
        version = stored_version(connection)
    if version < SCHEMA_VERSION:
        raise NotAStorage(
            f"{masked(engine.url)} was made by an older kd-sweeps (schema {version}; this one needs {SCHEMA_VERSION})",
            NextStep("stop its workers, and type", "storage upgrade", sweep=""),
        )


def stored_version(connection: Connection) -> int:
    """Return the version of the stored tables, up to SCHEMA_VERSION; NotAStorage if there are none, or newer ones."""
    has_tables = sqlalchemy.inspect(connection).has_table(version_table.name)
    version = connection.scalar(sqlalchemy.select(version_table.c.version)) if has_tables else None
    where = masked(connection.engine.url)
    if version is None:
        raise NotAStorage(
            f"{where} holds no kd-sweeps tables (--storage URL names another storage)",
            NextStep("create a sweep there with", "create"),
        )
    if version > SCHEMA_VERSION:
        raise NotAStorage(
            f"{where} was made by a newer kd-sweeps (schema {version}; this one knows {SCHEMA_VERSION}):"
            " upgrade kd-sweeps"
        )
    return int(version)


CONNECTIONS = 3  # default maximum per process and server
CREATE_LOCK_TIMEOUT_S = 120
_CREATE_LOCK_KEY = 0x6B642D737765  # "kd-swe" in ASCII: an advisory lock is identified by a number
_TRUSTED_FOR_S = 1.0  # after its last use; a connection idle for longer is tested first
_POSTGRES_SETTINGS = {
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "15s",  # a frozen worker must not hold its locks for ever
    "TimeZone": "UTC",
}

# When a broken connection returns to the pool, SQLAlchemy logs a page of traceback.
logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


@retry_transient(when=is_refused_for_now)
def open_engine(
    url: URL, *, must_exist: bool = True, read_only: bool = False, connections: int = CONNECTIONS
) -> Engine:
    """Return an engine for the storage, after one connection and a check of its tables.

    Retried only while a server is starting or out of connections: on a first call, a closed port is more often a wrong
    URL. must_exist: False for commands that create a storage: tables are not required, and a missing SQLite file is
    made. read_only: nothing can be written through this engine, and no side file is left. connections: maximum to a
    server; further threads wait. Raises NotAStorage or Unreachable.
    """
    if url.get_backend_name() == "sqlite":
        sqlite_file.check_path(url, must_exist=must_exist, read_only=read_only)
    settings = engine_kwargs(url, create=not must_exist, read_only=read_only, connections=connections)
    engine = sqlalchemy.create_engine(url, **settings)
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "checkout", lambda *_: settings["creator"].check())
    else:
        _refuse_sql_ascii(engine)
        _ping_idle_connections(engine)
        _give_up_on_silence(engine)
    try:
        if must_exist:
            check(engine)
        else:
            with read(engine):
                pass
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def opened_engine(url: URL, *, must_exist: bool = True, read_only: bool = True) -> Iterator[Engine]:
    """Open an engine, by default for reading, while the block runs; errors as for `open_engine`."""
    engine = open_engine(url, must_exist=must_exist, read_only=read_only)
    try:
        yield engine
    finally:
        engine.dispose()


def _refuse_sql_ascii(engine: Engine) -> None:
    """Refuse a database without an encoding: the driver would return its text as bytes."""

    # Before SQLAlchemy's own listener, which queries the version and fails on bytes.
    @event.listens_for(engine, "connect", insert=True)
    def refuse(connection: "psycopg.Connection[Any]", record: ConnectionPoolEntry) -> None:
        if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
            connection.close()
            raise NotAStorage(
                f"{masked(engine.url)} is a database without an encoding (SQL_ASCII); allowed: UTF8. Make one with:"
                f" createdb -T template0 -E UTF8 NAME, and name it with --storage"
            )


def _ping_idle_connections(engine: Engine) -> None:
    """Test a connection that was idle for a while before its next use; replace a dead one.

    `pool_pre_ping` would test before each transaction, and a trial has twenty within milliseconds. If a connection dies
    between two of them, `storage.db.transaction.retry_transient` handles it.
    """

    @event.listens_for(engine, "checkin")
    def note(connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ping(connection: DBAPIConnection, record: ConnectionPoolEntry, proxy: PoolProxiedConnection) -> None:
        if time.monotonic() - record.info.get("used_at", math.inf) < _TRUSTED_FOR_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sqlalchemy.exc.DisconnectionError(str(error)) from error


def _give_up_on_silence(engine: Engine) -> None:
    """Close a connection whose server is silent for longer than `storage.db.transaction.patience` allows.

    The kernel of a frozen server still acknowledges packets, so neither keepalives nor tcp_user_timeout end the wait,
    and statement_timeout is enforced by the server itself.
    """
    import psycopg

    class Bounded(psycopg.Connection[Any]):
        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            patience = current_patience()
            if timeout is not None or patience.silence_s == math.inf:
                return super().wait(gen, interval, timeout)
            began = time.monotonic()
            try:
                return super().wait(gen, interval, patience.silence_s)
            except psycopg.OperationalError as error:
                if time.monotonic() - began < patience.silence_s:
                    raise
                patience.given_up = True
                self.close()
                raise psycopg.OperationalError(f"no response within {patience.silence_s:g} s") from error

    @event.listens_for(engine, "do_connect")
    def connect(_: Any, record: Any, arguments: Any, settings: dict[str, Any]) -> psycopg.Connection[Any]:
        patience = current_patience()
        if patience.given_up:
            raise psycopg.OperationalError("no response to an earlier query")
        if patience.silence_s < settings["connect_timeout"]:
            settings["connect_timeout"] = round(patience.silence_s)
        try:
            return Bounded.connect(**settings)
        except psycopg.errors.ConnectionTimeout:
            patience.given_up = True
            raise


def engine_kwargs(
    url: URL, *, create: bool = False, read_only: bool = False, connections: int = CONNECTIONS
) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        settings: dict[str, Any] = {"creator": sqlite_file.Connector(url, create=create, read_only=read_only)}
        if read_only:
            settings["poolclass"] = NullPool  # only closing a connection removes SQLite's side files
        return settings
    return {
        "pool_size": 1,
        "max_overflow": connections - 1,
        "pool_recycle": 1800,
        "connect_args": _postgres_arguments(url, read_only=read_only),
    }


@contextmanager
def create_lock(url: URL) -> Iterator[None]:
    """Admit one process on any machine at a time: for creating tables, studies and sweeps.

    Without it, simultaneous first starts create the same tables: IntegrityError on both databases. Raises StorageError
    if another process holds the lock for CREATE_LOCK_TIMEOUT_S seconds, Unreachable without a server or permission to
    write.
    """
    if url.get_backend_name() == "sqlite":
        with sqlite_file.file_lock(url, timeout_s=CREATE_LOCK_TIMEOUT_S):
            yield
        return
    with lone_connection(url) as connection:  # the lock ends with the connection, so also when the process is killed
        try:
            connection.exec_driver_sql(f"SET lock_timeout = '{CREATE_LOCK_TIMEOUT_S}s'")
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({_CREATE_LOCK_KEY})")
        except sqlalchemy.exc.DBAPIError as error:
            raise StorageError(
                f"another process has been creating in {masked(url)} for {CREATE_LOCK_TIMEOUT_S} s"
                f" ({first_line(error)}); try again"
            ) from error
        yield


def most_connections(engine: Engine) -> int | None:
    """Return the number of connections the server allows this user and database; None: unlimited or unknown.

    Behind a connection pooler such as pgbouncer the server's limit does not apply to clients. A pooler is detected by
    its port, which differs from the server's.
    """
    if engine.dialect.name == "sqlite":
        return None
    with read(engine) as connection:
        row = connection.exec_driver_sql(_LIMIT).one()
    return row.most if row.port == (engine.url.port or 5432) else None


_LIMIT = """
SELECT current_setting('port')::int AS port,
    least(
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
            - coalesce(current_setting('reserved_connections', true), '0')::int,
        nullif(rolconnlimit, -1), nullif(datconnlimit, -1)
    ) AS most
FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()
"""


@contextmanager
def lone_connection(url: URL) -> Iterator[Connection]:
    """Yield a Postgres connection outside the pool, in autocommit mode; raise Unreachable if there is none."""
    arguments = _postgres_arguments(url, read_only=False)
    engine = sqlalchemy.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=arguments)
    _refuse_sql_ascii(engine)
    _give_up_on_silence(engine)
    try:
        connection = engine.connect()
    except sqlalchemy.exc.DBAPIError as error:
        raise translate(error, url) from error
    try:
        yield connection
    finally:
        with suppress(sqlalchemy.exc.SQLAlchemyError):  # a broken one is closed already
            connection.close()


def _postgres_arguments(url: URL, *, read_only: bool) -> dict[str, Any]:
    settings = dict(_POSTGRES_SETTINGS)
    if read_only:
        settings["default_transaction_read_only"] = "on"
    text = url.query.get("options", "")
    options = [text] if isinstance(text, str) else list(text)
    return {
        "connect_timeout": 10,
        "application_name": "kd-sweeps",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "options": " ".join([*options, *(f"-c {name}={value}" for name, value in settings.items())]).strip(),
    }
