"""The payload of a task: what it has to do, by kind of task.

The database holds a payload as flat JSON without a tag. The stage of the task tells which kind it is; the stage
"native" has searches and confirms, and only a confirm names its ranks.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from storage.errors import NextStep, RecordBroken
from storage.queue.tasks import Claim
from storage.records.queries import TaskRecord
from sweeps.spec.model import Role
from sweeps.spec.point import Point


class _Payload(BaseModel):
    """What every task on a dataset has. group: the repeat of the outer level that it belongs to, "" is the first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    seed: int
    group: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the plain values that the database stores."""
        group = {"group": self.group} if self.group else {}
        return {"role": self.role, "seed": self.seed} | self._own() | group

    def _own(self) -> dict[str, Any]:
        """Return what this kind of task has beside role, seed and group."""
        return {name: getattr(self, name) for name in type(self).model_fields if name not in _Payload.model_fields}


class TeacherTask(_Payload):
    """Train a teacher."""


class SearchTask(_Payload):
    """Train a student at one point of a search.

    sobol: the point, in the half that is fixed beforehand. sampler_seed: of the proposal, in the other half.
    """

    sobol: Point | None = None
    sampler_seed: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _nest(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and {"temperature", "alpha"} & set(values):
            point = {name: values[name] for name in ("temperature", "alpha", "more") if name in values}
            if "more" in point:
                if not isinstance(point["more"], Mapping):
                    raise ValueError(f"more is {point['more']!r} (it should be a table of names and numbers)")
                point["more"] = tuple(sorted(dict(point["more"]).items()))
            return {name: value for name, value in values.items() if name not in point} | {"sobol": point}
        return values

    @model_validator(mode="after")
    def _one_of_both(self) -> "SearchTask":
        if (self.sobol is None) == (self.sampler_seed is None):
            raise ValueError("a search task has either temperature and alpha, or sampler_seed")
        return self

    def _own(self) -> dict[str, Any]:
        return {"sampler_seed": self.sampler_seed} if self.sobol is None else self.sobol.as_json()


class ConfirmTask(_Payload):
    """Train a student at one of the best points of a search. ranks: the selection that has the point, at `rank`."""

    ranks: str
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
        """Return the plain values that the database stores."""
        return {"role": self.role, "method": self.method, "seed": self.seed}


class MeasureTask(BaseModel):
    """Measure every model of the sweep. It belongs to no role, and nothing in it is random."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: None = None
    seed: None = None
    group: Literal[""] = ""

    def as_json(self) -> dict[str, Any]:
        """Return the plain values that the database stores."""
        return {}


StudentTask: TypeAlias = SearchTask | ConfirmTask | TransferTask
Payload: TypeAlias = TeacherTask | StudentTask | BaselineTask | MeasureTask

PUT_BACK = NextStep("put it back, or make another sweep", "create")
"""What may be done about something stored that somebody edited."""

_KINDS: dict[str, type[Payload]] = {
    "teachers": TeacherTask,
    "search": SearchTask,
    "native": SearchTask,
    "confirm": ConfirmTask,
    "transfer": TransferTask,
    "baselines": BaselineTask,
    "measure": MeasureTask,
}


def read_payload(stage: str, values: Mapping[str, Any], *, key: str = "") -> Payload:
    """Return the payload that is stored as `values`.

    Args:
        stage: of the task.
        key: of the task, for the message.

    Raises:
        RecordBroken: it is not what a task of that stage has.
    """
    of = key or f"a task of stage {stage}"
    if stage not in _KINDS:
        raise RecordBroken(f"{of}: got stage {stage!r}; allowed: {', '.join(_KINDS)}")
    kind = ConfirmTask if stage == "native" and "ranks" in values else _KINDS[stage]
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise edited(f"payload of {of}", first_problem(error)) from None


def payload_of(task: TaskRecord | Claim) -> Payload:
    """Return the payload of a stored or claimed task; errors as `read_payload`."""
    return read_payload(task.stage, task.payload, key=task.key)


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
