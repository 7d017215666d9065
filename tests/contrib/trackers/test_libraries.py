"""Exports read by the trackers' own libraries, which are extras: tests skip where one is not installed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweeps.contrib import trackers
from sweeps.contrib.trackers import Run
from tests.support.sweeps.compared_sweeps import BASE, add
from tests.support.sweeps.trials_in_memory import trials_in_memory
from tests.support.sweeps.typed_commands import KdSweeps

# Not this project's warnings: MLflow's mapping, for example, uses what SQLAlchemy 2.1 deprecates.
pytestmark = [pytest.mark.processes, pytest.mark.filterwarnings("ignore")]

FINGERPRINT = "f" * 64


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('libraries')}/s.db"
    with trials_in_memory():
        add(url, "base", transfer__seeds=2)
    return url


def run(key: str = "search#0", **metrics: float) -> Run:
    return Run(
        key=key,
        stage="search",
        started_at=1_700_000_000.25,
        finished_at=1_700_000_002.5,
        parameters={"temperature": 4.5, "alpha": 0.25, "loss": "kd"},
        metrics={"val_accuracy": 0.75} | metrics,
        epochs=(0.5, None, 0.75),
        tags={"task": key, "stage": "search", "sweep": "s", "fingerprint": FINGERPRINT, "seed": "7"},
    )


@pytest.fixture
def mlflow() -> Any:
    pytest.importorskip("mlflow")
    return trackers.load_mlflow()


@pytest.fixture
def wandb() -> Any:
    pytest.importorskip("wandb")
    return trackers.load_wandb()


def test_mlflow_finds_every_training_of_a_sweep(url: str, mlflow: Any, kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    code, out, err = kd_sweeps("export", "base", "--to", "mlflow", "-o", "runs", "--storage", url)
    assert code == 0, err
    uri = f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert err.splitlines()[-1] == f"to see them: mlflow ui --backend-store-uri {uri}"
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("base")
    runs = {
        logged.data.tags["task"]: logged for logged in client.search_runs([experiment.experiment_id], max_results=1000)
    }
    assert out == f"{len(runs)} runs written into runs, 0 already there\n"
    assert {"teachers#source", "search#1", "transfer#target.native.1"} <= set(runs)
    best = runs["transfer#target.best.1"]
    assert best.data.metrics["test_accuracy"] == pytest.approx(BASE[1] / 100)
    assert float(best.data.params["temperature"]) > 0
    assert best.data.tags.items() >= {"arm": "best", "role": "target", "stage": "transfer", "repeat": "1"}.items()
    assert best.info.status == "FINISHED"
    (chosen,) = client.search_runs([experiment.experiment_id], filter_string="tags.task = 'transfer#target.best.1'")
    assert chosen.info.run_id == best.info.run_id
    code, out, _ = kd_sweeps("export", "base", "--to", "mlflow", "-o", "runs", "--storage", url)
    assert (code, out) == (0, f"0 runs written into runs, {len(runs)} already there\n")


def test_mlflow_has_steps_times_and_later_trainings(mlflow: Any, tmp_path: Path) -> None:
    assert trackers.write_mlflow(mlflow, "s", FINGERPRINT, [run()], tmp_path).written == 1
    # Later, one run has its test accuracy, and another run is new.
    later = trackers.write_mlflow(mlflow, "s", FINGERPRINT, [run(test_accuracy=0.5), run("search#1")], tmp_path)
    assert (later.written, later.there) == (2, 0)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("s").experiment_id
    runs = {logged.data.tags["task"]: logged for logged in client.search_runs([experiment])}
    assert set(runs) == {"search#0", "search#1"}
    first = runs["search#0"]
    assert first.data.metrics == {"epoch_val_accuracy": 0.75, "val_accuracy": 0.75, "test_accuracy": 0.5}
    steps = client.get_metric_history(first.info.run_id, "epoch_val_accuracy")
    assert [(step.step, step.value) for step in steps] == [(1, 0.5), (3, 0.75)]
    assert (first.info.start_time, first.info.end_time) == (1_700_000_000_250, 1_700_000_002_500)
    with pytest.raises(Exception, match="has an experiment s of a different spec"):
        trackers.write_mlflow(mlflow, "s", "0" * 64, [run()], tmp_path)


def test_mlflow_takes_more_steps_than_one_call_may_have(mlflow: Any, tmp_path: Path) -> None:
    long = Run(**vars(run()) | {"epochs": tuple(step / 3000 for step in range(1, 2502))})
    trackers.write_mlflow(mlflow, "s", FINGERPRINT, [long], tmp_path)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    (logged,) = client.search_runs([client.get_experiment_by_name("s").experiment_id])
    assert len(client.get_metric_history(logged.info.run_id, "epoch_val_accuracy")) == 2501


def test_wandb_has_a_folder_for_each_training(wandb: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["kd-sweeps", "export", "--storage", "postgresql://me:g3heim@db/x"])
    first = trackers.write_wandb(wandb, "s", [run(), run("search#1")], tmp_path)
    assert (first.written, first.there) == (2, 0)
    folders = sorted((tmp_path / "wandb").iterdir())
    assert {folder.name.rpartition("-")[2] for folder in folders} == {
        trackers.run_id(run()),
        trackers.run_id(run("search#1")),
    }
    (file,) = (tmp_path / "wandb").glob(f"*-{trackers.run_id(run())}/run-*.wandb")
    data = file.read_bytes()
    # Its records are Protocol Buffers with values as JSON text, so names and numbers are in the bytes as text.
    for text in ("temperature", "4.5", "epoch_val_accuracy", "0.75", "search#0", "stage:search", "seed:7"):
        assert text.encode() in data, text
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"g3heim" not in everything, "the typed command must not be stored"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wandb"], "nothing half-written is left"
    second = trackers.write_wandb(wandb, "s", [run(), run("search#2")], tmp_path)
    assert (second.written, second.there) == (1, 1)


def test_wandb_lists_the_runs_as_unsynced(wandb: Any, tmp_path: Path) -> None:
    trackers.write_wandb(wandb, "s", [run(), run("search#1")], tmp_path)
    result = subprocess.run(
        [sys.executable, "-c", "import sys; from wandb.cli.cli import cli; cli(['sync', '--dry-run'])"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Would sync 2 run(s)" in result.stdout + result.stderr
