"""A real worker process dies as by kill -9 between any two of its steps; the next one loses and doubles nothing."""

from collections import Counter

import pytest

from storage.db.engine import open_engine
from storage.failpoints import POINTS
from storage.records import queries
from sweeps.plan.audit import audit
from tests.support.sweeps.small_sweeps import created, start_worker, tasks_of


@pytest.mark.parametrize("point", POINTS["worker"])
@pytest.mark.slow_on("postgres")
def test_a_worker_killed_at_any_point_loses_nothing_and_doubles_nothing(storage_url: str, point: str) -> None:
    url = created(storage_url)
    # The third time: not the first task of all, so that there is something to lose.
    doomed = start_worker(storage_url, crash_at=f"{point}:3")
    doomed.join(60)
    assert doomed.exitcode == -9
    engine = open_engine(url)
    done_before = {task.key: task.score for task in tasks_of(engine) if task.state == "done"}
    survivor = start_worker(storage_url)
    survivor.join(60)
    assert survivor.exitcode == 0
    tasks = tasks_of(engine)
    assert {task.state for task in tasks} == {"done"}
    assert done_before == {task.key: task.score for task in tasks if task.key in done_before}, "a result changed"
    # The task at work was tried a second time, unless it was done already when its worker died.
    stored = POINTS["worker"].index(point) >= POINTS["worker"].index("finished")
    assert Counter(task.attempt for task in tasks) == ({1: len(tasks)} if stored else {1: len(tasks) - 1, 2: 1})
    found = audit(engine, queries.find_sweep(engine, "s"))
    assert (found.violations, found.warnings) == ([], [])
    engine.dispose()
