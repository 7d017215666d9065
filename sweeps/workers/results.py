"""Turn what a training gives into the outcome of a task: what is stored, and what the dashboard shows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kd.config import BaselineResult, TeacherResult, TrainResult
from kd.data.datasets import Dataset
from kd.teachers.logits_file import logit_spread
from kd.teachers.names import parse_teacher
from kd.tools.code import is_code
from storage.queue.tasks import Claim
from storage.records.queries import TaskRecord
from sweeps.errors import SweepError
from sweeps.plan.outcomes import DataOrigin, StoredOutcome, TeacherOutcome, TrainedOutcome
from sweeps.plan.payloads import BaselineTask, Payload, StudentTask, TeacherTask
from sweeps.spec.tables import DatasetSpec

_SHOWN = ("test_accuracy", "parameters", "train_s")  # columns of the dashboard; what was known before are others


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one attempt found.

    score: what the stage is ranked and watched by; a fraction, or milliseconds in measure.
    values: everything that is stored.
    attrs: the few of them that the dashboard shows as columns.
    """

    score: float
    values: StoredOutcome
    attrs: dict[str, Any]
    epoch_values: tuple[float | None, ...] = ()


def as_claimed(sweep_id: int, task: TaskRecord) -> Claim:
    """Return the claim of a finished task's last attempt, to do the same work once more."""
    return Claim(
        sweep_id=sweep_id,
        task_id=task.id,
        key=task.key,
        stage=task.stage,
        phase=task.phase,
        payload=task.payload,
        attempt=task.attempt,
        params=task.params,
        retry_of=None,
    )


def outcome_of(task: Payload, params: dict[str, Any], values: TrainedOutcome) -> Outcome:
    """Return the outcome of a training, ranked by its validation accuracy."""
    shown = values.model_dump(include=set(_SHOWN) & values.model_fields_set - set(params))
    attrs = {name: shown[name] for name in _SHOWN if name in shown}
    if isinstance(task, TeacherTask | BaselineTask):
        attrs["detail"] = values.detail
    return Outcome(score=values.val_accuracy, values=values, attrs=attrs, epoch_values=values.epoch_val_accuracy)


def builder_of(task: Payload, role: DatasetSpec) -> str:
    """Return the user's function that built the model that a task kept; "" if none did.

    Args:
        role: what the spec says of the dataset that it was trained on.
    """
    if isinstance(task, TeacherTask):
        return parse_teacher(role.teacher).builder
    return role.student if isinstance(task, StudentTask) and is_code(role.student) else ""


def training_of(result: TrainResult | BaselineResult) -> dict[str, Any]:
    """Return what the table needs of every training; models and weights are kept as blobs."""
    names = ("val_accuracy", "parameters", "train_images", "train_s", "cpu_s", "seed")
    curve = {"epoch_val_accuracy": result.epoch_val_accuracy} if isinstance(result, TrainResult) else {}
    return {name: getattr(result, name) for name in names} | curve


def source_of(dataset: Dataset) -> dict[str, Any]:
    """Return the name of a dataset and where it came from."""
    data = DataOrigin(origin=dataset.origin, content_hash=dataset.content_hash, split_hash=dataset.split_hash)
    return {"dataset": dataset.name, "data": data}


def teacher_of(
    role: DatasetSpec,
    dataset: Dataset,
    taught: TeacherResult,
    *,
    kept: Callable[[bytes], str],
    numerics: str = "",
) -> TeacherOutcome:
    """Return the outcome of a teacher.

    Args:
        kept: stores bytes and returns their digest.
        numerics: of the process that trained it; empty for a file of logits.

    Raises:
        SweepError: the file here holds other logits than the one that the sweep was created with.
    """
    blobs = {"logits": kept(np.ascontiguousarray(taught.logits).tobytes())}
    if role.logits_hash and blobs["logits"] != role.logits_hash:
        raise SweepError(
            f"{role.teacher} here gives logits {blobs['logits'][:12]}, the sweep was created with"
            f" {role.logits_hash[:12]}; copy the file that it was created from"
        )
    if taught.model:
        blobs["model"] = kept(taught.model)
    return TeacherOutcome(
        **training_of(taught.result),
        **source_of(dataset),
        model=role.teacher,
        logit_spread=logit_spread(taught.logits),
        detail=role.teacher,
        weights=dict(taught.provenance),
        numerics=numerics,
        blobs=blobs,
    )
