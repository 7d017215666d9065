"""A worker with real training: damaged results are remade, and its memory does not grow."""

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy

from kd.data.datasets import load
from storage.db.engine import open_engine
from storage.errors import BlobCorrupt
from storage.queue import tasks
from storage.queue.tasks import given_back
from storage.records import artifacts, queries
from storage.tables import TaskRecord
from sweeps.distill.arms import CONTROLS
from sweeps.distill.space import LABELS_ONLY
from sweeps.plan.jobs import read_job
from sweeps.plan.points import resolve_point
from sweeps.spec.model import Spec, override
from sweeps.trainers.protocol import Run, Steps
from sweeps.usecases import steering
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.runner import Outcome, TaskRunner
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.in_process import jobs_in_process
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL, created, tasks_of, wait_until

MICRO = override(
    SMALL,
    {f"{role}.{key}": value for role in ("source", "target") for key, value in
     {"images": 64, "teacher_epochs": 1, "epochs": 1}.items()},
)  # fmt: skip


@pytest.fixture
def in_process() -> Iterator[None]:
    """Train teachers in this process."""
    with jobs_in_process():
        yield


def _run_next(engine: sqlalchemy.Engine, spec: Spec, key: str, runner: Any) -> Outcome:
    """Claim tasks up to this one; run and finish it, return its outcome, and release the other tasks."""
    sweep = queries.find_sweep(engine, "s").id
    others: list[TaskRecord] = []
    while True:
        claim = tasks.claim(engine, sweep, worker="w", host="h", pid=1, lease_s=600)
        assert claim is not None
        if claim.key == key:
            break
        others.append(claim)
    job = read_job(claim)
    outcome: Outcome = runner(job, resolve_point(engine, spec, job), Steps())
    assert tasks.finish(engine, claim, outcome=outcome.values.as_json(), score=outcome.score)
    for other in others:
        tasks.end(engine, other, given_back())
    return outcome


def _again(engine: sqlalchemy.Engine, key: str, runner: TaskRunner, **more: Any) -> Outcome:
    """Run a finished task once more, at its point."""
    task = _task(engine, key)
    point = {name: task.outcome[name] for name in ("temperature", "alpha")}
    return runner(read_job(task), point | more, Steps())


def _task(engine: sqlalchemy.Engine, key: str) -> Any:
    (task,) = [task for task in tasks_of(engine) if task.key == key]
    return task


@pytest.mark.parametrize("views", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_controls_train_with_other_logits_and_the_teacher_is_restored_and_remade_if_damaged(
    tmp_path: Path, in_process: None, views: int
) -> None:
    arms = ["best", *CONTROLS, "scratch"]
    changes = {
        "source.images": 256,
        "source.teacher_epochs": 4,
        "source.epochs": 2,
        "search.trials": 3,
        "search.alpha": [0.0, 0.1],
        "transfer.source_arms": arms,
    }
    if views > 1:  # a dataset that is not known to be digits
        digits, path = load("digits"), tmp_path / "mine.npz"
        parts = {"train": digits.train, "test": digits.validation}
        arrays = {f"x_{name}": part.images for name, part in parts.items()}
        np.savez(path, **arrays, **{f"y_{name}": part.labels for name, part in parts.items()})
        changes |= {"source.dataset": str(path), "source.augment": "flip-crop", "source.views": views}
    spec = override(MICRO, changes | {"training.learning_rate": 0.02})
    engine = open_engine(created(f"sqlite:///{tmp_path}/s.db", spec))
    sweep = queries.find_sweep(engine, "s")
    runner = TaskRunner(DatabaseBackend(engine, sweep))
    searched = [f"{name}#{number}" for name in ("search", "native.search") for number in range(3)]
    for key in ("teachers#source", "teachers#target", *searched, "confirm#0.0", "native.confirm#0.0"):
        of_target = key.startswith("native") or key.endswith("target")
        _run_next(engine, spec, key, quadratic if of_target else runner)  # a source arm needs no target
    outcomes = {arm: _run_next(engine, spec, f"transfer#source.{arm}.0", runner).values.as_json() for arm in arms}
    points = {arm: (values["temperature"], values["alpha"]) for arm, values in outcomes.items()}
    assert points["class-mean"] == points["shuffled-within-class"] == points["best"]
    assert points["label-smoothing"] == (1.0, 0.9)
    assert points["scratch-same-cost"] == points["scratch"] == (1.0, 1.0)
    epochs = queries.selections(engine, sweep.id)["same-cost.source"]["epochs"]
    assert outcomes["scratch-same-cost"]["epochs"] == epochs > 2, "the cost of the teacher counts"
    assert {arm: len(values["epoch_val_accuracy"]) for arm, values in outcomes.items()} == {
        arm: epochs if arm == "scratch-same-cost" else 2 for arm in arms
    }
    # all have the same seed, so only what they learned from differs
    measured = ("val_accuracy", "epoch_val_accuracy", "test_accuracy")
    assert len({str([values[name] for name in measured]) for values in outcomes.values()}) == len(arms)
    digest = _task(engine, "teachers#source").outcome["blobs"]["logits"]
    logits = artifacts.get(engine, digest)
    assert len(logits) == views * 256 * 10 * 4
    for arm in arms:
        repeated = _again(engine, f"transfer#source.{arm}.0", runner).values.as_json()
        assert [repeated[name] for name in measured] == [outcomes[arm][name] for name in measured], arm

    execute(engine.url, f"UPDATE blobs SET bytes = substr(bytes, 1, length(bytes) / 2) WHERE digest = '{digest}'")
    with pytest.raises(BlobCorrupt):
        artifacts.get(engine, digest)
    _again(engine, "transfer#source.best.0", TaskRunner(DatabaseBackend(engine, sweep)))
    assert artifacts.get(engine, digest) == logits
    engine.dispose()


def test_a_recipe_needs_no_teacher_and_the_specs_recipe_gives_the_bits_of_scratch(
    tmp_path: Path, in_process: None
) -> None:
    changes = {"target.images": 256, "target.epochs": 2, "transfer.target_arms": ["best", "scratch", "scratch-own"]}
    spec = override(MICRO, changes | {"training.learning_rate": 0.02})
    engine = open_engine(created(f"sqlite:///{tmp_path}/s.db", spec))
    runner = TaskRunner(DatabaseBackend(engine, queries.find_sweep(engine, "s")))
    own, other = (_run_next(engine, spec, f"recipes#target.{rank}.0", runner) for rank in (0, 1))
    _run_next(engine, spec, "teachers#target", runner)
    seed = _task(engine, "recipes#target.0.0").payload["seed"]
    scratch = Run(kind="train", key="", role="target", seed=seed, point=LABELS_ONLY, arm="scratch")
    trained = runner.trainer.train(scratch, Steps())
    assert (own.score, own.epoch_values) == (trained.score, tuple(trained.curve))
    assert other.values.as_json()["more"] == {"learning_rate": 0.02, "schedule": "cosine"}
    assert other.epoch_values != own.epoch_values
    repeated = _again(engine, "recipes#target.0.0", runner, **own.values.as_json()["more"])
    assert repeated.epoch_values == own.epoch_values, "an earlier teacher must not matter"
    engine.dispose()


@pytest.mark.slow
@pytest.mark.skipif(platform.system() != "Linux", reason="reads the memory of a process from /proc")
def test_the_memory_of_a_worker_grows_less_than_a_tenth_of_a_megabyte_per_trial(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db", override(MICRO, {"search.trials": 1000, "lease.grace_s": 60}))
    engine = open_engine(url)
    sweep = queries.find_sweep(engine, "s")
    environment = os.environ | {"KD_SWEEPS_STORAGE": str(url), "XDG_STATE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "sweeps.cli", "worker", "s"]
    worker = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def done() -> int:
        counts = {phase.name: phase.counts for phase in queries.phase_records(engine, sweep.id)}
        return counts["search"].get("done", 0)

    megabytes = []
    for trials in (50, 1000):
        wait_until(lambda trials=trials: done() >= trials or worker.poll() is not None, f"{done()} trials", 900)
        assert worker.poll() is None
        status = Path(f"/proc/{worker.pid}/status").read_text()
        megabytes.append(int(status.split("VmRSS:")[1].split()[0]) / 1024)
    steering.cancel(url, "s")
    worker.send_signal(signal.SIGTERM)
    worker.wait(30)
    engine.dispose()
    growth = (megabytes[1] - megabytes[0]) / 950
    print(f"RSS {megabytes[0]:.0f} MB after 50 trials, {megabytes[1]:.0f} MB after 1,000: {growth:.4f} MB per trial")
    assert growth < 0.1
