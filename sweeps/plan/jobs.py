"""Payloads, what tasks are to do, and outcomes, their results.

The database stores both as flat JSON without a tag. The stage of a task determines the class of its payload; stage
"native" has searches and confirms, of which only the latter have ranks. The payload determines the class of the
outcome, to which a worker adds its provenance (`sweeps.workers.attempt.as_stored`).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from storage.errors import NextStep, RecordBroken
from storage.tables import TaskRecord
from sweeps.plan.phases import Phase
from sweeps.spec.model import Role
from sweeps.spec.tables import FIRST, Group
from sweeps.trainers.protocol import Point
from sweeps.trainers.score import Score

# Stored as a tag, and as the name of a selection.
StoredGroup = Annotated[Group, BeforeValidator(lambda tag: Group.parse(tag) if isinstance(tag, str) else tag)]
StoredRanks = Annotated[
    Phase, BeforeValidator(lambda name: Phase.of_selection(name) if isinstance(name, str) else name)
]

_NUMBER = TypeAdapter(float)


def _check_number(stored: Mapping[str, Any], name: str) -> None:
    if name not in stored:
        raise ValueError(f"sobol.{name} is missing")
    try:
        _NUMBER.validate_python(stored[name])
    except ValidationError as error:
        raise ValueError(f"sobol.{name} is {stored[name]!r} ({error.errors()[0]['msg']})") from None


class _Payload(BaseModel):
    """The fields of every task on a dataset. group: its teacher and search."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    seed: int
    group: StoredGroup = FIRST

    @property
    def tag(self) -> str:
        return self.group.tag

    def as_json(self) -> dict[str, Any]:
        """Return the plain values for the database."""
        group = {"group": self.tag} if self.tag else {}
        return {"role": self.role, "seed": self.seed} | self._own() | group

    def _own(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields if name not in _Payload.model_fields}


class TeacherTask(_Payload):
    """Train a teacher, shared by all searches of its group."""

    @property
    def tag(self) -> str:
        return self.group.preparation


class SearchTask(_Payload):
    """Train a student at one point of a search.

    sobol: the point, in the half that the plan fixes. sampler_seed: of the proposal, in the other half.
    """

    sobol: Point | None = None
    sampler_seed: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _nest(cls, values: Any) -> Any:
        own = ("temperature", "alpha", "more")
        if not isinstance(values, Mapping) or not set(own) & set(values):
            return values
        if not values.get("more") or set(own[:2]) & set(values):
            for name in own[:2]:
                _check_number(values, name)
        point = Point.read(values)
        return {name: value for name, value in values.items() if name not in own} | {"sobol": point}

    @model_validator(mode="after")
    def _one_of_both(self) -> "SearchTask":
        if (self.sobol is None) == (self.sampler_seed is None):
            raise ValueError("a search task has either temperature and alpha, or sampler_seed")
        return self

    def _own(self) -> dict[str, Any]:
        return {"sampler_seed": self.sampler_seed} if self.sobol is None else self.sobol.as_json()


class ConfirmTask(_Payload):
    """Train a student at one of the best points of a search. ranks: the phase that selected them; rank: its index.

    arm: "" for a point of the search; else an untuned arm, whose point has a rank after all of them.
    """

    ranks: StoredRanks
    rank: int
    repeat: int
    arm: str = ""

    def _own(self) -> dict[str, Any]:
        own = {"ranks": self.ranks.selection, "rank": self.rank, "repeat": self.repeat}
        return own | ({"arm": self.arm} if self.arm else {})


class RecipeTask(_Payload):
    """Train a student at one of the candidates of an arm. rank: its index in the arm."""

    arm: str
    rank: int
    repeat: int


class TransferTask(_Payload):
    """Train a student for one arm of the comparison."""

    arm: str
    repeat: int


class BaselineTask(_Payload):
    """Fit a comparison method."""

    method: str

    def as_json(self) -> dict[str, Any]:
        return {"role": self.role, "method": self.method, "seed": self.seed}


class MeasureTask(BaseModel):
    """Measure every model of the sweep; no role, no seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: None = None
    seed: None = None
    tag: ClassVar[str] = ""

    def as_json(self) -> dict[str, Any]:
        return {}


class ScoreTask(BaseModel):
    """Score every kept model on the test set: the part of a measurement that needs no quiet machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["accuracy"] = "accuracy"
    role: ClassVar[None] = None
    seed: ClassVar[None] = None
    tag: ClassVar[str] = ""

    def as_json(self) -> dict[str, Any]:
        return {"method": self.method}


RankedTask: TypeAlias = ConfirmTask | RecipeTask
StudentTask: TypeAlias = SearchTask | ConfirmTask | RecipeTask | TransferTask
ArmTask: TypeAlias = RecipeTask | TransferTask
Payload: TypeAlias = TeacherTask | StudentTask | BaselineTask | ScoreTask | MeasureTask

PUT_BACK = NextStep("put it back, or create another sweep", "create")  # for edited rows

_KINDS: dict[str, type[Payload]] = {
    "teachers": TeacherTask,
    "search": SearchTask,
    "native": SearchTask,
    "confirm": ConfirmTask,
    "recipes": RecipeTask,
    "transfer": TransferTask,
    "baselines": BaselineTask,
    "measure": MeasureTask,
}


def read_payload(stage: str, values: Mapping[str, Any], *, key: str = "") -> Payload:
    """Return the payload stored as `values`; raise RecordBroken if it is invalid for the stage.

    key: of the task, for the message.
    """
    of = key or f"a task of stage {stage}"
    if stage not in _KINDS:
        raise RecordBroken(f"{of}: got stage {stage!r}; allowed: {', '.join(_KINDS)}")
    kind = _KINDS[stage]
    if stage == "native" and "ranks" in values:
        kind = ConfirmTask
    if stage == "measure" and "method" in values:
        kind = ScoreTask
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise edited(f"payload of {of}", first_problem(error)) from None


def edited(what: str, problem: str) -> RecordBroken:
    """Return the error for a stored value, such as "payload of search#3", that was edited."""
    return RecordBroken(f"the stored {what} was edited: {problem}", PUT_BACK)


def first_problem(error: ValidationError) -> str:
    """Return the first problem of a stored value in a few words: the field, its value, what is allowed."""
    problem = error.errors()[0]
    field = ".".join(map(str, problem["loc"]))
    if problem["type"] == "missing":
        return f"{field} is missing"
    if problem["type"] == "extra_forbidden":
        return f"it has an unknown field {field!r}"
    text = problem["msg"].removeprefix("Value error, ")
    return f"{field} is {problem['input']!r} ({text})" if field else text


_LONGEST = 1e9  # seconds or milliseconds: 30 years or 12 days

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
StoredScore = Annotated[float, Field(allow_inf_nan=False, strict=True)]  # `check_bounds` knows its bounds
Amount = Annotated[float, Field(ge=0, le=_LONGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Stored(BaseModel):
    """The fields of every outcome. A field that was not set is not stored.

    wall_s: of the whole attempt. worker: its name. provenance: versions and hardware, see
    `sweeps.workers.environment.provenance`. blobs: digests of kept bytes, by name ("model", "logits").
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    # Factories: pydantic copies a default {} deeply, for each of ten thousand rows.
    wall_s: Amount = 0.0
    worker: str = ""
    provenance: Mapping[str, Any] = Field(default_factory=dict)
    blobs: Mapping[str, str] = Field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_unset=True)


class DataOrigin(BaseModel):
    """The source of a dataset, and the SHA-256 of its content and of its split."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    origin: str
    content_hash: str
    split_hash: str


class _Trained(_Stored):
    """The result of a training.

    val_accuracy: the validation score, higher is better: an accuracy as a fraction, a minimised score negated;
    epoch_val_accuracy: after each epoch, None if not measured. parameters: of the model. train_images: per epoch.
    train_s, cpu_s: wall-clock and CPU seconds of the training. detail: what was trained, in a few words. weights:
    source of a pretrained network. numerics: fingerprint of the arithmetic of the process, see `kd.training.student`;
    empty for a comparison method.
    """

    val_accuracy: StoredScore
    epoch_val_accuracy: tuple[StoredScore | None, ...] = ()
    parameters: Count
    train_images: Count = 0
    train_s: Amount
    cpu_s: Amount
    seed: int | None = None
    dataset: str = ""
    data: DataOrigin | None = None
    detail: str = ""
    weights: Mapping[str, str] = Field(default_factory=dict)
    numerics: str = ""


class TeacherOutcome(_Trained):
    """A teacher. model: its name in the spec. logit_spread: see `kd.teachers.logits_file`; None in older versions."""

    model: str = ""
    logit_spread: float | None = None


class StudentOutcome(_Trained):
    """A student of search, confirm, recipes or transfer.

    test_accuracy: the test score, as val_accuracy, in transfer alone. epochs: if other than the spec's. arm: in
    transfer. loss: the minimised formula. more: searched values beyond T and alpha. facts: JSON that a user's training
    reported besides its score. same_as: key of the training that this outcome was copied from, of another arm with the
    same seed and point, whose seconds it repeats; "" for a training of its own.
    """

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    alpha: Fraction | None = None
    more: Mapping[str, int | Annotated[float, Field(allow_inf_nan=False)] | bool | str] = Field(default_factory=dict)
    test_accuracy: StoredScore | None = None
    epochs: Count | None = None
    arm: str = ""
    loss: str = ""
    facts: Mapping[str, Any] = Field(default_factory=dict)
    same_as: str = ""

    @property
    def point(self) -> Point:
        apart = {"temperature": self.temperature, "alpha": self.alpha}
        return Point.of({name: value for name, value in apart.items() if value is not None} | dict(self.more))

    @model_validator(mode="after")
    def _has_a_point(self) -> "StudentOutcome":
        missing = [name for name in ("temperature", "alpha") if getattr(self, name) is None]
        if len(missing) == 1 or (missing and not self.more):
            raise ValueError(f"{missing[0]} is missing")
        return self


class BaselineOutcome(_Trained):
    """A comparison method's model.

    capped: the time limit ended it. curve: (CPU seconds since the start, best validation accuracy so far) after each
    trial, for a method that has trials.
    """

    method: str = ""
    capped: bool = False
    curve: tuple[tuple[Amount, Fraction], ...] = ()


class Measured(BaseModel):
    """A measured model; the fields are those of `kd.models.measure.Measurement`; None: unknown."""

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


class Scored(BaseModel):
    """A model's test scores; the fields are those of `kd.models.measure.Scores`. digest: of its file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: str
    test_accuracy: Fraction
    int8_bytes: Count | None = None
    int8_test_accuracy: Fraction | None = None
    int8_test_images: Count = 0
    int8_reason: str = ""


class ScoreOutcome(_Stored):
    """The test scores of the kept models, by the key of the task that made each."""

    models: Mapping[str, Scored] = Field(default_factory=dict)


class MeasureOutcome(_Stored):
    """The measurements of the kept models, by the key of the task that made each, earlier scores included."""

    models: Mapping[str, Measured] = Field(default_factory=dict)


TrainedOutcome: TypeAlias = TeacherOutcome | StudentOutcome | BaselineOutcome
StoredOutcome: TypeAlias = TrainedOutcome | ScoreOutcome | MeasureOutcome

TaskT = TypeVar("TaskT", bound=Payload, covariant=True)
OutcomeT = TypeVar("OutcomeT", bound=StoredOutcome)
ResultT = TypeVar("ResultT", bound=StoredOutcome | None, covariant=True)


@dataclass(frozen=True)
class Job(Generic[TaskT, ResultT]):
    """A task above the storage: its row, its payload (`work`) and its outcome, None before it is done.

    Made once: at a claim, or when a sweep is read for a report.
    """

    row: TaskRecord
    work: TaskT
    outcome: ResultT

    @property
    def key(self) -> str:
        return self.row.key

    @cached_property
    def phase(self) -> Phase:
        return Phase.parse(self.row.phase)

    @property
    def done(self) -> bool:
        return self.outcome is not None

    @property
    def score(self) -> float:
        """The score of a done task, which ranks its stage: a fraction, or the milliseconds of an older sweep."""
        assert self.row.score is not None  # checked when the job was read
        return self.row.score


AnyJob: TypeAlias = Job[Payload, StoredOutcome | None]
DoneJob: TypeAlias = Job[Payload, StoredOutcome]


def read_job(row: TaskRecord) -> AnyJob:
    """Return a stored or claimed task; raise RecordBroken if its payload, outcome or score is damaged."""
    work, outcome = read_payload(row.stage, row.payload, key=row.key), None
    if row.state == "done":
        outcome = read_outcome(work, row.outcome, key=row.key)
        checked_score(work, row.score, key=row.key)
    return Job(row, work, outcome)


def finished(jobs: Iterable[AnyJob], task: type[TaskT], outcome: type[OutcomeT]) -> list[Job[TaskT, OutcomeT]]:
    """Return the finished jobs with payloads and outcomes of these classes, in order."""
    return [
        Job(job.row, job.work, job.outcome)
        for job in jobs
        if isinstance(job.work, task) and isinstance(job.outcome, outcome)
    ]


def read_finished(rows: Iterable[TaskRecord], task: type[TaskT], outcome: type[OutcomeT]) -> list[Job[TaskT, OutcomeT]]:
    """Return the finished tasks of one kind among these rows; arguments as for `finished`, errors as `read_job`."""
    return finished((read_job(row) for row in rows if row.state == "done"), task, outcome)


def read_outcome(payload: Payload, values: Mapping[str, Any] | None, *, key: str = "") -> StoredOutcome:
    """Return the outcome stored as `values` for a task with that payload; raise RecordBroken if it is invalid."""
    of = f"outcome of {key or 'a task'}"
    if values is None:
        raise edited(of, "it is missing")
    try:
        return outcome_kind(payload).model_validate(values)
    except ValidationError as error:
        raise edited(of, first_problem(error)) from None


def checked_score(payload: Payload, score: float | None, *, key: str) -> float:
    """Return the score of a finished task with that payload; raise RecordBroken if it is missing or out of range."""
    of = f"outcome of {key}"
    if score is None:
        raise edited(of, "its score is missing")
    times = isinstance(payload, MeasureTask)
    is_number = isinstance(score, float) and math.isfinite(score)  # SQLite accepts text in any column
    if not is_number or (times and not 0 <= score <= _LONGEST):
        raise edited(of, f"its score is {score!r} (allowed: {f'0 to {_LONGEST:g}' if times else 'a number'})")
    return score


def check_bounds(allowed: Score, outcome: StoredOutcome, score: float, *, key: str) -> None:
    """Raise RecordBroken if a score of an outcome is outside the bounds of the sweep's trainer."""
    if isinstance(outcome, MeasureOutcome):  # milliseconds
        return
    low, high = allowed.bounds
    scores = {"its score": score}
    if not isinstance(outcome, ScoreOutcome):
        curve = enumerate(outcome.epoch_val_accuracy)
        scores |= {"val_accuracy": outcome.val_accuracy}
        scores |= {f"epoch_val_accuracy.{number}": value for number, value in curve if value is not None}
    if isinstance(outcome, StudentOutcome) and outcome.test_accuracy is not None:
        scores["test_accuracy"] = outcome.test_accuracy
    for name, value in scores.items():
        if not low <= value <= high:
            raise edited(f"outcome of {key}", f"{name} is {value!r} (allowed: {low:g} to {high:g})")


def outcome_kind(payload: Payload) -> type[StoredOutcome]:
    if isinstance(payload, TeacherTask):
        return TeacherOutcome
    if isinstance(payload, BaselineTask):
        return BaselineOutcome
    if isinstance(payload, ScoreTask):
        return ScoreOutcome
    return MeasureOutcome if isinstance(payload, MeasureTask) else StudentOutcome
