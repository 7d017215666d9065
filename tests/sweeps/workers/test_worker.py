"""Workers on both databases: every task once, whoever dies. Real processes, a runner of milliseconds."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

from storage.errors import StudyMissing
from storage.queue.tasks import Claim, reap_worker
from storage.records import queries
from storage.records.queries import TaskRecord
from storage.studies.space import study_name
from storage.url import resolve
from sweeps.distill.presets import preset
from sweeps.distill.session import Outcome
from sweeps.hints import explain
from sweeps.plan.plan import STAGES, make_plan
from sweeps.spec.model import Spec, override
from sweeps.usecases.create import create_sweep
from sweeps.workers.worker import Worker
from tests.support.paths import REPOSITORY, SUPPORT
from tests.support.sweeps.quadratic_worker import quadratic

SPEC = override(preset("tiny"), {"transfer.seeds": 2, "lease.interval_s": 1, "lease.grace_s": 2, "search.trials": 6})


MakeWorker = Callable[..., Worker]


@pytest.fixture
def make_worker() -> Iterator[MakeWorker]:
    """Workers in this process on sweep "s"; closed when the test is over."""
    made: list[Worker] = []

    def make(url: sqlalchemy.URL, run: Any = quadratic) -> Worker:
        made.append(Worker(url, "s", run=run))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


def _created(url: str, spec: Spec = SPEC) -> sqlalchemy.URL:
    found = resolve(url)
    assert create_sweep(found, "s", spec).new
    return found


def _tasks(engine: sqlalchemy.Engine) -> list[TaskRecord]:
    return queries.task_records(engine, queries.find_sweep(engine, "s").id)


def _start(url: str, seconds: float) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [sys.executable, str(SUPPORT / "sweeps" / "quadratic_worker.py"), url, "s", str(seconds)],
        env=environment,
        stderr=subprocess.PIPE,
    )


def _wait(engine: sqlalchemy.Engine, what: Callable[[list[TaskRecord]], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what(_tasks(engine)):
            return
        time.sleep(0.05)
    raise AssertionError(Counter((task.stage, task.state) for task in _tasks(engine)))


def _each_task_has_one_complete_trial(worker: Worker) -> None:
    tasks = _tasks(worker.engine)
    assert {task.state for task in tasks} == {"done"}, Counter(task.state for task in tasks)
    for stage in STAGES:
        study = optuna.load_study(study_name=study_name("s", stage), storage=worker.studies.storage)
        complete = [trial.number for trial in study.trials if trial.state.name == "COMPLETE"]
        assert sorted(complete) == sorted(task.trial_number or 0 for task in tasks if task.stage == stage)
        assert not [trial for trial in study.trials if trial.state.name == "RUNNING"]


@pytest.mark.slow_on("postgres")
def test_one_worker_does_every_task_once_and_each_has_its_trial(storage_url: str, make_worker: MakeWorker) -> None:
    worker = make_worker(_created(storage_url))
    assert worker.work() == 0
    _each_task_has_one_complete_trial(worker)
    assert worker.finished == len(make_plan(SPEC).tasks)
    assert all(task.attempt == 1 for task in _tasks(worker.engine))


@pytest.mark.slow_on("postgres")
def test_confirm_and_transfer_run_exactly_the_selected_points(storage_url: str, make_worker: MakeWorker) -> None:
    worker = make_worker(_created(storage_url))
    worker.work()
    tasks = _tasks(worker.engine)
    search = sorted((t for t in tasks if t.stage == "search"), key=lambda t: (-(t.score or 0), t.id))
    for task in tasks:
        if task.stage == "confirm":
            assert task.params == search[task.payload["rank"]].params
    stored = queries.selections(worker.engine, queries.find_sweep(worker.engine, "s").id)
    assert set(stored) == {"search.ranks", "native.ranks", "confirm.best", "native.best"}
    for task in tasks:
        if task.payload.get("arm") == "best":
            assert task.params is not None
            assert task.params["temperature"] == stored["confirm.best"]["temperature"]
        if task.payload.get("arm") == "scratch":
            assert task.params is not None
            assert task.params["alpha"] == 1.0


@pytest.mark.slow
def test_two_searches_at_the_same_seed_ask_for_the_same_points_when_one_worker_runs_them(
    tmp_path: Path, make_worker: MakeWorker
) -> None:
    points = []
    for number in range(2):
        worker = make_worker(_created(f"sqlite:///{tmp_path}/{number}.db"))
        worker.work()
        points.append([task.params for task in _tasks(worker.engine) if task.stage == "search"])
    assert points[0] == points[1]


@pytest.mark.slow_on("postgres")
def test_a_failing_attempt_is_tried_again_with_the_same_parameters(storage_url: str, make_worker: MakeWorker) -> None:
    seen: dict[str, list[dict[str, Any]]] = {}

    def flaky(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        seen.setdefault(claim.key, []).append(params)
        if claim.key == "search#5" and claim.attempt == 1:  # one that the sampler proposed
            raise RuntimeError("out of luck")
        return quadratic(claim, params, on_step)

    worker = make_worker(_created(storage_url), flaky)
    assert worker.work() == 0
    first, second = seen["search#5"]
    assert first == second
    study = optuna.load_study(study_name="s", storage=worker.studies.storage)
    (failed,) = [trial for trial in study.trials if trial.state.name == "FAIL"]
    assert "out of luck" in failed.user_attrs["reason"]
    (again,) = [
        trial for trial in study.trials if trial.user_attrs.get("task") == "search#5" and trial.number > failed.number
    ]
    assert again.user_attrs["retry_of"] == failed.number


@pytest.mark.slow_on("postgres")
def test_a_task_that_always_fails_ends_with_its_reason_and_the_rest_goes_on(
    storage_url: str, make_worker: MakeWorker
) -> None:
    def broken(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.key == "transfer#source.best.1":
            raise RuntimeError("always")
        return quadratic(claim, params, on_step)

    worker = make_worker(_created(storage_url), broken)
    assert worker.work() == 0
    states = {task.key: task for task in _tasks(worker.engine)}
    lost = states.pop("transfer#source.best.1")
    assert (lost.state, lost.reason, lost.attempt) == ("failed", "RuntimeError: always", SPEC.retry.error)
    assert {task.state for task in states.values()} == {"done"}


def test_without_its_teacher_a_search_is_skipped_with_the_reason(storage_url: str, make_worker: MakeWorker) -> None:
    def no_teacher(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.key == "teachers#source":
            raise RuntimeError("no teacher today")
        return quadratic(claim, params, on_step)

    worker = make_worker(_created(storage_url), no_teacher)
    assert worker.work() == 0
    by_phase = {task.phase: task for task in _tasks(worker.engine)}
    assert by_phase["teachers:source"].state == "failed"
    for phase in ("search", "confirm", "transfer:source", "transfer:target"):
        assert by_phase[phase].state == "skipped"
        assert "teachers:source" in (by_phase[phase].reason or "") or "search" in (by_phase[phase].reason or "")
    assert by_phase["native:confirm"].state == "done"
    assert by_phase["measure"].state == "done"


@pytest.mark.processes
@pytest.mark.slow_on("postgres")
def test_a_neighbour_killed_with_kill_9_in_the_middle_of_the_search_loses_nothing(
    storage_url: str, make_worker: MakeWorker
) -> None:
    url = _created(storage_url)
    doomed = _start(storage_url, 2.0)
    watcher = make_worker(url)
    of_doomed = f"-{doomed.pid}-"
    _wait(
        watcher.engine,
        lambda tasks: any(
            t.stage == "search" and t.state == "running" and of_doomed in (t.worker or "") for t in tasks
        ),
    )
    other = _start(storage_url, 0.05)  # later: on a busy machine it would have done everything before doomed is up
    _wait(watcher.engine, lambda tasks: sum(task.state == "running" for task in tasks) == 2)
    doomed.kill()
    doomed.wait()
    assert other.wait(120) == 0
    _each_task_has_one_complete_trial(watcher)
    assert max(task.attempt for task in _tasks(watcher.engine)) == 2
    for process in (doomed, other):
        assert process.stderr is not None
        process.stderr.close()


@pytest.mark.processes
@pytest.mark.slow_on("postgres")
def test_sigterm_gives_the_task_back_and_its_attempt_does_not_count(storage_url: str, make_worker: MakeWorker) -> None:
    url = _created(storage_url)
    process = _start(storage_url, 60)
    watcher = make_worker(url)
    _wait(watcher.engine, lambda tasks: any(task.state == "running" for task in tasks))
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    assert time.monotonic() - started < 5
    assert {task.state for task in _tasks(watcher.engine)} == {"waiting"}
    assert watcher.work() == 0
    _each_task_has_one_complete_trial(watcher)
    assert process.stderr is not None
    process.stderr.close()


@pytest.mark.slow_on("postgres")
def test_a_worker_whose_task_was_taken_drops_its_result_and_goes_on(storage_url: str, make_worker: MakeWorker) -> None:
    url = _created(storage_url)
    results: list[float] = []

    def robbed(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.key == "search#2" and claim.attempt == 1:
            # Somebody believes that this worker is dead, while it is about to finish.
            reap_worker(worker.engine, worker.worker, cap=5)
        outcome = quadratic(claim, params, on_step)
        if claim.key == "search#2":
            results.append(outcome.score)
        return outcome

    worker = make_worker(url, robbed)
    assert worker.work() == 0
    assert len(results) == 2, "it was trained twice"
    _each_task_has_one_complete_trial(worker)
    (task,) = [task for task in _tasks(worker.engine) if task.key == "search#2"]
    assert task.attempt == 2


@pytest.mark.slow_on("postgres")
def test_a_study_deleted_in_the_dashboard_is_one_clear_line_and_loses_no_result(
    storage_url: str, make_worker: MakeWorker
) -> None:
    url = _created(storage_url)

    def deleting(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.key == "search#3":
            optuna.delete_study(study_name="s", storage=worker.studies.storage)
        return quadratic(claim, params, on_step)

    worker = make_worker(url, deleting)
    with pytest.raises(StudyMissing, match=r"study 's' .* deleted") as caught:
        worker.work()
    assert explain(caught.value).endswith("to go on with a new study, type: kd-sweeps create s")
    assert sum(task.state == "done" for task in _tasks(worker.engine)) >= 5
    assert not [task for task in _tasks(worker.engine) if task.state == "running"]
    assert not create_sweep(url, "s", SPEC).new, "the sweep is the old one; only its study is new"
    assert make_worker(url).work() == 0
    assert {task.state for task in _tasks(worker.engine)} == {"done"}
