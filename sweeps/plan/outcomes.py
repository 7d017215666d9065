"""The outcome of a finished task: what is stored of a result, and a type in which the result exists.

The same models are written by workers and read by everybody else. The database holds an outcome as flat JSON without a
tag: the payload of its task tells which kind it is. A worker adds who made it (`sweeps.workers.worker.as_stored`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from storage.records.queries import TaskRecord
from sweeps.plan.payloads import BaselineTask, MeasureTask, Payload, TeacherTask, edited, first_problem, payload_of
from sweeps.spec.point import Point

_LONGEST = 1e9  # of seconds and milliseconds: 30 years and 12 days

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
Amount = Annotated[float, Field(ge=0, le=_LONGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Stored(BaseModel):
    """What every outcome has. A field that was not given is not stored.

    wall_s: of the whole attempt. worker: who made it. provenance: versions and hardware, see
    `sweeps.workers.environment.provenance`. blobs: digests of what was kept, by name ("model", "logits").
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    wall_s: Amount = 0.0
    worker: str = ""
    provenance: Mapping[str, Any] = {}
    blobs: Mapping[str, str] = {}

    def as_json(self) -> dict[str, Any]:
        """Return the plain values that the database stores."""
        return self.model_dump(mode="json", exclude_unset=True)


class DataOrigin(BaseModel):
    """Where a dataset came from, and the sha256 of its content and of its split."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    origin: str
    content_hash: str
    split_hash: str


class _Trained(_Stored):
    """What every training gives.

    val_accuracy: after the last epoch, a fraction in [0, 1]; epoch_val_accuracy: after each, None where it was not
    looked at. parameters: of the model.
    train_images: seen per epoch. train_s, cpu_s: wall-clock and CPU seconds of the training. detail: what was trained,
    in a few words. weights: what a ready-made network came from. numerics: fingerprint of the process that trained it,
    see `kd.training.numerics`; empty for a comparison method.
    """

    val_accuracy: Fraction
    epoch_val_accuracy: tuple[Fraction | None, ...] = ()
    parameters: Count
    train_images: Count = 0
    train_s: Amount
    cpu_s: Amount
    seed: int | None = None
    dataset: str = ""
    data: DataOrigin | None = None
    detail: str = ""
    weights: Mapping[str, str] = {}
    numerics: str = ""


class TeacherOutcome(_Trained):
    """A teacher. model: its name in the spec. logit_spread: see `kd.teachers.logits_file`; None of older versions."""

    model: str = ""
    logit_spread: float | None = None


class StudentOutcome(_Trained):
    """A student: of a search, a confirm or transfer.

    test_accuracy: a fraction in [0, 1], of transfer alone; None elsewhere. epochs: where the spec's number of epochs
    does not hold; None elsewhere. arm: of transfer. loss: the formula that was minimized. more: what was searched
    beyond T and alpha.
    """

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    alpha: Fraction
    more: Mapping[str, int | Annotated[float, Field(allow_inf_nan=False)]] = {}
    test_accuracy: Fraction | None = None
    epochs: Count | None = None
    arm: str = ""
    loss: str = ""

    @property
    def point(self) -> Point:
        """The point that it was trained at."""
        return Point(self.temperature, self.alpha, tuple(sorted(self.more.items())))


class BaselineOutcome(_Trained):
    """A comparison method's model.

    capped: the time limit ended it. curve: (CPU seconds since it began, best validation accuracy so far) after each
    trial of a method that has trials.
    """

    method: str = ""
    capped: bool = False
    curve: tuple[tuple[Amount, Fraction], ...] = ()


class Measured(BaseModel):
    """One model as stage measure found it, by the names of `kd.models.measure.Measurement`; None: not known."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = ""
    parameters: Count | None = None
    macs: Count | None = None
    bytes: Count | None = None
    latency_ms_p50: Amount
    latency_ms_p95: Amount | None = None
    images_per_s: Amount | None = None
    test_accuracy: Fraction | None = None
    int8_bytes: Count | None = None
    int8_test_accuracy: Fraction | None = None
    int8_test_images: Count | None = None
    int8_reason: str | None = None


class MeasureOutcome(_Stored):
    """Every kept model measured, by the key of the task that made it."""

    models: Mapping[str, Measured] = {}


TrainedOutcome: TypeAlias = TeacherOutcome | StudentOutcome | BaselineOutcome
StoredOutcome: TypeAlias = TrainedOutcome | MeasureOutcome

TaskT = TypeVar("TaskT", bound=Payload, covariant=True)
ResultT = TypeVar("ResultT", bound=StoredOutcome, covariant=True)


@dataclass(frozen=True)
class DoneTask(Generic[TaskT, ResultT]):
    """A finished task. score: what its stage is ranked by: a fraction, or milliseconds in stage measure."""

    record: TaskRecord
    payload: TaskT
    outcome: ResultT
    score: float


def done_task(record: TaskRecord, payload: Payload | None = None) -> DoneTask[Payload, StoredOutcome]:
    """Return a finished task with its result; the record must have its whole outcome.

    Args:
        payload: of the record, where it was read already.

    Raises:
        RecordBroken: its payload or its outcome is not what such a task has.
        ValueError: the task is not done.
    """
    if record.state != "done":
        raise ValueError(f"{record.key} is {record.state}, not done")
    payload = payload_of(record) if payload is None else payload
    outcome = read_outcome(payload, record.outcome, key=record.key)
    return DoneTask(record, payload, outcome, checked_score(payload, record.score, key=record.key))


def done_tasks(
    records: Iterable[TaskRecord], task: type[TaskT], outcome: type[ResultT]
) -> list[DoneTask[TaskT, ResultT]]:
    """Return the finished tasks of one kind, in the order of `records`; errors as `done_task`.

    Args:
        task: the kind of payload, such as TransferTask.
        outcome: the kind of outcome that such tasks have, such as StudentOutcome.
    """
    found: list[DoneTask[TaskT, ResultT]] = []
    for record in records:
        if record.state == "done" and isinstance(payload := payload_of(record), task):
            done = done_task(record, payload)
            if isinstance(done.outcome, outcome):
                found.append(DoneTask(record, payload, done.outcome, done.score))
    return found


def read_outcome(payload: Payload, values: Mapping[str, Any] | None, *, key: str = "") -> StoredOutcome:
    """Return the outcome that is stored as `values` for a task with that payload.

    Raises:
        RecordBroken: it is not what such a task has.
    """
    of = f"outcome of {key or 'a task'}"
    if values is None:
        raise edited(of, "it is missing")
    try:
        return _kind_of(payload).model_validate(values)
    except ValidationError as error:
        raise edited(of, first_problem(error)) from None


def checked_score(payload: Payload, score: float | None, *, key: str) -> float:
    """Return the score of a finished task with that payload.

    Raises:
        RecordBroken: it is missing, or out of its range.
    """
    of, most = f"outcome of {key}", _LONGEST if isinstance(payload, MeasureTask) else 1
    if score is None:
        raise edited(of, "its score is missing")
    if not (isinstance(score, float) and 0 <= score <= most):  # NaN is neither, and SQLite keeps text in any column
        raise edited(of, f"its score is {score!r} (allowed: 0 to {most:g})")
    return score


def _kind_of(payload: Payload) -> type[StoredOutcome]:
    if isinstance(payload, TeacherTask):
        return TeacherOutcome
    if isinstance(payload, BaselineTask):
        return BaselineOutcome
    return MeasureOutcome if isinstance(payload, MeasureTask) else StudentOutcome
