"""Workers: every task is done once, even if workers die. The runner takes milliseconds."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

from storage.errors import StudyMissing
from storage.queue.tasks import reap_worker
from storage.records import queries
from storage.studies.space import study_name
from storage.studies.studies import open_studies
from sweeps.hints import explain
from sweeps.plan.jobs import AnyJob
from sweeps.plan.plan import make_plan
from sweeps.spec.model import override
from sweeps.usecases.create import create_sweep
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.runner import Outcome
from sweeps.workers.worker import Worker
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.planted_sweeps import Runner
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL, created, draw, tasks_of

MakeWorker = Callable[..., Worker]
# The sampler proposes the trials from the fourth on; with two seeds, one can be lost.
SPEC = override(SMALL, {"search.trials": 6, "confirm.top": 2, "transfer.seeds": 2})


@pytest.fixture
def make_worker() -> Iterator[MakeWorker]:
    """Make workers on sweep "s" in this process, and close them after the test."""
    open_workers: list[Worker] = []

    def make(url: sqlalchemy.URL, run: Runner = quadratic) -> Worker:
        open_workers.append(Worker(DatabaseBackend.open(url, "s"), run=run))
        return open_workers[-1]

    yield make
    for worker in open_workers:
        worker.backend.close()


@pytest.fixture
def url(tmp_path: Path, in_memory: None) -> sqlalchemy.URL:
    return created(f"sqlite:///{tmp_path}/s.db", SPEC)


def _trials(url: sqlalchemy.URL, stage: str = "search") -> list[optuna.trial.FrozenTrial]:
    with contextlib.closing(open_studies(url)) as studies:
        return optuna.load_study(study_name=study_name("s", stage), storage=studies.storage).trials


def _each_task_has_one_complete_trial(worker: Worker, url: sqlalchemy.URL) -> None:
    draw(url)
    tasks = tasks_of(worker.backend.engine)
    assert {task.state for task in tasks} == {"done"}, Counter(task.state for task in tasks)
    for stage in make_plan(SPEC).stages:
        complete = [trial.number for trial in _trials(url, stage) if trial.state.name == "COMPLETE"]
        assert sorted(complete) == sorted(task.trial_number or 0 for task in tasks if task.stage == stage)
        assert not [trial for trial in _trials(url, stage) if trial.state.name == "RUNNING"]


def test_one_worker_does_every_task_once_at_the_selected_points_and_each_has_its_trial(
    tmp_path: Path, make_worker: MakeWorker
) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db", SPEC)
    worker = make_worker(url)
    assert worker.work() == 0
    _each_task_has_one_complete_trial(worker, url)
    assert worker.finished == len(make_plan(SPEC).tasks)
    tasks = tasks_of(worker.backend.engine)
    assert all(task.attempt == 1 for task in tasks)
    search = sorted((t for t in tasks if t.stage == "search"), key=lambda t: (-(t.score or 0), t.id))
    stored = queries.selections(worker.backend.engine, worker.backend.sweep.id)
    assert set(stored) == {"search.ranks", "native.ranks", "confirm.best", "native.best"}
    for task in tasks:
        if task.stage == "confirm":
            assert task.params == search[task.payload["rank"]].params
        if task.payload.get("arm") == "best":
            assert task.params is not None
            assert task.params["temperature"] == stored["confirm.best"]["temperature"]
        if task.payload.get("arm") == "scratch":
            assert task.params is not None
            assert task.params["alpha"] == 1.0


def test_a_failed_attempt_is_retried_with_the_same_parameters(url: sqlalchemy.URL, make_worker: MakeWorker) -> None:
    params_by_task: dict[str, list[dict[str, Any]]] = {}

    def flaky(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        params_by_task.setdefault(claim.key, []).append(params)
        if claim.key == "search#5" and claim.row.attempt == 1:  # a trial that the sampler proposed
            raise RuntimeError("out of luck")
        return quadratic(claim, params, on_step)

    worker = make_worker(url, flaky)
    assert worker.work() == 0
    first, second = params_by_task["search#5"]
    assert first == second
    draw(url)
    (failed,) = [trial for trial in _trials(url) if trial.state.name == "FAIL"]
    assert "out of luck" in failed.user_attrs["failure"]["reason"]
    (retry_trial,) = [trial for trial in _trials(url) if trial.user_attrs["kd-sweeps"].get("retry_of") == failed.number]
    assert (retry_trial.user_attrs["kd-sweeps"]["task"], retry_trial.params) == ("search#5", failed.params)


def test_a_worker_whose_task_was_reaped_drops_its_result_and_continues(
    url: sqlalchemy.URL, make_worker: MakeWorker
) -> None:
    results: list[float] = []

    def robbed(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.key == "search#2" and claim.row.attempt == 1:
            # Another worker reaps this one just before it finishes.
            reap_worker(worker.backend.engine, worker.worker, cap=5)
        outcome = quadratic(claim, params, on_step)
        if claim.key == "search#2":
            results.append(outcome.score)
        return outcome

    worker = make_worker(url, robbed)
    assert worker.work() == 0
    assert len(results) == 2, "search#2 is trained twice"
    _each_task_has_one_complete_trial(worker, url)
    (task,) = [task for task in tasks_of(worker.backend.engine) if task.key == "search#2"]
    assert task.attempt == 2


def test_a_study_deleted_in_the_dashboard_stops_no_worker_and_loses_no_result(
    url: sqlalchemy.URL, make_worker: MakeWorker
) -> None:
    with contextlib.closing(open_studies(url)) as studies:
        optuna.delete_study(study_name="s", storage=studies.storage)
    worker = make_worker(url)
    assert worker.work() == 0
    assert {task.state for task in tasks_of(worker.backend.engine)} == {"done"}
    with pytest.raises(StudyMissing, match=r"study 's' .* deleted") as error:
        draw(url)
    assert explain(error.value).endswith("to continue with a new study, type: kd-sweeps create s")
    assert not create_sweep(url, "s", SPEC).new, "only the study is recreated"
    _each_task_has_one_complete_trial(worker, url)


def test_a_point_outside_its_space_fails_before_training(url: sqlalchemy.URL, make_worker: MakeWorker) -> None:
    execute(url, """UPDATE tasks SET payload = REPLACE(payload, '"alpha": 0.', '"alpha": 7.') WHERE key = 'search#1'""")
    worker = make_worker(url)
    assert worker.work() == 0
    (task,) = [task for task in tasks_of(worker.backend.engine) if task.key == "search#1"]
    assert (task.state, task.params) == ("failed", None)
    assert "alpha is 7." in (task.reason or "")
