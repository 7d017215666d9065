"""A database clock that jumps while workers run: nothing lost or doubled, and dead workers are replaced."""

import contextlib
import random
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool

from storage.queue import tasks
from storage.queue.tasks import given_back
from storage.tables import TaskRecord
from storage.url import resolve
from sweeps.plan.jobs import AnyJob
from sweeps.trainers.protocol import Steps
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.runner import Outcome
from sweeps.workers.worker import Worker
from tests.support.faults.crews import Nursery
from tests.support.faults.storms import count, new_storm, storm_spec, work_through
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import created


class ClockJumps:
    """Sets the database's clock forward or back by up to an hour, every 0.4 s on average.

    Other programs use the clock, so the stored times of leases are moved the other way instead.
    """

    def __init__(self, url: str) -> None:
        self.injected = 0
        self._engine = sqlalchemy.create_engine(resolve(url), poolclass=NullPool)
        self._random = random.Random(0)

    def __call__(self, living: list[int]) -> float:
        by = {"by": self._random.uniform(-3600, 3600)}
        with self._engine.begin() as connection:
            # In the order in which workers lock them: another order could deadlock.
            for table, column in (("attempts", "lease_until"), ("workers", "seen_at"), ("sweeps", "repaired_at")):
                connection.execute(sqlalchemy.text(f"UPDATE {table} SET {column} = {column} - :by"), by)
        self.injected += 1
        return 0.4 * self._random.uniform(0.5, 1.5)


@pytest.mark.slow_on("sqlite")
def test_a_clock_that_jumps_by_up_to_an_hour_repeatedly_loses_nothing(storage_url: str, tmp_path: Path) -> None:
    new_storm(storage_url, storm_spec(**{"search.trials": 8, "transfer.seeds": 1}))
    jumps = ClockJumps(storage_url)
    with (tmp_path / "log").open("wb") as log, contextlib.closing(Nursery(storage_url, log=log)) as crew:
        course = work_through(crew, workers=4, fault=jumps)
    books = count(storage_url)
    print(f"\n{jumps.injected} jumps, {books}, {course.seconds:.1f} s")
    assert jumps.injected >= 3
    assert course.exits == {0: 4}, (tmp_path / "log").read_text()
    assert books.clean, (books, (tmp_path / "log").read_text())


@pytest.mark.parametrize("storage_url", ["sqlite"], indirect=True)  # on both: tests/unit/storage/queue/test_clocks.py
def test_after_a_jump_a_worker_leaves_the_others_time_to_renew(storage_url: str) -> None:
    url = created(storage_url)
    neighbours: list[TaskRecord] = []
    kept: list[bool] = []

    def run(claim: AnyJob, params: dict[str, Any], steps: Steps) -> Outcome:
        if not neighbours:
            neighbour = tasks.claim(
                worker.backend.engine, claim.row.sweep_id, worker="neighbour", host="h", pid=1, lease_s=60
            )
            assert neighbour is not None
            neighbours.append(neighbour)
            for what in ("attempts SET lease_until = lease_until", "sweeps SET repaired_at = repaired_at"):
                execute(url, f"UPDATE {what} - 3600")  # an hour forward: everything stored is older
            time.sleep(worker.spec.lease.interval_s)  # the worker looks at leases again before its next task
        elif not kept:
            kept.append(tasks.renew(worker.backend.engine, neighbours[0], 60))
            tasks.end(worker.backend.engine, neighbours[0], given_back())
        return quadratic(claim, params, steps)

    with Worker(DatabaseBackend.open(url, "s"), run=run) as worker:
        assert worker.work() == 0
    assert kept == [True]
