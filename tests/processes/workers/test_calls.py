"""Workers of a launch wait for its calls: they arrive in time, and a frozen or killed launch loses nothing."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.queue import workers
from storage.records import queries
from sweeps.query.listing import open_sweep
from sweeps.spec.model import override
from tests.support.launches import environment, launched, start_launch
from tests.support.postgres_server import PostgresServer, running_server
from tests.support.sweeps.small_sweeps import SMALL, created, tasks_of, wait_until

LONG_S = 600.0
# A search runs one task at a time, so that one of two workers waits; polling would be too late.
PATIENT = override(SMALL, {"search.lag": 1, "search.trials": 8, "lease.interval_s": LONG_S, "lease.grace_s": LONG_S})


# No task of the comparison ends before three workers have one.
TOGETHER = """
if claim.key.startswith("transfer#"):
    once(f"worker-{os.getpid()}")
    until = time.monotonic() + 120
    while len(list(HOME.glob("worker-*"))) < 3 and time.monotonic() < until:
        steps()
        time.sleep(0.02)
"""


def test_idle_workers_are_woken_for_new_tasks_and_at_the_end(storage_url: str, tmp_path: Path) -> None:
    url = created(storage_url, PATIENT)
    began = time.monotonic()
    code, out = launched(environment(tmp_path / "home", url, TOGETHER), workers=3, timeout=LONG_S)
    assert code == 0, out
    assert time.monotonic() - began < LONG_S / 2, "a worker waited for its next poll"
    with open_sweep(url, "s") as (engine, sweep):
        assert {task.state for task in tasks_of(engine)} == {"done"}
        assert [record.done > 0 for record in workers.records(engine, sweep.id)] == [True] * 3


@pytest.mark.slow_on("sqlite")
def test_workers_whose_launch_was_killed_finish_the_sweep_and_end(storage_url: str, tmp_path: Path) -> None:
    url = created(storage_url, PATIENT)
    with open_sweep(url, "s") as (engine, sweep), start_launch(environment(tmp_path / "home", url)) as launch:
        wait_until(lambda: len(queries.running_tasks(engine, sweep.id)) > 0, "no task runs", LONG_S)
        launch.kill()
        wait_until(lambda: queries.outlook(engine, sweep.id).unended == 0, "its workers did not continue", LONG_S)

        def all_ended() -> bool:
            return all(record.ended_at is not None for record in workers.records(engine, sweep.id))

        wait_until(all_ended, "one of them still waits for a call", LONG_S / 2)
        assert [record.reason for record in workers.records(engine, sweep.id)] == [None, None]


def test_workers_whose_launch_is_frozen_continue(tmp_path: Path) -> None:
    """They poll once per interval of their lease."""
    url = created(f"sqlite:///{tmp_path}/s.db", override(PATIENT, {"lease.interval_s": 1.0}))
    with open_sweep(url, "s") as (engine, sweep), start_launch(environment(tmp_path / "home", url)) as launch:
        wait_until(lambda: len(queries.running_tasks(engine, sweep.id)) > 0, "no task runs", LONG_S)
        os.kill(launch.pid, signal.SIGSTOP)
        wait_until(lambda: queries.outlook(engine, sweep.id).unended == 0, "its workers wait for it", LONG_S)
        os.kill(launch.pid, signal.SIGCONT)
        out, _ = launch.communicate(timeout=LONG_S)
        assert launch.returncode == 0, out


@pytest.fixture(scope="module")
def stock() -> Iterator[PostgresServer]:
    """Yield a server with its default settings: 100 connections, of which 3 are for the superuser."""
    with running_server(max_connections=100) as server:
        yield server


def test_more_workers_than_connections_are_refused_before_any_starts(stock: PostgresServer, tmp_path: Path) -> None:
    url = created(stock.new_database())
    code, out = launched(environment(tmp_path / "home", url), workers=95)
    assert code == 1
    assert out.splitlines()[-1].endswith(
        f"@127.0.0.1:{stock.port}/{url.database} gives 97 connections, which is enough for 94 (1 for each worker, 3 for"
        " the launch); type --workers 94, or raise max_connections of the server"
    )
    with open_sweep(url, "s") as (engine, sweep):
        assert workers.records(engine, sweep.id) == []
