"""Faults of a server: which are waited out, which are final, and the error for each."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import Engine

from storage.db.engine import engine_kwargs, open_engine
from storage.db.transaction import is_refused_for_now, is_transient, patience, read, retry_transient
from storage.errors import StorageError, Unreachable
from storage.queue import tasks
from storage.records import artifacts
from storage.url import resolve
from tests.support.faults.fault_tools import errors_of, meanwhile
from tests.support.postgres_server import PASSWORD, PostgresServer
from tests.support.sweeps.storage_sweeps import claimed, finished, new_storage, new_sweep


@pytest.fixture
def engine(server: PostgresServer) -> Iterator[Engine]:
    with new_storage(server.new_database()) as engine:
        yield engine


@pytest.mark.parametrize("mode", [pytest.param("fast", marks=pytest.mark.slow), "immediate"])
def test_a_stopped_server_is_waited_for(
    server: PostgresServer, engine: Engine, mode: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = new_sweep(engine, number=2)
    claim = claimed(engine, sweep)
    server.stop(mode)
    with meanwhile(0.6, server.start):
        assert finished(engine, claim)
    assert claimed(engine, sweep).key == "search#1"
    lines = [record.getMessage() for record in caplog.records]
    assert any("retrying (1): cannot use" in line for line in lines)
    assert any("refused" in line for line in lines)
    tries = [int(line.partition("retrying (")[2].partition(")")[0]) for line in lines]
    assert set(tries) <= {1, 2, 4, 8, 16}, "logging every try would flood the log"
    assert max(tries) >= 4
    assert not any("\n" in line or PASSWORD in line for line in lines)


def test_a_server_that_is_shutting_down_is_waited_for(server: PostgresServer, engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    engine.dispose()
    errors = errors_of(engine)
    with server.admin() as last_guest:
        server.stop("smart", wait=False)  # while one client is connected, all others are refused

        def come_back() -> None:
            last_guest.close()
            server.wait_until_down()
            server.start()

        with meanwhile(0.5, come_back):
            assert claimed(engine, sweep).attempt == 1
    assert any("shutting down" in text for text in errors)


def test_a_starting_server_is_waited_for_by_the_first_call(server: PostgresServer, engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    engine.dispose()
    server.stop()
    server.start_refusing()
    with meanwhile(0.5, server.promote):
        opened = open_engine(engine.url)
    assert claimed(opened, sweep).attempt == 1
    opened.dispose()


@pytest.mark.parametrize("first_call", [False, True])
def test_a_server_with_all_slots_taken_is_waited_for(server: PostgresServer, engine: Engine, first_call: bool) -> None:
    sweep = new_sweep(engine, number=1)
    engine.dispose()
    errors = errors_of(engine)
    with contextlib.ExitStack() as guests:
        fill(guests, server.conninfo(str(engine.url.database)))
        with meanwhile(0.7, guests.close):
            opened = open_engine(engine.url) if first_call else engine
            assert claimed(opened, sweep).attempt == 1
    opened.dispose()
    assert first_call or any("too many clients" in text or "slots are reserved" in text for text in errors)


def test_a_pool_whose_connections_are_all_in_use_is_waited_for(engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    settings = engine_kwargs(engine.url) | {"pool_timeout": 0.1}
    busy = sqlalchemy.create_engine(engine.url, **settings)
    connections = [busy.connect() for _ in range(3)]
    with pytest.raises(Unreachable, match="all connections of this process") as caught, read(busy):
        pass
    assert is_transient(caught.value)
    with meanwhile(0.5, lambda: [connection.close() for connection in connections]):
        assert claimed(busy, sweep).attempt == 1
    busy.dispose()


def fill(guests: contextlib.ExitStack, conninfo: str) -> None:
    for _ in range(100):
        try:
            guests.enter_context(psycopg.connect(conninfo))
        except psycopg.OperationalError:
            return
    raise AssertionError("the server takes more than 100 connections")


def test_a_lasting_fault_gives_a_one_line_error_after_the_bound_with_what_to_type(
    server: PostgresServer, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    claim = claimed(engine, new_sweep(engine, number=1))
    server.stop("immediate")
    started = time.monotonic()
    with pytest.raises(Unreachable, match=r"refused; check that it is up, and type the command again") as caught:
        retry_transient(1.0)(tasks.renew)(engine, claim, 60.0)
    assert 1.0 < time.monotonic() - started < 8
    messages = [str(caught.value), *(record.getMessage() for record in caplog.records)]
    assert not any("\n" in line or PASSWORD in line for line in messages)
    server.start()
    assert tasks.renew(engine, claim, 60.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"password": "wrong"}, "password authentication failed .* check the user and the password"),
        ({"database": "nowhere"}, '"nowhere" does not exist; make it with: createdb nowhere'),
        ({"username": "nobody"}, 'password authentication failed for user "nobody"'),
        ({"host": "no.such.host.invalid"}, "failed to resolve host .* check that it is up"),
        ({"query": {"bogus": "1"}}, 'invalid connection option "bogus"; take it out of the URL'),
        ({"query": {"sslmode": "require"}}, "does not support SSL"),
    ],
)
def test_a_final_fault_gives_a_one_line_error_at_once(
    server: PostgresServer, change: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = resolve(server.url("postgres")).set(**change)
    with pytest.raises(Unreachable, match=message) as caught:
        open_engine(url)
    assert "\n" not in str(caught.value)
    assert not caplog.records, "a final fault is not retried"
    for secret in (PASSWORD, "wrong", "s3cr3t"):
        assert secret not in str(caught.value)


def test_an_error_that_is_its_own_cause_makes_no_endless_loop() -> None:
    """`raise error from error` makes such a cycle."""
    error = Unreachable("x")
    error.__cause__ = error
    assert not is_transient(error)
    assert not is_refused_for_now(error)


def test_a_role_without_login_gets_an_error_that_names_the_cause(server: PostgresServer) -> None:
    with server.admin() as connection:
        connection.execute("CREATE ROLE retired NOLOGIN PASSWORD 'x'")
    with pytest.raises(Unreachable, match="not permitted to log in; check the user in the URL") as caught:
        open_engine(resolve(server.url("postgres", role="retired", password="x")))
    assert not is_transient(caught.value)
    with server.admin() as connection:
        connection.execute("DROP ROLE retired")


def test_returning_a_dead_connection_to_the_pool_logs_no_traceback(
    server: PostgresServer, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    connection = engine.raw_connection()
    connection.cursor().execute("SELECT 1")
    server.terminate(str(engine.url.database))
    connection.close()
    assert not caplog.records


def test_a_host_name_that_stops_resolving_is_a_transient_fault(server: PostgresServer, engine: Engine) -> None:
    """The name of a container does not resolve while its service restarts."""
    unresolvable = sqlalchemy.create_engine(engine.url.set(host="no.such.host.invalid"))
    with pytest.raises(Unreachable) as caught, read(unresolvable):
        pass
    assert is_transient(caught.value)


def test_writing_to_a_read_only_database_is_not_retried(server: PostgresServer, engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    with server.admin() as connection:
        connection.execute(f"ALTER DATABASE {engine.url.database} SET default_transaction_read_only = on")
    engine.dispose()
    with pytest.raises(StorageError, match="does not allow this: cannot execute UPDATE in a read-only") as caught:
        claimed(engine, sweep)
    assert not is_transient(caught.value)


def test_a_value_too_big_for_sqlite_gives_a_one_line_error(tmp_path: Path) -> None:
    with new_storage(f"sqlite:///{tmp_path}/x.db") as engine:
        with read(engine) as connection:
            driver: Any = connection.connection.driver_connection
            driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)  # the pool hands out this connection again
        with pytest.raises(StorageError, match=r"x.db cannot hold this: string or blob too big; a row of SQLite"):
            artifacts.put(engine, b"x" * 20_000)


def test_patience_shortens_the_retries_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 5.0)  # the longest pause between two tries
    locked = sqlite3.OperationalError("database is locked")
    locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
    tries = []

    @retry_transient(60)
    def read() -> None:
        tries.append(1)
        raise sqlalchemy.exc.OperationalError("SELECT 1", {}, locked)

    started = time.monotonic()
    with patience(retry_s=0.3), pytest.raises(sqlalchemy.exc.OperationalError):
        read()
    assert len(tries) > 1
    assert time.monotonic() - started < 3
