"""The spec: the frozen description of a sweep, and the one place where its defaults stand.

A spec is TOML for people (`spec_toml`), a plain dict in the database, and these frozen models in between.
It is stored with the sweep, so a worker needs only the storage URL and the sweep's name.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from storage.records import SweepRecord
from sweeps.arms import CONTROLS, OUTER_ARMS, SOURCE_ARMS, TARGET_ARMS
from sweeps.errors import SpecError, SweepError

ROLES = ("source", "target", "target2", "target3")

_WRITTEN = ("mnist", "digits", "digits-rgb")

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
    augment: Literal["none", "flip-crop"] = "none"
    views: Count = Field(default=8, description="with flip-crop: fixed views of each image, each with its own logits")
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
    margin: float = Field(
        default=1.0, gt=0, le=100, description="accuracy points that a regret may have and still transfer"
    )
    looks: int = Field(
        default=3,
        ge=1,
        le=3,
        strict=True,
        description="times that the test may be read, seeds added; level 0.05 / looks",
    )
    source_arms: tuple[Literal[SOURCE_ARMS + CONTROLS], ...] = Field(default=SOURCE_ARMS, min_length=1)  # type: ignore[valid-type]
    target_arms: tuple[Literal[TARGET_ARMS + CONTROLS], ...] = Field(default=TARGET_ARMS, min_length=1)  # type: ignore[valid-type]

    def arms(self, role: str, group: str = "") -> tuple[str, ...]:
        """The arms compared on the dataset of a role; in a further group only those that depend on the group."""
        arms = self.source_arms if role == "source" else self.target_arms
        return tuple(arm for arm in arms if not group or arm in OUTER_ARMS)

    def controls(self, role: str) -> tuple[str, ...]:
        """The arms on the dataset of a role that stand for other explanations of a gain."""
        return tuple(arm for arm in self.arms(role) if arm in CONTROLS)

    @property
    def level(self) -> float:
        """Of each one-sided test of the verdict: 5 % shared among the declared looks (Bonferroni)."""
        return 0.05 / self.looks


class Outer(_Part):
    """Repeats of everything with other teachers and other searches: what one of each cannot say."""

    teachers: Count = 1
    searches: Count = Field(default=1, description="for each teacher")


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
    target2: Role | None = None
    target3: Role | None = None
    training: Training = Training()
    search: Search
    confirm: Confirm
    transfer: Transfer
    outer: Outer = Outer()
    baselines: Baselines = Baselines()
    lease: Lease = Lease()
    retry: Retry = Retry()

    @model_validator(mode="after")
    def _whole(self) -> "Spec":
        names = [self.role(name).dataset for name in self.roles]
        if len(set(names)) < len(names):
            keys = " and ".join(f"{name}.dataset" for name in self.roles)
            raise ValueError(f"{keys} must differ: transfer is between two datasets")
        for part in map(self.role, self.roles):
            if part.augment == "flip-crop" and part.dataset in _WRITTEN:
                raise ValueError(
                    f"{part.dataset}: augment flip-crop mirrors the images, and a mirrored digit is no digit"
                )
        if self.target3 is not None and self.target2 is None:
            raise ValueError("target3 without target2: number the targets without a gap")
        if self.confirm.top > self.search.trials:
            raise ValueError(f"confirm.top ({self.confirm.top}) is more than search.trials ({self.search.trials})")
        for part in map(self.role, self.roles):
            if part.images < self.training.batch_size:
                raise ValueError(
                    f"{part.dataset}: images ({part.images}) is less than one batch ({self.training.batch_size})"
                )
        return self

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that have a dataset: "source", "target" and perhaps "target2" and "target3"."""
        return tuple(name for name in ROLES if getattr(self, name) is not None)

    @property
    def targets(self) -> tuple[str, ...]:
        """The roles that are transferred to; the verdict of the first one is the primary question."""
        return self.roles[1:]

    def role(self, name: str) -> Role:
        """The dataset of a role of `roles`, and what is trained on it."""
        part: Role = getattr(self, name)
        return part

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
        (model,) = (one for one in (inner, *get_args(inner)) if isinstance(one, type) and issubclass(one, BaseModel))
    return list(model.model_fields)


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


def check_name(name: str) -> str:
    """The name of a sweep, if it is one."""
    if not Name.fullmatch(name):
        shown = name if len(name) <= 40 else f"{name[:37]}... ({len(name)} characters)"
        raise SpecError(f"sweep name {shown!r}: allowed are 1 to 64 letters, digits, '-' and '_', for example mnist-kd")
    return name
