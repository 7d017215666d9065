"""What a task is to do, its payload, and what came of it, its outcome.

The database holds both as flat JSON without a tag. The stage of a task tells the kind of its payload; the stage
"native" has searches and confirms, and only a confirm names its ranks. The payload tells the kind of the outcome.
A worker adds who made it (`sweeps.workers.attempt.as_stored`).
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

# As they are stored: by their tag, and by the name of the selection.
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
    """What every task on a dataset has. group: the teacher and search that it belongs to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    seed: int
    group: StoredGroup = FIRST

    @property
    def tag(self) -> str:
        return self.group.tag

    def as_json(self) -> dict[str, Any]:
        """Return the plain values that the database stores."""
        group = {"group": self.tag} if self.tag else {}
        return {"role": self.role, "seed": self.seed} | self._own() | group

    def _own(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields if name not in _Payload.model_fields}


class TeacherTask(_Payload):
    """Train a teacher, which all searches of a group's teacher share."""

    @property
    def tag(self) -> str:
        return self.group.preparation


class SearchTask(_Payload):
    """Train a student at one point of a search.

    sobol: the point, in the half that is fixed beforehand. sampler_seed: of the proposal, in the other half.
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
    """Train a student at one of the best points of a search. ranks: the phase that selected them; `rank`: which one.

    arm: an untuned one whose point is trained beside them, as of a rank behind them all; "" of a point of the search.
    """

    ranks: StoredRanks
    rank: int
    repeat: int
    arm: str = ""

    def _own(self) -> dict[str, Any]:
        own = {"ranks": self.ranks.selection, "rank": self.rank, "repeat": self.repeat}
        return own | ({"arm": self.arm} if self.arm else {})


class RecipeTask(_Payload):
    """Train a student at one of the candidates of an arm. rank: which one, as the arm has them."""

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
    """Measure every model of the sweep. It belongs to no role, and nothing in it is random."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: None = None
    seed: None = None
    tag: ClassVar[str] = ""

    def as_json(self) -> dict[str, Any]:
        return {}


class ScoreTask(BaseModel):
    """Score every model that was kept so far on the test: the part of a measurement that needs no quiet machine."""

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

PUT_BACK = NextStep("put it back, or create another sweep", "create")  # of something stored that somebody edited

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
    """Return the payload that is stored as `values`; raise RecordBroken if a task of that stage has none like it.

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
    """Return the error that something stored, such as "payload of search#3", is not what was written."""
    return RecordBroken(f"the stored {what} was edited: {problem}", PUT_BACK)


def first_problem(error: ValidationError) -> str:
    """Return what is wrong with a stored value, in a few words: the field, what it is, what is allowed."""
    problem = error.errors()[0]
    field = ".".join(map(str, problem["loc"]))
    if problem["type"] == "missing":
        return f"{field} is missing"
    if problem["type"] == "extra_forbidden":
        return f"it has an unknown field {field!r}"
    text = problem["msg"].removeprefix("Value error, ")
    return f"{field} is {problem['input']!r} ({text})" if field else text


_LONGEST = 1e9  # of seconds and milliseconds: 30 years and 12 days

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
StoredScore = Annotated[float, Field(allow_inf_nan=False, strict=True)]  # within the bounds of its trainer's score
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
        return self.model_dump(mode="json", exclude_unset=True)


class DataOrigin(BaseModel):
    """Where a dataset came from, and the sha256 of its content and of its split."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    origin: str
    content_hash: str
    split_hash: str


class _Trained(_Stored):
    """What every training gives.

    val_accuracy: the score on validation, higher is better: an accuracy is a fraction, of what is minimised it is minus
    its value; epoch_val_accuracy: after each epoch, None where it was not looked at. parameters: of the model.
    train_images: seen per epoch. train_s, cpu_s: wall-clock and CPU seconds of the training. detail: what was trained,
    in a few words. weights: what a ready-made network came from. numerics: fingerprint of the process that trained it,
    see `kd.training.student`; empty for a comparison method.
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
    weights: Mapping[str, str] = {}
    numerics: str = ""


class TeacherOutcome(_Trained):
    """A teacher. model: its name in the spec. logit_spread: see `kd.teachers.logits_file`; None of older versions."""

    model: str = ""
    logit_spread: float | None = None


class StudentOutcome(_Trained):
    """A student: of a search, a confirm, recipes or transfer.

    test_accuracy: the score on the test, as val_accuracy, of transfer alone; None elsewhere. epochs: where the spec's
    number of epochs does not hold; None elsewhere. arm: of transfer. loss: the formula that was minimized. more: what
    was searched beyond T and alpha. facts: what a user's own training said beside its score, as JSON has it. same_as:
    the key of the training whose outcome this is, made for another arm with the same seed and point; "" of one that was
    made for itself. Its seconds are those of that training, and count there.
    """

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    alpha: Fraction | None = None
    more: Mapping[str, int | Annotated[float, Field(allow_inf_nan=False)] | bool | str] = {}
    test_accuracy: StoredScore | None = None
    epochs: Count | None = None
    arm: str = ""
    loss: str = ""
    facts: Mapping[str, Any] = {}
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


class Scored(BaseModel):
    """One model on the test, by the names of `kd.models.measure.Scores`. digest: of its file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: str
    test_accuracy: Fraction
    int8_bytes: Count | None = None
    int8_test_accuracy: Fraction | None = None
    int8_test_images: Count = 0
    int8_reason: str = ""


class ScoreOutcome(_Stored):
    """The kept models on the test, by the key of the task that made each."""

    models: Mapping[str, Scored] = {}


class MeasureOutcome(_Stored):
    """Every kept model measured, by the key of the task that made it; scores that were there before are in it."""

    models: Mapping[str, Measured] = {}


TrainedOutcome: TypeAlias = TeacherOutcome | StudentOutcome | BaselineOutcome
StoredOutcome: TypeAlias = TrainedOutcome | ScoreOutcome | MeasureOutcome

TaskT = TypeVar("TaskT", bound=Payload, covariant=True)
OutcomeT = TypeVar("OutcomeT", bound=StoredOutcome)
ResultT = TypeVar("ResultT", bound=StoredOutcome | None, covariant=True)


@dataclass(frozen=True)
class Job(Generic[TaskT, ResultT]):
    """A task as everything above storage sees it: its row, what it is to do, and what came of it.

    Made once: at the claim in a worker, when a sweep is read for a report. outcome: None where it is not done.
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
        """What its stage is ranked by, of a task that is done: a fraction, or the milliseconds of an older sweep."""
        assert self.row.score is not None  # checked when the job was read
        return self.row.score


AnyJob: TypeAlias = Job[Payload, StoredOutcome | None]
DoneJob: TypeAlias = Job[Payload, StoredOutcome]


def read_job(row: TaskRecord) -> AnyJob:
    """Return a stored or claimed task; raise RecordBroken if its payload, its outcome or its score is damaged."""
    work, outcome = read_payload(row.stage, row.payload, key=row.key), None
    if row.state == "done":
        outcome = read_outcome(work, row.outcome, key=row.key)
        checked_score(work, row.score, key=row.key)
    return Job(row, work, outcome)


def finished(jobs: Iterable[AnyJob], task: type[TaskT], outcome: type[OutcomeT]) -> list[Job[TaskT, OutcomeT]]:
    """Return the finished jobs with payloads and outcomes of these kinds, in their order."""
    return [
        Job(job.row, job.work, job.outcome)
        for job in jobs
        if isinstance(job.work, task) and isinstance(job.outcome, outcome)
    ]


def read_finished(rows: Iterable[TaskRecord], task: type[TaskT], outcome: type[OutcomeT]) -> list[Job[TaskT, OutcomeT]]:
    """Return the finished tasks of one kind among these rows; arguments as `finished`, errors as `read_job`."""
    return finished((read_job(row) for row in rows if row.state == "done"), task, outcome)


def read_outcome(payload: Payload, values: Mapping[str, Any] | None, *, key: str = "") -> StoredOutcome:
    """Return the outcome that is stored as `values` for a task with that payload; raise RecordBroken if it is none."""
    of = f"outcome of {key or 'a task'}"
    if values is None:
        raise edited(of, "it is missing")
    try:
        return outcome_kind(payload).model_validate(values)
    except ValidationError as error:
        raise edited(of, first_problem(error)) from None


def checked_score(payload: Payload, score: float | None, *, key: str) -> float:
    """Return the score of a finished task with that payload; raise RecordBroken if it is missing or out of range."""
    of, most = f"outcome of {key}", _LONGEST
    if score is None:
        raise edited(of, "its score is missing")
    # SQLite keeps text in any column. A trainer's own bounds: see `check_bounds`.
    least = 0 if isinstance(payload, MeasureTask) else -math.inf
    most = _LONGEST if isinstance(payload, MeasureTask) else math.inf
    if not (isinstance(score, float) and math.isfinite(score) and least <= score <= most):
        raise edited(of, f"its score is {score!r} (allowed: {'a number' if math.isinf(most) else f'0 to {most:g}'})")
    return score


def check_bounds(allowed: Score, outcome: StoredOutcome, score: float, *, key: str) -> None:
    """Raise RecordBroken where an outcome has a score that the trainer of the sweep cannot have given."""
    if isinstance(outcome, MeasureOutcome):  # whose score is any number
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
