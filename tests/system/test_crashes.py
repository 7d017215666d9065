"""A real worker process dies as by kill -9 between any two of its steps; the next one loses and doubles nothing."""

from collections import Counter

import optuna
import pytest

from storage.db.engine import open_engine
from storage.failpoints import POINTS
from storage.records import queries
from storage.studies.space import study_name
from sweeps.plan.audit import audit
from sweeps.plan.plan import STAGES
from sweeps.workers.worker import Worker
from tests.support.sweeps.small_sweeps import created, start_worker, tasks_of

pytestmark = pytest.mark.processes


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


@pytest.mark.slow_on("postgres")
def test_a_worker_killed_while_it_tells_leaves_no_trial_running_once_another_has_worked(storage_url: str) -> None:
    url = created(storage_url)
    for point in ("reported:2", "asked:2", "finished:2", "attributes:2"):
        start_worker(storage_url, crash_at=point).join(60)
    with Worker(url, "s", run=lambda *_: pytest.fail("nothing runs here")) as watcher:
        running = sum(len(watcher.studies.running(study_name("s", stage))) for stage in STAGES)
        assert running > 0, "the crashes left nothing half reported: nothing is tested"
    last = start_worker(storage_url)
    last.join(60)
    assert last.exitcode == 0
    with Worker(url, "s", run=lambda *_: pytest.fail("everything is done")) as watcher:
        for stage in STAGES:
            study = optuna.load_study(study_name=study_name("s", stage), storage=watcher.studies.storage)
            assert "RUNNING" not in {trial.state.name for trial in study.trials}
