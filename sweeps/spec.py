"""The spec: the frozen description of a sweep, and the one place where its defaults stand.

A spec is TOML for people, a plain dict in the database, and these frozen models in between.
It is stored with the sweep, so a worker needs only the storage URL and the sweep's name.
"""

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from storage.records import SweepRecord
from sweeps.errors import SpecError, SweepError

ROLES = ("source", "target")

SOURCE_ARMS = ("best", "scratch", "default-keras-io", "default-keras")
TARGET_ARMS = (*SOURCE_ARMS, "native", "random")

# (temperature, alpha) that people use without tuning, and where they come from.
DEFAULT_POINTS = {
    "default-keras-io": (10.0, 0.1),  # https://keras.io/examples/vision/knowledge_distillation/
    "default-keras": (3.0, 0.5),  # keras.distillation: LogitsDistillation(3.0), student_loss_weight=0.5
    "scratch": (1.0, 1.0),  # labels only: alpha = 1 switches the teacher off, whatever T
}

Count = Annotated[int, Field(ge=1, strict=True)]
Cap = Annotated[int, Field(ge=0, strict=True)]
Name = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _range(low: float, high: float, above: bool) -> AfterValidator:
    def check(value: tuple[float, float]) -> tuple[float, float]:
        ok = all(map(math.isfinite, value)) and value[0] <= value[1] <= high
        if not ok or value[0] < low or (above and value[0] == low):
            sign = "<" if above else "<="
            raise ValueError(f"two numbers [low, high] with {low:g} {sign} low <= high <= {high:g}")
        return value

    return AfterValidator(check)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Role(_Part):
    """One of the two datasets and what is trained on it."""

    dataset: str = Field(min_length=1, description="mnist, cifar10, digits, digits-rgb, or a path ending in .npz")
    images: Count = Field(description="training images, taken class-balanced from the training split")
    teacher: str = Field(description="keras-teacher, cnn-small, ... or package.module:build")
    teacher_epochs: Count
    student: str = Field(default="keras-student", description="the same names as for teacher")
    epochs: Count = Field(description="epochs of one student, that is of one trial")
    content_hash: str = Field(default="", description="of the dataset; filled in by create, checked by every worker")


class Training(_Part):
    """How students and teachers are trained."""

    batch_size: Count = 64
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="of students: Adam, constant")
    teacher_learning_rate: float = Field(default=3e-3, gt=0, le=1, description="of teachers: Adam, falling to 0")


class Search(_Part):
    """The search for (T, alpha); the native search on the target is the same."""

    trials: Count = Field(description="first half Sobol points, then TPE")
    temperature: Annotated[tuple[float, float], _range(0, 1000, above=True)] = Field(
        default=(1.0, 20.0), description="log-uniform"
    )
    alpha: Annotated[tuple[float, float], _range(0, 1, above=False)] = Field(
        default=(0.0, 1.0), description="uniform; weight of the labels"
    )


class Confirm(_Part):
    """The best trials again on fresh seeds: best is the best mean, not the luckiest run."""

    top: Count
    seeds: Count


class Transfer(_Part):
    """The arms that are compared on seeds that no selection saw; only here is the test set read."""

    seeds: Count
    source_arms: tuple[Literal[SOURCE_ARMS], ...] = Field(default=SOURCE_ARMS, min_length=1)  # type: ignore[valid-type]
    target_arms: tuple[Literal[TARGET_ARMS], ...] = Field(default=TARGET_ARMS, min_length=1)  # type: ignore[valid-type]

    def arms(self, role: str) -> tuple[str, ...]:
        """The arms compared on "source" or on "target"."""
        return {"source": self.source_arms, "target": self.target_arms}[role]


class Baselines(_Part):
    """Fixed comparison trials on the target."""

    methods: tuple[Literal["autokeras", "mobilenet"], ...] = ("autokeras", "mobilenet")
    autokeras_trials: Count = 2
    autokeras_epochs: Count = 6
    autokeras_seconds: Count = Field(default=120, description="wall-clock cap; the best finished trial stands")


class Lease(_Part):
    """How a dead worker is noticed."""

    interval_s: float = Field(default=10, gt=0, description="a worker renews its lease this often")
    grace_s: float = Field(default=50, gt=0, description="without renewal for interval + grace, the task is free again")


class Retry(_Part):
    """How many attempts of one task may end so before it has failed; 0 = no limit."""

    lost_worker: Cap = Field(default=5, description="its worker died")
    memory: Cap = Field(default=2, description="no memory was left")
    database: Cap = Field(default=5, description="the database was gone for longer than a worker waits")
    nan: Cap = Field(default=1, description="the loss was no longer finite: the same seed diverges again")
    error: Cap = Field(default=2, description="the training raised anything else")


class Spec(_Part):
    """The whole sweep."""

    preset: str = Field(default="", description="where this spec started from")
    seed: int = Field(default=0, ge=0, strict=True)
    note: str = Field(default="", description="shown in the report and in the dashboard")
    source: Role
    target: Role
    training: Training = Training()
    search: Search
    confirm: Confirm
    transfer: Transfer
    baselines: Baselines = Baselines()
    lease: Lease = Lease()
    retry: Retry = Retry()

    @model_validator(mode="after")
    def _whole(self) -> "Spec":
        if self.source.dataset == self.target.dataset:
            raise ValueError("source.dataset and target.dataset must differ: transfer is between two datasets")
        if self.confirm.top > self.search.trials:
            raise ValueError(f"confirm.top ({self.confirm.top}) is more than search.trials ({self.search.trials})")
        for part in (self.source, self.target):
            if part.images < self.training.batch_size:
                raise ValueError(
                    f"{part.dataset}: images ({part.images}) is less than one batch ({self.training.batch_size})"
                )
        return self

    def role(self, name: str) -> Role:
        """The dataset "source" or "target", and what is trained on it."""
        return {"source": self.source, "target": self.target}[name]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as stored in the database."""
        return self.model_dump(mode="json")

    @property
    def fingerprint(self) -> str:
        """sha256 of the canonical JSON; two sweeps with the same one are the same experiment."""
        return fingerprint(self.as_dict())


def fingerprint(values: Mapping[str, Any]) -> str:
    """sha256 of plain values as canonical JSON, 64 hex digits."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def stored(sweep: SweepRecord) -> Spec:
    """The spec of a sweep in the database.

    Raises:
        SweepError: it is not what was stored: somebody edited it.
    """
    found = fingerprint(sweep.spec)
    if found != sweep.fingerprint:
        raise SweepError(
            f"the stored spec of {sweep.name} was edited (its hash is {found[:12]}, it was stored with "
            f"{sweep.fingerprint[:12]}); put it back, or make another sweep: kd-sweeps create NAME my.toml"
        )
    return parse(sweep.spec, origin=f"sweep {sweep.name}")


def parse(values: Mapping[str, Any], *, origin: str) -> Spec:
    """The spec in plain values, or a SpecError of one line that names the first wrong key."""
    try:
        return Spec.model_validate(values)
    except ValidationError as error:
        raise SpecError(f"{origin}: {_first_problem(error)}; a complete one: kd-sweeps spec quick") from None


def _first_problem(error: ValidationError) -> str:
    # An unknown key is usually a misspelt one: say that before what is then missing.
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    problem = problems[0]
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}; allowed beside it: {', '.join(_siblings(problem['loc']))}"
    if problem["type"] == "missing":
        return f"{key} is missing"
    text = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{key}: got {json.dumps(problem['input'], default=str)}; allowed: {text}" if key else text


def _siblings(location: Sequence[str | int]) -> list[str]:
    model: type[BaseModel] = Spec
    for name in location[:-1]:
        inner = model.model_fields[str(name)].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)
        model = inner
    return list(model.model_fields)


def read(path: Path) -> Spec:
    """The spec in a TOML file."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(
            f"cannot read the spec {path}: {error.strerror}; make one with: kd-sweeps spec quick > {path}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} is not TOML: {error}; a complete one: kd-sweeps spec quick") from None
    return parse(values, origin=str(path))


def override(spec: Spec, changes: Mapping[str, Any], *, origin: str = "options") -> Spec:
    """The spec with some dotted keys changed, for example {"search.trials": 100}."""
    values = spec.as_dict()
    for dotted, value in changes.items():
        *groups, key = dotted.split(".")
        inner = values
        for group in groups:
            inner = inner.setdefault(group, {})
            if not isinstance(inner, dict):
                raise SpecError(f"{origin}: unknown key {dotted!r}; see: kd-sweeps spec quick")
        inner[key] = value
    return parse(values, origin=origin)


def difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The keys in which two specs differ, each as `key: old -> new`."""
    lines: list[str] = []
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += difference(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {json.dumps(before)} -> {json.dumps(after)}")
    return lines


def to_toml(spec: Spec) -> str:
    """The spec as TOML with a comment on every key that needs one; `read` gives it back unchanged."""
    top = [_line(spec, key) for key in Spec.model_fields if not isinstance(getattr(spec, key), BaseModel)]
    parts = [part for key in Spec.model_fields if isinstance(part := getattr(spec, key), BaseModel)]
    names = [key for key in Spec.model_fields if isinstance(getattr(spec, key), BaseModel)]
    blocks = ["\n".join(top)]
    for name, part in zip(names, parts, strict=True):
        why = (type(part).__doc__ or "").strip()
        blocks.append("\n".join([f"[{name}]  # {why}", *(_line(part, key) for key in type(part).model_fields)]))
    return "\n\n".join(blocks) + "\n"


def _line(part: BaseModel, key: str) -> str:
    # JSON's strings, numbers and lists of them are TOML as well.
    text = f"{key} = {json.dumps(getattr(part, key))}"
    why = type(part).model_fields[key].description
    return f"{text}  # {why}" if why else text


def check_name(name: str) -> str:
    """The name of a sweep, if it is one."""
    if not Name.fullmatch(name):
        shown = name if len(name) <= 40 else f"{name[:37]}... ({len(name)} characters)"
        raise SpecError(f"sweep name {shown!r}: allowed are 1 to 64 letters, digits, '-' and '_', for example mnist-kd")
    return name
