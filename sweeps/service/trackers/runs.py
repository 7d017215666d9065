"""A finished training as a run of a tracker: parameters, metrics and tags, whichever the tracker."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from sweeps.analysis.stored import Done, StoredSweep
from sweeps.analysis.trainings import awaited
from sweeps.errors import NoResultsYet, SpecError
from sweeps.hints import here
from sweeps.plan.answer_hash import answer_hash
from sweeps.plan.names import repeat_of
from sweeps.plan.outcomes import BaselineOutcome, MeasureOutcome, StudentOutcome, TeacherOutcome

Value: TypeAlias = str | int | float
TRACKERS = ("mlflow", "wandb")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished training.

    key, stage: of its task. started_at, finished_at: seconds since 1970, of its last attempt. parameters: what it was
    trained with, T and alpha first. metrics: accuracies as fractions in [0, 1], seconds, the number of weights.
    epochs: validation accuracy after each epoch, None where it was not looked at. tags: what it is found by.
    """

    key: str
    stage: str
    started_at: float
    finished_at: float
    parameters: Mapping[str, Value]
    metrics: Mapping[str, float]
    epochs: tuple[float | None, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Exported:
    """How many runs were written, how many were there already, and what to type to see them."""

    written: int
    there: int
    see: str


def check_tracker(name: str) -> None:
    """Raise SpecError for a tracker that we do not know."""
    if name not in TRACKERS:
        raise SpecError(f"--to: got {name!r}; allowed: {', '.join(TRACKERS)}")


def runs(stored: StoredSweep) -> tuple[Run, ...]:
    """Return the finished trainings in the order of the plan.

    The test accuracies of a dataset are left out until its look at the test is complete, as everywhere.

    Raises:
        NoResultsYet: none has finished.
    """
    hidden: set[str] = {role for role in stored.spec.roles if awaited(stored.trainings, role)}
    # Of the whole sweep: None before every task has ended.
    shared = {"sweep": stored.sweep.name, "fingerprint": stored.sweep.fingerprint}
    shared |= {"answer_hash": found} if (found := answer_hash(stored.tasks)) else {}
    found_runs = tuple(run for done in stored.done if (run := _run(done, shared, hidden)) is not None)
    if not found_runs:
        name = stored.sweep.name
        raise NoResultsYet(f"no training of {name} has finished yet; go on with: {here().launch(name)}")
    return found_runs


def _run(done: Done, shared: Mapping[str, str], hidden: set[str]) -> Run | None:
    outcome, record = done.outcome, done.record
    if isinstance(outcome, MeasureOutcome):
        return None
    parameters: dict[str, Value] = {}
    metrics = {"val_accuracy": outcome.val_accuracy, "train_s": outcome.train_s, "cpu_s": outcome.cpu_s}
    metrics |= {"parameters": float(outcome.parameters)}
    if isinstance(outcome, StudentOutcome):
        parameters |= {**outcome.point.as_dict(), "loss": outcome.loss}
        if outcome.test_accuracy is not None and done.payload.role not in hidden:
            metrics["test_accuracy"] = outcome.test_accuracy
    elif isinstance(outcome, TeacherOutcome):
        parameters["model"] = outcome.model
    elif isinstance(outcome, BaselineOutcome):
        parameters["method"] = outcome.method
    parameters |= {"dataset": outcome.dataset, "train_images": outcome.train_images}
    return Run(
        key=record.key,
        stage=record.stage,
        started_at=record.started_at or 0.0,
        finished_at=record.finished_at or 0.0,
        parameters={name: value for name, value in parameters.items() if value != ""},
        metrics=metrics,
        epochs=outcome.epoch_val_accuracy,
        tags=_tags(done, shared),
    )


def _tags(done: Done, shared: Mapping[str, str]) -> dict[str, str]:
    outcome, record = done.outcome, done.record
    commit, repeat = outcome.provenance.get("git_commit"), repeat_of(record.key)
    arm = getattr(done.payload, "arm", None) or getattr(done.payload, "method", None)
    tags = {
        "task": record.key,
        "stage": record.stage,
        "role": done.payload.role,
        "arm": arm,
        "group": done.payload.group,
        "repeat": repeat,
        "seed": done.payload.seed,
        "worker": outcome.worker or record.worker,
        "commit": commit,
        "numerics": getattr(outcome, "numerics", ""),
        **shared,
    }
    return {name: str(value) for name, value in tags.items() if value not in (None, "")}
