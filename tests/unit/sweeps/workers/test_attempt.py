"""An attempt: its outcome, the class of its failure, its retries, and the steps that show it is alive."""

import dataclasses
import errno
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kd.config import BaselineResult, TrainResult
from kd.data.datasets import Dataset, Split
from kd.errors import Diverged, ModuleNotHere, SubprocessKilled, Unavailable, WeightsNotHere
from storage.errors import StorageFull, Unreachable
from storage.queue import workers
from storage.records import queries
from sweeps.distill.session import trained
from sweeps.errors import Interrupted, StepTimeout, SweepError
from sweeps.plan.jobs import AnyJob, BaselineTask, ConfirmTask, Job, MeasureTask, Payload, TeacherTask, TransferTask
from sweeps.spec.model import Spec, override
from sweeps.trainers.protocol import Steps, Trained
from sweeps.workers.attempt import cap_of, class_of
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.runner import Outcome, TaskRunner
from sweeps.workers.worker import Worker
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL, created, tasks_of
from tests.support.sweeps.task_records import task_record

OnStep = Callable[[], None]


@pytest.fixture
def url(tmp_path: Path, in_memory: None) -> str:
    return f"sqlite:///{tmp_path}/s.db"


def _spec(**caps: int) -> Spec:
    return override(SMALL, {f"retry.{name}": cap for name, cap in caps.items()})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "memory"),
        (SubprocessKilled("killed"), "memory"),
        (type("ResourceExhaustedError", (Exception,), {})("OOM when allocating"), "memory"),
        (Unreachable("gone"), "database"),
        (StorageFull("disk is full"), "machine"),
        (Diverged("loss is nan"), "nan"),
        (Unavailable("no weights"), "unavailable"),
        (KeyError("a mistake"), "error"),
        (ModuleNotHere("no module"), "machine"),
        (WeightsNotHere("no weights"), "machine"),
        (ModuleNotFoundError("No module named 'astunparse'"), "machine"),
        (OSError(errno.ENOSPC, "No space left on device"), "machine"),
        (OSError(errno.ENOENT, "No such file"), "error"),
        (StepTimeout("no step for 10 min"), "timeout"),
    ],
)
def test_each_exception_has_its_failure_class(error: Exception, kind: str) -> None:
    assert class_of(error) == kind


def test_a_baseline_without_weights_is_unavailable_but_a_teacher_is_not() -> None:
    error = WeightsNotHere("no weights")
    assert class_of(error, "baselines") == "unavailable"
    assert class_of(error, "teachers") == "machine"


def test_each_class_has_its_cap_and_0_means_no_limit() -> None:
    spec = _spec(lost_worker=7, memory=6, database=5, nan=4, error=0)
    caps = {kind: cap_of(kind, spec) for kind in ("lost worker", "memory", "database", "nan", "error", "unavailable")}
    assert caps == {"lost worker": 7, "memory": 6, "database": 5, "nan": 4, "error": None, "unavailable": 1}


def test_a_task_fails_when_one_class_reaches_its_cap(url: str) -> None:
    messages: list[str] = []
    errors = [KeyError("1"), Diverged("2"), KeyError("3"), Diverged("4"), KeyError("5")]

    def run(claim: AnyJob, params: dict[str, Any], on_step: OnStep) -> Outcome:
        if claim.key != "baselines#mobilenet":
            return quadratic(claim, params, on_step)
        messages.append(str(errors[len(messages)]))
        raise errors[len(messages) - 1]

    with Worker(DatabaseBackend.open(created(url, _spec(error=3, nan=4)), "s"), run=run) as worker:
        assert worker.work() == 0
        (task,) = [task for task in tasks_of(worker.backend.engine) if task.key == "baselines#mobilenet"]
    assert len(messages) == 5, "three errors reach their cap, two NaNs do not reach theirs"
    assert (task.state, task.error_class, task.reason) == ("failed", "error", "KeyError: '5'")


def test_three_faults_of_the_database_in_a_row_stop_the_worker_and_the_task_waits_for_another(url: str) -> None:
    def run(claim: AnyJob, params: dict[str, Any], on_step: OnStep) -> Outcome:
        raise Unreachable("it went away")

    at = created(url, _spec(database=0))
    with Worker(DatabaseBackend.open(at, "s"), run=run) as worker:
        with pytest.raises(SweepError, match=r"3 attempts in a row .* it went away; nothing is lost") as stopped:
            worker.work()
        assert "kd-sweeps launch s" in str(stopped.value)
        assert {task.state for task in tasks_of(worker.backend.engine)} == {"waiting"}
    with Worker(DatabaseBackend.open(at, "s"), run=quadratic) as worker:
        assert worker.work() == 0


def test_faults_of_the_database_with_successes_in_between_do_not_stop_the_worker(url: str) -> None:
    def run(claim: AnyJob, params: dict[str, Any], on_step: OnStep) -> Outcome:
        if claim.row.attempt == 1:
            raise Unreachable("it went away")
        return quadratic(claim, params, on_step)

    with Worker(DatabaseBackend.open(created(url, _spec(database=0)), "s"), run=run) as worker:
        assert worker.work() == 0
        assert {(task.state, task.attempt) for task in tasks_of(worker.backend.engine)} == {("done", 2)}


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (ModuleNotHere("cannot import model 'mine:build' here"), ("waiting", "machine", 0)),
        (MemoryError("17 GB wanted"), ("waiting", "memory", 1)),
    ],
)
def test_a_fault_of_the_machine_stops_its_worker_and_fails_no_task(
    url: str, error: Exception, left: tuple[str, str, int]
) -> None:
    def run(claim: AnyJob, params: dict[str, Any], on_step: OnStep) -> Outcome:
        raise error

    at = created(url)
    with Worker(DatabaseBackend.open(at, "s"), run=run, worker="poor") as worker:
        with pytest.raises(SweepError, match=r"this worker stops: .*; nothing is lost"):
            worker.work()
        task = tasks_of(worker.backend.engine)[0]
        attempts = queries.attempts_of(worker.backend.engine, worker.backend.sweep.id, task.key) or []
        counted = sum(attempt.state == "failed" for attempt in attempts)
        assert type(error).__name__ in (attempts[0].trace or "")
        assert (task.state, task.error_class, counted) == left
        (record,) = workers.records(worker.backend.engine, worker.backend.sweep.id)
        assert (record.name, record.task) == ("poor", None)
        assert "this worker stops" in (record.reason or "")
    with Worker(DatabaseBackend.open(at, "s"), run=quadratic) as worker:
        assert worker.work() == 0
        assert {task.state for task in tasks_of(worker.backend.engine)} == {"done"}


def test_a_memory_fault_on_two_workers_fails_the_task(url: str) -> None:
    def run(claim: AnyJob, params: dict[str, Any], on_step: OnStep) -> Outcome:
        raise MemoryError

    at = created(url, _spec(memory=2))
    for _ in range(2):
        with Worker(DatabaseBackend.open(at, "s"), run=run) as worker, pytest.raises(SweepError):
            worker.work()
    with Worker(DatabaseBackend.open(at, "s"), run=quadratic) as worker:
        task = tasks_of(worker.backend.engine)[0]
    assert (task.state, task.error_class) == ("failed", "memory")


def test_a_score_that_is_not_finite_fails_its_task_and_never_reaches_optuna(url: str) -> None:
    def run(claim: AnyJob, params: dict[str, Any], on_step: OnStep) -> Outcome:
        outcome = quadratic(claim, params, on_step)
        return dataclasses.replace(outcome, score=float("nan")) if claim.key == "search#1" else outcome

    with Worker(DatabaseBackend.open(created(url), "s"), run=run) as worker:
        assert worker.work() == 0
        (task,) = [task for task in tasks_of(worker.backend.engine) if task.key == "search#1"]
    assert (task.state, task.error_class, task.reason) == ("failed", "nan", "the score of search#1 is nan")


RESULT = TrainResult(val_accuracy=0.9, epoch_val_accuracy=(0.7, 0.9), parameters=10, train_s=2.0, cpu_s=1.5)
FITTED = BaselineResult(
    val_accuracy=0.8,
    parameters=20,
    train_s=4.0,
    cpu_s=3.0,
    model=b"",
    detail="frozen features",
    capped=False,
)


NOTHING = Split(images=np.zeros((0, 8, 8, 1), np.uint8), labels=np.zeros(0, np.int64))
DIGITS = Dataset("digits", NOTHING, NOTHING, classes=10, content_hash="c", split_hash="s", origin="made here")


def outcome_of(work: Payload, params: dict[str, Any], result: Trained, *, test: float | None = None) -> Outcome:
    """Return the outcome of a task whose trainer gives that result and that test score."""
    runner = TaskRunner(SimpleNamespace(spec=SMALL, url=None, done=lambda **_: []))
    runner.trainer = SimpleNamespace(check=lambda: None, train=lambda *_: result, test=lambda *_: test)
    stages = {TeacherTask: "teachers", BaselineTask: "baselines", MeasureTask: "measure", TransferTask: "transfer"}
    return runner(Job(task_record("it", stage=stages.get(type(work), "search")), work, None), params, Steps())


def test_only_measured_values_become_columns_of_the_result() -> None:
    task = TransferTask(role="source", seed=3, arm="best", repeat=2)
    params = {"temperature": 4.0, "alpha": 0.5, "arm": "best", "dataset": "digits"}
    outcome = outcome_of(task, params, trained(RESULT, DIGITS, detail="keras-student"), test=0.85)
    assert outcome.attrs == {"test_accuracy": 0.85, "parameters": 10, "train_s": 2.0}
    assert (outcome.score, outcome.epoch_values) == (0.9, (0.7, 0.9))


def test_values_not_given_are_neither_shown_nor_stored() -> None:
    task = ConfirmTask(role="source", seed=3, ranks="search.ranks", rank=1, repeat=0)
    outcome = outcome_of(task, {"temperature": 4.0, "alpha": 0.5}, trained(RESULT, DIGITS), test=0.85)
    assert outcome.attrs == {"parameters": 10, "train_s": 2.0}
    stored = outcome.values.as_json()
    assert "test_accuracy" not in stored
    assert stored["epoch_val_accuracy"] == [0.7, 0.9]


def test_a_baseline_has_no_epochs() -> None:
    task = BaselineTask(role="target", seed=5, method="mobilenet")
    outcome = outcome_of(task, {"method": "mobilenet"}, trained(FITTED, DIGITS, detail=FITTED.detail))
    assert outcome.epoch_values == ()
    assert "epoch_val_accuracy" not in outcome.values.as_json()
    assert outcome.attrs["detail"] == "frozen features"


def test_the_outcome_of_a_measurement_has_the_models_alone() -> None:
    models = {"teachers#source": {"name": "teachers#source", "latency_ms_p50": 2.0}}
    measured = outcome_of(MeasureTask(), {}, Trained(score=2.0, facts={"models": models}))
    assert (measured.values.as_json(), measured.attrs) == ({"models": models}, {"models": 1})


def test_a_teacher_from_a_file_has_no_fingerprint_of_numerics() -> None:
    outcome = outcome_of(TeacherTask(role="source", seed=5), {}, trained(RESULT, DIGITS, detail="logits:a.npz"))
    assert outcome.values.as_json()["numerics"] == ""


def test_only_watched_code_can_be_idle() -> None:
    steps = Steps()
    time.sleep(0.02)
    assert steps.idle_s == 0
    with steps.watched():
        time.sleep(0.05)
        assert steps.idle_s >= 0.05
        steps()
        assert steps.idle_s < 0.05
    time.sleep(0.02)
    assert steps.idle_s == 0, "waiting for the database does not count as idle"
    steps()
    assert steps.idle_s == 0


def test_steps_and_reports_of_a_child_raise_the_interruption() -> None:
    reports: list[tuple[object, ...]] = []

    def check() -> None:
        raise Interrupted("asked to stop")

    steps = Steps(check, lambda *values: reports.append(values))
    with pytest.raises(Interrupted):
        steps()
    with pytest.raises(Interrupted):
        steps(0.5, "epoch 3")
    assert reports == []


def test_a_report_counts_as_a_step_and_is_passed_on() -> None:
    reports: list[tuple[object, ...]] = []
    steps = Steps(on_report=lambda *values: reports.append(values))
    with steps.watched():
        time.sleep(0.03)
        steps(0.5, "epoch 3")
        assert steps.idle_s < 0.03
    assert reports == [(0.5, "epoch 3")]
