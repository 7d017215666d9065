"""Runs for trackers: their content, and refusals that need no library."""

import sys
from pathlib import Path

import pytest

from sweeps.contrib.trackers import Run, runs
from sweeps.findings.load import read
from sweeps.query.listing import open_sweep
from tests.support.sweeps.compared_sweeps import BASE, add
from tests.support.sweeps.trials_in_memory import trials_in_memory
from tests.support.sweeps.typed_commands import KdSweeps


def of(url: str, name: str) -> dict[str, Run]:
    with open_sweep(url, name) as (engine, sweep):
        return {run.key: run for run in runs(read(engine, sweep))}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of the sweeps "base", finished, "half", its target untested, and "fresh", without a result."""
    url = f"sqlite:///{tmp_path_factory.mktemp('runs')}/s.db"
    with trials_in_memory():
        add(url, "base")
        add(url, "half", stop_at="transfer#target.best.3")
        add(url, "fresh", stop_at="t")
    return url


def test_every_finished_training_is_a_run_with_searchable_tags(url: str) -> None:
    exported = of(url, "base")
    assert len(exported) == 37, "38 tasks, one of which measures"
    run = exported["transfer#target.best.2"]
    assert run.metrics["test_accuracy"] == run.metrics["val_accuracy"] == pytest.approx(BASE[2] / 100)
    assert {"temperature", "alpha"} <= set(run.parameters)
    tags = {"task": run.key, "stage": "transfer", "role": "target", "arm": "best", "repeat": "2", "sweep": "base"}
    assert run.tags.items() >= tags.items()
    assert {"seed", "worker", "answer_hash", "fingerprint"} <= set(run.tags)
    assert run.started_at <= run.finished_at


def test_test_accuracies_of_an_unfinished_look_are_left_out(url: str) -> None:
    exported = of(url, "half")
    assert "test_accuracy" not in exported["transfer#target.best.0"].metrics
    assert "test_accuracy" in exported["transfer#source.best.0"].metrics
    assert "answer_hash" not in exported["transfer#target.best.0"].tags


WRONG = {
    "tracker": (("--to", "tensorboard", "-o", "x"), 2, "--to: got 'tensorboard'; allowed: mlflow, wandb"),
    "force": (("--to", "wandb", "-o", "x", "--force"), 2, "--to wandb writes every training, and replaces none;"),
    "logits": (("--to", "mlflow", "-o", "x", "--logits", "source"), 2, "--to mlflow writes every training, and"),
    "dataset": (("--to", "mlflow", "-o", "x", "--dataset", "digits"), 2, "--to mlflow writes every training, and"),
}


@pytest.mark.parametrize("case", WRONG)
def test_impossible_requests_are_reported_in_one_line(url: str, case: str, kd_sweeps: KdSweeps) -> None:
    words, expected, line = WRONG[case]
    code, out, err = kd_sweeps("export", "base", *words, "--storage", url)
    assert (code, out, len(err.splitlines())) == (expected, "", 1)
    assert err.startswith(f"kd-sweeps: {line}")
    assert not Path("x").exists()


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_without_its_library_a_tracker_says_what_to_type_and_makes_nothing(
    url: str, tracker: str, kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, tracker, None)
    code, out, err = kd_sweeps("export", "base", "--to", tracker, "-o", "x", "--storage", url)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == f"kd-sweeps: --to {tracker} needs more packages: pip install 'kd-sweeps[{tracker}]'"
    assert not Path("x").exists()


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_a_sweep_without_a_result_has_no_runs(url: str, tracker: str, kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("export", "fresh", "--to", tracker, "-o", "x", "--storage", url)
    assert (code, out) == (3, "")
    assert err.splitlines()[-1].startswith("kd-sweeps: no training of fresh has finished yet; continue with: ")
    assert not Path("x").exists()
