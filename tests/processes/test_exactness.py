"""Exactly the planned number of results: many workers at once, and two that act at the same instant."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine

from storage.queue import tasks
from storage.queue.tasks import reap
from storage.records import queries
from storage.tables import TaskRecord
from storage.url import resolve
from tests.support.faults.crews import NAME, Nursery
from tests.support.faults.duels import duel, opponents
from tests.support.faults.storms import count, new_storm, storm_spec, work_through
from tests.support.launches import environment, launched
from tests.support.postgres_server import ROLE, running_server
from tests.support.present import present
from tests.support.sweeps.storage_sweeps import claimed, finished, new_sweep, states

# The lease of the presets, which outlasts the busiest moment, so that no attempt lapses.
CALM = {"lease.interval_s": 10, "lease.grace_s": 50}


@pytest.mark.slow_on("sqlite")
def test_four_workers_do_each_of_24_tasks_exactly_once(storage_url: str) -> None:
    few = {"search.trials": 4, "confirm.top": 1, "confirm.seeds": 1, "transfer.seeds": 1}
    new_storm(storage_url, storm_spec(**CALM, **few))
    with contextlib.closing(Nursery(storage_url, task_s=0)) as crew:
        course = work_through(crew, workers=4)
    books = count(storage_url)
    assert course.exits == {0: 4}
    assert (books.tasks, books.done, books.complete, books.attempts) == (24, 24, 24, 24)
    assert books.clean, books


@pytest.mark.slow
def test_a_launch_of_64_workers_does_each_of_2000_tasks_once_on_a_default_server(tmp_path: Path) -> None:
    with running_server(max_connections=100) as server:
        url, most, over = server.new_database(), 0, threading.Event()
        new_storm(url, storm_spec(**CALM, **{"search.trials": 349, "transfer.seeds": 129}))

        def watch() -> None:
            nonlocal most
            with server.admin() as connection:
                while not over.wait(0.1):
                    row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [ROLE])
                    most = max(most, *present(row.fetchone()))

        with ThreadPoolExecutor(1) as pool:
            watching, began = pool.submit(watch), time.monotonic()
            try:
                code, out = launched(environment(tmp_path, resolve(url)), workers=64, name=NAME, timeout=1800)
            finally:
                over.set()
            watching.result()
        print(f"\n64 workers: {count(url)}, {most} connections at most, in {time.monotonic() - began:.1f} s")
        assert code == 0, out
        assert 64 < most <= 64 + 3
        assert "retrying" not in out
        books = count(url)
        assert (books.tasks, books.done, books.complete, books.attempts) == (2000, 2000, 2000, 2000)
        assert books.clean, books


@pytest.fixture(scope="module")
def two() -> Iterator[ProcessPoolExecutor]:
    with opponents() as pool:
        yield pool


def finish_and_look(engine: Engine, *, claim: TaskRecord, score: float) -> float | None:
    """Finish, and return the stored score, of this process or another."""
    assert tasks.finish(engine, claim, outcome={"score": score}, score=score), "the attempt is done, by either try"
    (task,) = queries.task_records(engine, claim.sweep_id)
    return task.score


def sweeps_of_one_task(engine: Engine, rounds: int) -> list[int]:
    """Create a sweep for each round."""
    return [new_sweep(engine, number=1, name=f"round{n}") for n in range(rounds)]


def test_two_simultaneous_finishes_of_an_attempt_store_one_result(
    engine: Engine, storage_url: str, two: ProcessPoolExecutor
) -> None:
    """A process whose connection was cut during the commit finishes again, concurrently with its first try."""
    sweeps = sweeps_of_one_task(engine, 40)
    claims = [claimed(engine, sweep) for sweep in sweeps]

    first, second = ([partial(finish_and_look, claim=claim, score=score) for claim in claims] for score in (0.25, 0.75))
    seen = zip(*duel(two, storage_url, first, second), strict=True)
    kept: Counter[float] = Counter()
    for sweep, looks in zip(sweeps, seen, strict=True):
        (task,) = queries.task_records(engine, sweep)
        assert task.outcome == {"score": task.score}, "a mix of both results"
        assert task.score is not None
        assert set(looks) == {task.score}, "a stored result was overwritten"
        kept[task.score] += 1
        assert states(engine, sweep) == {"search": "closed"}
    print(kept)
    assert set(kept) == {0.25, 0.75}, "one of them was always first: there was no race"


def test_a_simultaneous_result_and_reap_leave_the_task_done_or_free_but_never_both(
    engine: Engine, storage_url: str, two: ProcessPoolExecutor
) -> None:
    sweeps = sweeps_of_one_task(engine, 40)
    claims = [claimed(engine, sweep, lease_s=0.0) for sweep in sweeps]
    time.sleep(0.01)
    stored, reaped = duel(
        two,
        storage_url,
        [partial(tasks.finish, claim=claim, outcome={"score": 0.5}, score=0.5) for claim in claims],
        [partial(reap, sweep_id=sweep, cap=None) for sweep in sweeps],
        late_s=0.02,
    )
    for sweep, claim, was_stored, lapsed in zip(sweeps, claims, stored, reaped, strict=True):
        (task,) = queries.task_records(engine, sweep)
        if was_stored:
            assert (task.state, lapsed) == ("done", [])
        else:
            assert (task.state, lapsed) == ("waiting", [(claim.key, 1, "w")])
            assert not finished(engine, claim), "a late result was stored"
    print(Counter(stored))
    assert set(stored) == {True, False}, "one of them was always first: there was no race"
