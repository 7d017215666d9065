"""A database clock that jumps while workers run: nothing lost or doubled, and dead workers are replaced."""

import contextlib
import time
from pathlib import Path
from typing import Any

import pytest

from storage.queue import tasks
from storage.queue.tasks import given_back
from storage.tables import TaskRecord
from sweeps.plan.jobs import AnyJob
from sweeps.trainers.protocol import Steps
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.runner import Outcome
from sweeps.workers.worker import Worker
from tests.support.faults.crews import Nursery
from tests.support.faults.database_faults import ClockJumps
from tests.support.faults.storms import count, new_storm, storm_spec, work_through
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import created


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


@pytest.mark.parametrize("storage_url", ["sqlite"], indirect=True)  # on either: storage/queue/test_clocks.py
def test_after_a_jump_a_worker_leaves_the_others_time_to_renew(storage_url: str) -> None:
    url = created(storage_url)
    neighbours: list[TaskRecord] = []
    kept: list[bool] = []

    def run(claim: AnyJob, params: dict[str, Any], steps: Steps) -> Outcome:
        if not neighbours:
            mine = tasks.claim(
                worker.backend.engine, claim.row.sweep_id, worker="neighbour", host="h", pid=1, lease_s=60
            )
            assert mine is not None
            neighbours.append(mine)
            for what in ("attempts SET lease_until = lease_until", "sweeps SET repaired_at = repaired_at"):
                execute(url, f"UPDATE {what} - 3600")  # an hour forward: all that was written is older
            time.sleep(worker.spec.lease.interval_s)  # before the next task the worker looks again
        elif not kept:
            kept.append(tasks.renew(worker.backend.engine, neighbours[0], 60))
            tasks.end(worker.backend.engine, neighbours[0], given_back())
        return quadratic(claim, params, steps)

    with Worker(DatabaseBackend.open(url, "s"), run=run) as worker:
        assert worker.work() == 0
    assert kept == [True]
