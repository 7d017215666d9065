"""A whole sweep with real training, by two workers that share only a Postgres URL."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

from storage.db.engine import open_engine
from storage.records import queries
from storage.studies.space import study_name
from storage.tables import TaskRecord
from storage.url import resolve
from sweeps import create_sweep
from sweeps.errors import SweepError
from sweeps.plan.jobs import read_job
from sweeps.query.listing import open_sweep
from sweeps.report.folder import json_data
from sweeps.spec.model import override
from sweeps.spec.stored import stored_spec
from sweeps.trainers.protocol import Steps
from tests.support.paths import REPOSITORY
from tests.support.sweeps.archived_sweeps import records
from tests.support.sweeps.planted_sweeps import analysed, answer_of
from tests.support.sweeps.small_sweeps import wait_until

# Small in every number, complete in every stage.
MICRO = {
    "source.images": 256,
    "source.teacher_epochs": 2,
    "source.epochs": 2,
    "target.images": 256,
    "target.teacher_epochs": 2,
    "target.epochs": 2,
    "search.trials": 4,
    "search.lag": 1,
    "confirm.rounds": [[2, 1], [2, 1]],
    "transfer.seeds": 2,
    "lease.interval_s": 1,
    "lease.grace_s": 3,
}


def _worker(url: str, name: str, folder: Path) -> subprocess.Popen[str]:
    """Start `kd-sweeps worker` as on another machine: separate working directory, caches and home."""
    folder.mkdir()
    environment = os.environ | {
        "KD_SWEEPS_CACHE": str(folder / "cache"),
        "KERAS_HOME": str(folder / "keras"),
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [sys.executable, "-m", "sweeps.cli", "worker", name, "--storage", url]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def finished(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a Postgres storage with a finished sweep "micro", one of whose two workers was killed.

    The first to train a student of the search is killed with -9; which one that is depends on who took the baseline.
    The other one finishes the sweep.
    """
    server = sqlalchemy.make_url(postgres_server).set(drivername="postgresql+psycopg")
    admin = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE whole")
    url = server.set(database="whole").render_as_string(hide_password=False)
    assert create_sweep("micro", preset="tiny", changes=MICRO, storage=url)
    folder = tmp_path_factory.mktemp("machines")
    engine = open_engine(resolve(url), read_only=True)
    sweep = queries.find_sweep(engine, "micro")
    workers = {worker.pid: worker for worker in (_worker(url, "micro", folder / name) for name in ("one", "other"))}

    def in_the_search() -> list[int]:
        assert None in [worker.poll() for worker in workers.values()]
        return [each.pid for each in queries.running_tasks(engine, sweep.id) if each.stage == "search"]

    killed = workers.pop(wait_until(in_the_search, "no worker reached the search", 300)[0])
    killed.kill()
    killed.communicate()
    (survivor,) = workers.values()
    _, err = survivor.communicate(timeout=600)
    assert survivor.returncode == 0, err
    engine.dispose()
    yield url
    with admin.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE whole WITH (FORCE)")
    admin.dispose()


def _tasks(url: str) -> list[TaskRecord]:
    return list(records(url, "micro").values())


@pytest.fixture(scope="module")
def data(finished: str) -> Any:
    """Return the report of the sweep as JSON."""
    return json.loads(json.dumps(json_data(analysed(finished, "micro"))))


def test_every_task_is_done_once_though_a_worker_was_killed_in_the_search(finished: str) -> None:
    tasks = _tasks(finished)
    unavailable = [task for task in tasks if task.error_class == "unavailable"]
    assert [task.key for task in unavailable] in ([], ["baselines#mobilenet"])
    assert {task.state for task in tasks if task not in unavailable} == {"done"}
    assert max(task.attempt for task in tasks if task.stage == "search") == 2


@pytest.mark.slow
def test_one_undisturbed_worker_on_sqlite_gives_the_same_answer_to_the_last_bit(finished: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/alone.db"
    assert create_sweep("micro", preset="tiny", changes=MICRO, storage=url)
    worker = _worker(url, "micro", tmp_path / "alone")
    _, err = worker.communicate(timeout=300)
    assert worker.returncode == 0, err
    results, repeated = (
        {task.key: (task.params, task.score) for task in _tasks(storage)} for storage in (finished, url)
    )
    measure = [key for key in results if key.startswith("measure")]
    assert {key: results[key] for key in results if key not in measure} == {
        key: repeated[key] for key in repeated if key not in measure
    }
    assert answer_of(finished, "micro") == answer_of(url, "micro") is not None


def test_the_trials_of_every_study_are_those_of_the_tasks(finished: str) -> None:
    tasks = _tasks(finished)
    storage = optuna.storages.RDBStorage(finished)
    for stage in {task.stage for task in tasks}:
        trials = optuna.load_study(study_name=study_name("micro", stage), storage=storage).trials
        complete = {trial.number: trial.value for trial in trials if trial.state.name == "COMPLETE"}
        assert complete == {t.trial_number: t.score for t in tasks if t.stage == stage and t.state == "done"}
        assert not [trial for trial in trials if trial.state.name == "RUNNING"]
        assert stage != "baselines" or [trial.params for trial in trials] == [{"method": "mobilenet"}]
    storage.remove_session()
    storage.engine.dispose()


def test_every_row_is_measured_with_its_cost(data: Any) -> None:
    *rows, _ = data["rows"]
    for row in rows:
        assert row["measured"]["latency_ms_p50"] > 0
        assert row["measured"]["bytes"] > 10_000
        assert 0 <= row["test"]["mean"] <= 1
    of = {(row["method"], row["dataset"]): row for row in rows}
    assert of["scratch", "digits"]["shared_s"] is None
    teacher = of["teacher cnn-small-narrow", "digits-rgb"]["train_s"]
    assert of["default-keras", "digits-rgb"]["shared_s"] == pytest.approx(teacher)
    assert of["best", "digits"]["shared_s"] > of["teacher cnn-small-narrow", "digits"]["train_s"]
    assert of["best", "digits-rgb"]["shared_s"] > of["best", "digits"]["shared_s"]


def test_every_outcome_carries_its_provenance(finished: str) -> None:
    for task in _tasks(finished):
        if task.state != "done":
            continue
        assert task.outcome is not None
        assert task.outcome["wall_s"] > 0
        assert task.outcome["provenance"]["versions"]["tensorflow"]
        if task.stage != "measure":
            assert task.outcome["seed"] == task.payload["seed"]
            assert len(task.outcome["data"]["content_hash"]) == 64


def _run(url: str, key: str, **changes: Any) -> tuple[float | None, float | None]:
    """Run a task again here; return its score and the stored one."""
    from sweeps.workers.backend import DatabaseBackend
    from sweeps.workers.runner import TaskRunner

    with open_sweep(url, "micro", write=True) as (engine, sweep):
        (task,) = [task for task in _tasks(url) if task.key == key]
        runner = TaskRunner(DatabaseBackend(engine, sweep, spec=override(stored_spec(sweep), changes)))
        job = read_job(replace(task, attempt=9, params=None))
        return runner(job, task.params or {}, Steps()).score, task.score


def test_the_same_task_run_again_gives_the_same_score(finished: str) -> None:
    repeated, stored = _run(finished, "native.search#3")
    assert repeated == stored


def test_logits_of_other_training_images_are_refused(finished: str) -> None:
    with pytest.raises(SweepError, match="its logits would be misaligned"):
        _run(finished, "search#0", **{"source.images": 300})
