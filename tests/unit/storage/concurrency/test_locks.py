"""Locks held by others: rows, whole files, a frozen process. Callers wait for a bounded time."""

import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import Engine, event, update

from storage import tables
from storage.db.transaction import is_transient, read, retry_transient, write
from storage.errors import StorageFull
from storage.queue import tasks
from storage.queue.tasks import given_back
from tests.support.faults.fault_tools import errors_of, running, set_on_connect
from tests.support.postgres_server import PostgresServer
from tests.support.sweeps.small_sweeps import wait_until
from tests.support.sweeps.storage_sweeps import claimed, finished, new_storage, new_sweep, overlap, states


@pytest.fixture
def engine(server: PostgresServer) -> Iterator[Engine]:
    with new_storage(server.new_database()) as engine:
        yield engine


@pytest.mark.parametrize("ours", ["100ms", pytest.param("5s", marks=pytest.mark.slow)])
def test_a_locked_row_is_waited_for(engine: Engine, ours: str) -> None:
    """Our limit is 5 s, here 0.1 s in the quick case. The lock is released after our limit has expired once."""
    claim = claimed(engine, new_sweep(engine, number=1))
    if ours != "5s":
        set_on_connect(engine, "lock_timeout", ours)
    errors = errors_of(engine)
    other = sqlalchemy.create_engine(engine.url, poolclass=sqlalchemy.NullPool)
    with other.connect() as holder:
        holder.execute(sqlalchemy.text("SELECT * FROM tasks FOR UPDATE"))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(finished, engine, claim)
            wait_until(lambda: any("55P03" in error for error in errors), "lock_timeout did not expire")
            assert not waiting.done()
            holder.rollback()
            assert waiting.result(timeout=30)


def test_a_deadlock_is_retried_until_both_transactions_succeed(engine: Engine) -> None:
    new_sweep(engine, number=2)
    both_hold_one = threading.Barrier(2)

    def swap(first: int, second: int) -> None:
        meet = [True]

        @retry_transient()
        def in_this_order() -> None:
            with write(engine) as connection:
                for key in (first, second):
                    connection.exec_driver_sql(f"UPDATE tasks SET priority = priority + 1 WHERE key = 'search#{key}'")
                    if meet:
                        meet.clear()
                        both_hold_one.wait(10)

        in_this_order()

    errors = errors_of(engine)
    with ThreadPoolExecutor(2) as pool:
        for swapped in [pool.submit(swap, 0, 1), pool.submit(swap, 1, 0)]:
            swapped.result()
    assert any("40P01" in error for error in errors)
    with read(engine) as connection:
        assert connection.exec_driver_sql("SELECT priority FROM tasks").scalars().all() == [2, 2]


def test_the_phase_closes_when_its_last_two_tasks_end_at_once(engine: Engine) -> None:
    sweep = new_sweep(engine, number=2)
    first = claimed(engine, sweep)
    overlap(tasks, lambda: finished(engine, first), lambda: finished(engine, claimed(engine, sweep)))
    assert states(engine, sweep) == {"search": "closed"}


def test_tasks_of_a_phase_end_concurrently_while_others_wait(engine: Engine) -> None:
    sweep = new_sweep(engine, number=4)
    first, second, third = (claimed(engine, sweep) for _ in range(3))
    errors = errors_of(engine)
    with write(engine) as connection:
        tasks.close_if_over(connection, 1)  # like a worker that freezes before its commit
        assert finished(engine, first)
        assert finished(engine, second)
        connection.commit()
    assert finished(engine, third)
    assert finished(engine, claimed(engine, sweep))
    assert (states(engine, sweep), errors) == ({"search": "closed"}, [])


def test_a_phase_whose_last_task_ends_while_another_worker_checks_it_is_closed_by_that_worker(engine: Engine) -> None:
    sweep = new_sweep(engine, number=2)
    first, elsewhere, looks = claimed(engine, sweep), sqlalchemy.create_engine(engine.url), list[str]()

    def end_the_other(*call: object) -> None:
        if str(call[2]).startswith("SAVEPOINT"):
            looks.append(str(call[2]))
            assert finished(elsewhere, claimed(elsewhere, sweep))
            assert states(elsewhere, sweep) == {"search": "open"}

    event.listen(engine, "before_cursor_execute", end_the_other)
    assert finished(engine, first)
    elsewhere.dispose()
    assert (states(engine, sweep), len(looks)) == ({"search": "closed"}, 1)


def test_serialization_failures_are_retried_under_serializable_isolation(engine: Engine) -> None:
    """An administrator can set this isolation level for a whole database."""
    sweep = new_sweep(engine, number=30)
    set_on_connect(engine, "default_transaction_isolation", "serializable")
    errors = errors_of(engine)

    def work(name: str) -> list[str]:
        keys = []
        while claim := tasks.claim(engine, sweep, worker=name, host="h", pid=1, lease_s=60):
            assert finished(engine, claim)
            keys.append(claim.key)
        return keys

    with ThreadPoolExecutor(3) as pool:
        counts = Counter(key for keys in pool.map(work, "abc") for key in keys)
    assert any("40001" in error for error in errors)
    assert counts == Counter(f"search#{n}" for n in range(30))
    assert states(engine, sweep) == {"search": "closed"}


FROZEN = """
    import os, signal, sys
    import sqlalchemy
    from sqlalchemy import event
    from storage.queue import tasks
    from storage.db.engine import open_engine
    from storage.url import resolve

    engine = open_engine(resolve())
    limit = sys.argv[2]
    frozen = []

    if limit != "ours":
        @event.listens_for(engine, "connect")
        def change(connection, record):
            connection.execute(f"SET idle_in_transaction_session_timeout = '{limit}'")
            connection.commit()
        engine.dispose()

    @event.listens_for(engine, "commit")
    def freeze(connection):
        if not frozen:
            frozen.append(True)
            print("in the middle of its claim", flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)

    claim = tasks.claim(engine, int(sys.argv[1]), worker="frozen", host="h", pid=os.getpid(), lease_s=60)
    print(claim.key, claim.attempt)
"""


@pytest.mark.parametrize("limit", ["1s", pytest.param("ours", marks=pytest.mark.slow)])
def test_a_process_frozen_inside_a_claim_holds_its_task_for_a_bounded_time(engine: Engine, limit: str) -> None:
    """Our limit is 15 s, here 1 s in the quick case."""
    sweep = new_sweep(engine, number=2)
    with running(FROZEN, engine, str(sweep), limit) as frozen:
        assert frozen.stdout is not None
        assert frozen.stdout.readline() == "in the middle of its claim\n"
        first = claimed(engine, sweep)
        assert first.key == "search#1", "search#0 is locked, so it is skipped"
        assert tasks.claim(engine, sweep, worker="w", host="h", pid=1, lease_s=60) is None
        claim = partial(tasks.claim, engine, sweep, worker="w", host="h", pid=1, lease_s=60)
        second = wait_until(
            claim, "the lock of the frozen process was not released", 10 if limit == "1s" else 45, every_s=0.1
        )
        assert (second.key, second.attempt) == ("search#0", 1), "the frozen claim was rolled back"
        assert tasks.end(engine, first, given_back())
        frozen.send_signal(signal.SIGCONT)
        out, _ = frozen.communicate(timeout=30)
        assert out == "search#1 2\n", "once resumed, it claims the task that is left"


HOLDER = """
    import sqlite3, sys, time

    connection = sqlite3.connect(sys.argv[3], isolation_level=None, timeout=30)
    if sys.argv[1] == "everything":
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("UPDATE sweeps SET revision = revision")
    print("locked", flush=True)
    time.sleep(float(sys.argv[2]))
    connection.execute("COMMIT")
"""


@pytest.mark.parametrize(
    ("what", "seconds", "patience"),
    [
        ("writing", 0.6, None),
        ("everything", 0.6, 0.1),
        pytest.param("writing", 20.0, None, marks=pytest.mark.slow),
        pytest.param("everything", 20.0, None, marks=pytest.mark.slow),
        pytest.param("everything", 20.0, 1.0, marks=pytest.mark.slow),
    ],
)
def test_a_file_that_another_process_keeps_locked_is_waited_for(
    tmp_path: Path, what: str, seconds: float, patience: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite waits for 60 s; with a shorter time-out there, our retries wait."""
    if patience is not None:
        monkeypatch.setattr("storage.db.sqlite_file.BUSY_TIMEOUT_S", patience)
    with new_storage(f"sqlite:///{tmp_path}/x.db") as engine:
        sweep = new_sweep(engine, number=2)
        claim = claimed(engine, sweep)
        if what == "everything":
            engine.dispose()  # a connected reader would prevent the exclusive lock
        with running(HOLDER, engine, what, str(seconds), str(engine.url.database)) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "locked\n"
            started = time.monotonic()
            assert finished(engine, claim)
            assert time.monotonic() - started > seconds / 2, "the file was not locked"
            assert claimed(engine, sweep).key == "search#1"


def test_a_full_disk_is_an_error_at_once_except_for_a_worker_with_a_result_which_waits(tmp_path: Path) -> None:
    with new_storage(f"sqlite:///{tmp_path}/x.db") as engine, ThreadPoolExecutor() as pool:
        claim = claimed(engine, new_sweep(engine, number=1))
        engine.dispose()
        room = [0]

        @event.listens_for(engine, "connect")
        def limit(connection: sqlite3.Connection, record: object) -> None:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages + room[0]}")

        outcome = {"score": 0.5, "padding": "x" * 100_000}
        full = pytest.raises(StorageFull, match=r"disk is full; free space there, and type the command")
        with full as caught, write(engine) as connection:
            connection.execute(update(tables.tasks).values(outcome=outcome))
        assert "\n" not in str(caught.value)
        assert not is_transient(caught.value)
        result = pool.submit(tasks.finish, engine, claim, outcome=outcome, score=0.5)
        with pytest.raises(TimeoutError):
            result.result(timeout=0.3)
        room[0] = 1000
        engine.dispose()
        assert result.result(timeout=60)
