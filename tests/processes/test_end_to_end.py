"""A whole sweep with real training, by two workers that share nothing but a Postgres URL."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
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
from sweeps import best, create_sweep, report
from sweeps.plan.plan import STAGES
from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.training

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
    """`kd-sweeps worker` as on another machine: its own working directory, caches, home; only the URL is shared."""
    folder.mkdir()
    environment = os.environ | {
        "KD_SWEEPS_CACHE": str(folder / "cache"),
        "KERAS_HOME": str(folder / "keras"),
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [sys.executable, "-m", "sweeps.cli", "worker", name, "--storage", url]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def _kill_one_in(
    stage: str, engine: sqlalchemy.Engine, sweep_id: int, *workers: subprocess.Popen[str]
) -> list[subprocess.Popen[str]]:
    """kill -9 to the first of the workers that is at a task of that stage; the others go on."""
    deadline = time.monotonic() + 300
    while not (at := {one.pid for one in queries.running_tasks(engine, sweep_id) if one.stage == stage}):
        assert time.monotonic() < deadline, f"none came to {stage}"
        assert any(worker.poll() is None for worker in workers)
        time.sleep(0.02)
    killed = next(worker for worker in workers if worker.pid in at)
    killed.kill()
    killed.communicate()
    return [worker for worker in workers if worker is not killed]


@pytest.fixture(scope="module")
def finished(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Postgres storage with a finished sweep "micro", two of whose workers were killed on the way.

    The first is killed with -9 while it trains a teacher; of the next two, whichever trains a student of the search
    first. Which one that is depends on who took the baseline before. The other one finishes the sweep.
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
    first = _worker(url, "micro", folder / "first")
    assert not _kill_one_in("teachers", engine, sweep.id, first)
    pair = [_worker(url, "micro", folder / name) for name in ("second", "third")]
    (left,) = _kill_one_in("search", engine, sweep.id, *pair)
    _, err = left.communicate(timeout=600)
    assert left.returncode == 0, err
    engine.dispose()
    yield url
    with admin.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE whole WITH (FORCE)")
    admin.dispose()


def _tasks(url: str) -> list[TaskRecord]:
    engine = open_engine(resolve(url), read_only=True)
    try:
        return queries.task_records(engine, queries.find_sweep(engine, "micro").id)
    finally:
        engine.dispose()


@cache
def _json(url: str, *command: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "sweeps.cli", *command, "-f", "json", "--storage", url],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    return json.loads(done.stdout)


def test_every_task_is_done_once_though_workers_were_killed_in_a_teacher_and_in_the_search(finished: str) -> None:
    tasks = _tasks(finished)
    unavailable = [task for task in tasks if task.error_class == "unavailable"]
    assert [task.key for task in unavailable] in ([], ["baselines#mobilenet"])
    assert {task.state for task in tasks if task not in unavailable} == {"done"}
    for stage in ("teachers", "search"):
        assert max(task.attempt for task in tasks if task.stage == stage) == 2


@pytest.mark.slow
def test_one_undisturbed_worker_on_sqlite_ends_with_the_same_answer_to_the_last_bit(
    finished: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/alone.db"
    assert create_sweep("micro", preset="tiny", changes=MICRO, storage=url)
    worker = _worker(url, "micro", tmp_path / "alone")
    _, err = worker.communicate(timeout=300)
    assert worker.returncode == 0, err
    here, there = ({task.key: (task.params, task.score) for task in _tasks(one)} for one in (finished, url))
    measure = [key for key in here if key.startswith("measure")]
    assert {key: here[key] for key in here if key not in measure} == {
        key: there[key] for key in there if key not in measure
    }
    hashes = {_json(one, "status", "micro")["answer_hash"] for one in (finished, url)}
    assert len(hashes) == 1
    assert None not in hashes


def test_the_trials_of_every_study_are_those_of_the_tasks(finished: str) -> None:
    tasks = _tasks(finished)
    storage = optuna.storages.RDBStorage(finished)
    for stage in STAGES:
        trials = optuna.load_study(study_name=study_name("micro", stage), storage=storage).trials
        complete = {trial.number: trial.value for trial in trials if trial.state.name == "COMPLETE"}
        assert complete == {t.trial_number: t.score for t in tasks if t.stage == stage and t.state == "done"}
        assert not [trial for trial in trials if trial.state.name == "RUNNING"]
    storage.remove_session()
    storage.engine.dispose()


def test_best_the_report_and_the_database_agree(finished: str) -> None:
    found = _json(finished, "best", "micro")
    assert found == best("micro", storage=finished)
    confirm = [task for task in _tasks(finished) if task.stage == "confirm"]
    own = [t.score or 0 for t in confirm if t.params == {key: found[key] for key in ("temperature", "alpha")}]
    assert found["n"] == len(own) == 2
    assert found["mean"] == pytest.approx(sum(own) / 2)
    data = _json(finished, "report", "micro")
    assert data["best"]["mean"] == found["mean"]
    tests = [
        (task.outcome or {})["test_accuracy"]
        for task in _tasks(finished)
        if task.key.startswith("transfer#target.native.")
    ]
    (row,) = [row for row in data["rows"] if row["method"] == "native"]
    assert row["test"]["mean"] == pytest.approx(sum(tests) / len(tests))
    tuned = f"T = {found['temperature']:.3g}, alpha = {found['alpha']:.3g}"
    assert f"- `best`, tuned on digits: {tuned}; validation " in report("micro", storage=finished)


def test_a_row_exists_for_every_kind_of_task_and_only_for_those(finished: str) -> None:
    rows = [(row["method"], row["dataset"]) for row in _json(finished, "report", "micro")["rows"]]
    arms = ["best", "scratch", "default-keras-io", "default-keras"]
    assert rows == [
        ("teacher cnn-small-narrow", "digits"),
        ("teacher cnn-small-narrow", "digits-rgb"),
        *[(arm, "digits") for arm in arms],
        *[(arm, "digits-rgb") for arm in [*arms, "native", "random"]],
        ("mobilenet", "digits-rgb"),
    ]


def test_rows_are_measured_and_cost_what_they_need(finished: str) -> None:
    *rows, _ = _json(finished, "report", "micro")["rows"]
    for row in rows:
        assert row["measured"]["latency_ms_p50"] > 0
        assert row["measured"]["bytes"] > 10_000
        assert 0 <= row["test"]["mean"] <= 1
    of = {(row["method"], row["dataset"]): row for row in rows}
    assert of["scratch", "digits"]["shared_s"] is None
    teacher = of["teacher cnn-small-narrow", "digits"]["train_s"]
    assert of["default-keras", "digits"]["shared_s"] == pytest.approx(teacher)
    assert of["best", "digits"]["shared_s"] > teacher
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
    """The score of a task that is run again here, and the one that is stored."""
    from sweeps.spec.model import override, parse
    from sweeps.trainers.protocol import Steps
    from sweeps.workers.runner import TaskRunner

    engine = open_engine(resolve(url))
    try:
        sweep = queries.find_sweep(engine, "micro")
        (task,) = [task for task in _tasks(url) if task.key == key]
        claim = replace(task, attempt=9, params=None)
        runner = TaskRunner(engine, sweep.id, override(parse(sweep.spec, origin="test"), changes))
        return runner(claim, task.params or {}, Steps()).score, task.score
    finally:
        engine.dispose()


@pytest.mark.parametrize("key", ["confirm#1.1", "native.search#3"])
def test_the_same_task_run_again_gives_the_same_score(finished: str, key: str) -> None:
    again, stored = _run(finished, key)
    assert again == stored


def test_logits_of_other_training_images_are_refused(finished: str) -> None:
    from sweeps.errors import SweepError

    with pytest.raises(SweepError, match="its logits would be misaligned"):
        _run(finished, "search#0", **{"source.images": 300})


def test_stock_optuna_dashboard_shows_every_study_and_the_baselines_with_their_method(finished: str) -> None:
    script = Path(sys.executable).parent / "optuna-dashboard"
    server = subprocess.Popen([str(script), finished, "--port", "18651", "-q"], stderr=subprocess.DEVNULL)
    try:
        studies = _get("http://127.0.0.1:18651/api/studies")["study_summaries"]
        names = {study["study_name"]: study["study_id"] for study in studies}
        assert set(names) == {study_name("micro", stage) for stage in STAGES}
        baselines = _get(f"http://127.0.0.1:18651/api/studies/{names['micro.baselines']}")
        (trial,) = baselines["trials"]
        assert [parameter["name"] for parameter in trial["params"]] == ["method"]
        assert trial["params"][0]["param_external_value"].strip("'\"") == "mobilenet"
    finally:
        server.kill()
        server.wait()


def _get(url: str) -> Any:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
