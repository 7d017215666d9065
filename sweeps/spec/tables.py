"""Tables search, confirm, transfer, outer, lease, limits, retry; bounds; a validation error as one line."""

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from statistics import median
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from kd.baselines.methods import METHODS
from sweeps.distill.arms import AUTOKERAS_ARM, CONTROLS, OUTER_ARMS, SCALED, SOURCE_ARMS, TARGET_ARMS
from sweeps.stats.verdict import LEVELS, RULE
from sweeps.trainers.protocol import Number

# Generous bounds: far beyond any sweep that ends, and small enough that a slip of the finger is answered at once.
MOST = 100_000
MOST_IMAGES = 100_000_000
LEAST_PIXELS, MOST_PIXELS = 8, 4_096  # of a side; no smaller image is trained on
MOST_VIEWS = 1_000  # each of them is stored for every image, with its own logits
MOST_PARAMETERS = 10_000_000_000
MOST_SECONDS = 10_000_000  # four months
MOST_LEASE_S = 86_400
_LEAST_S, _MEDIANS = 600.0, 20.0  # of a limit that is not given
SAMPLERS = ("qmc", "tpe", "gp", "random")
USERS_OWN = re.compile(r"(?:[A-Za-z_][\w.]*|.*/[^/]*\.py):[A-Za-z_]\w*")

Count = Annotated[int, Field(ge=1, le=MOST, strict=True)]
Cap = Annotated[int, Field(ge=0, le=MOST, strict=True)]
Seconds = Annotated[int, Field(ge=1, le=MOST_SECONDS, strict=True)]
Silence = Annotated[float, Field(ge=0, le=MOST_SECONDS, strict=True)]
Side = Annotated[int, Field(ge=LEAST_PIXELS, le=MOST_PIXELS, strict=True)]


def _each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    again = next((value for value in values if values.count(value) > 1), None)
    if again is not None:
        raise ValueError(f"each of them once; {again} is there {values.count(again)} times")
    return values


EachOnce = AfterValidator(_each_once)


class SpecModel(BaseModel):
    """What all tables share: unknown keys are refused, and nothing changes once it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Lease(SpecModel):
    """How a dead worker is noticed."""

    interval_s: float = Field(
        default=10, gt=0, le=MOST_LEASE_S, strict=True, description="a worker renews its lease this often"
    )
    grace_s: float = Field(
        default=50,
        gt=0,
        le=MOST_LEASE_S,
        strict=True,
        description="without renewal for interval + grace, the task is free again",
    )

    @property
    def seconds(self) -> float:
        """How long a lease lasts."""
        return self.interval_s + self.grace_s


class Limits(SpecModel):
    """Seconds without a step after which a task is ended; 0 = 20 times the stage's median task, 600 at least.
    Below 60, a task may be ended while its process is still starting.
    """

    teachers: Silence = 0
    search: Silence = 0
    baselines: Silence = 0
    confirm: Silence = 0
    native: Silence = 0
    transfer: Silence = 0
    measure: Silence = 0

    def of(self, stage: str, finished_s: Sequence[float]) -> float:
        """Return the seconds without a step after which a task of a stage is ended.

        Args:
            finished_s: how long tasks of the stage took that are done.
        """
        given = float(getattr(self, stage))
        return given or max(_LEAST_S, _MEDIANS * median(finished_s or (0.0,)))


class Retry(SpecModel):
    """Maximum attempts of one task per failure class; 0 = unlimited."""

    lost_worker: Cap = Field(default=5, description="its worker died")
    memory: Cap = Field(default=2, description="no memory was left")
    database: Cap = Field(default=5, description="the database was gone for longer than a worker waits")
    timeout: Cap = Field(default=2, description="it made no step for the time in limits")
    nan: Cap = Field(default=1, description="the loss was no longer finite: the same seed diverges again")
    error: Cap = Field(default=2, description="the training raised anything else")


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first thing that is wrong, as one line; an unknown key before all else.

    Args:
        error: what pydantic found.
        model: of the table that was checked; its keys are what is allowed.
    """
    # An unknown key is usually a misspelt one: say that before what is then missing.
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    problem = problems[0]
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}; {_allowed(problem['loc'], model)}"
    if problem["type"] == "missing":
        return f"{key} is missing"
    text = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{key}: got {_shown(problem['input'])}; allowed: {text}" if key else text


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _allowed(location: Sequence[str | int], model: type[BaseModel]) -> str:
    """Return what may stand there; before it the key that was probably meant: a near name, or this one elsewhere."""
    table, (*place, last) = model, map(str, location)
    for name in place:
        (table,) = _tables(table.model_fields[name].annotation)
    prefix = "".join(f"{name}." for name in place)
    near = [f"{prefix}{match}" for match in get_close_matches(last, table.model_fields, n=1)]
    meant = near or [key for key in _keys(model) if key.rpartition(".")[2] == last]
    hint = f"did you mean {' or '.join(meant[:2])}? " if meant else ""
    return f"{hint}allowed beside it: {', '.join(table.model_fields)}"


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for table in _tables(field.annotation):
            yield from _keys(table, f"{prefix}{name}.")


def _tables(annotation: Any) -> list[type[BaseModel]]:
    """Return the table that a key with this annotation holds: none for a plain value."""
    return [
        kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type) and issubclass(kind, BaseModel)
    ]


@dataclass(frozen=True)
class Bounds:
    """What the range of a setting may hold: low < value <= high; whole: whole numbers only."""

    low: float
    high: float
    whole: bool = False

    def __str__(self) -> str:
        """Format it as an error message shows it."""
        kind = "whole numbers" if self.whole else "numbers"
        return f"two {kind} [low, high] with {self.low:g} < low <= high <= {self.high:g}"


TRAINING_PARAMS = {
    "learning_rate": Bounds(0, 1),
    "epochs": Bounds(0, MOST, whole=True),
    "batch_size": Bounds(0, MOST, whole=True),
}
"""The settings of a training that a search may vary."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
# What else stands beside the parameters of a trial, refused wherever a spec is read. It is never added to: a sweep that
# was created before must stay readable. New ones belong into RESERVED_NEW, which only a new sweep is checked against.
RESERVED = (
    "arm",
    "dataset",
    "model",
    "method",
    "role",
    "seed",
    "group",
    "rank",
    "ranks",
    "repeat",
    "score",
    "more",
    "n",
)

_COLUMNS = (
    # tables of tasks and trainings
    "task stage state attempt trial dataset arm more score test_accuracy seed train_s cpu_s worker reason sweep role",
    "repeat val_accuracy",
    # `best`, selections and surfaces as JSON
    "loss confirmed mean low high n rank ranks candidates search_best answer_hash recipe paste",
    "point accuracy incumbent",
    "distillation loss_parameters trial_number number shared formula code student teacher source target target2",
    "target3",
    # outcomes, and the columns of the dashboard and of trackers
    "model method group parameters train_images detail data weights numerics wall_s provenance blobs search",
    "epoch_val_accuracy latency latency_ms_p50 retry_of",
)
RESERVED_NEW = frozenset(name for names in _COLUMNS for name in names.split())
"""What stands beside a searched parameter in records, tables or JSON: as the name of one it would be taken for that."""


def _checked(space: Any) -> dict[str, tuple[Number, Number]]:
    if not isinstance(space, Mapping):
        raise ValueError("a table of ranges, such as { learning_rate = [0.001, 0.01] }")
    for name, ends in space.items():
        if name in ("temperature", "alpha"):
            raise ValueError(f"further parameters; {name} has a key of its own: search.{name}")
        if not _NAME.fullmatch(name) or name in RESERVED:
            raise ValueError(
                f"{', '.join(TRAINING_PARAMS)}, or a parameter of the loss, such as beta; {name!r} is no name for one"
            )
        bounds = TRAINING_PARAMS.get(name)
        if not _is_range(ends, bounds):
            raise ValueError(f"{name}: {bounds or 'two numbers [low, high] with low <= high'}; got {ends!r}")
    return {name: (low, high) for name, (low, high) in space.items()}


def _is_range(ends: Any, bounds: Bounds | None) -> bool:
    if not isinstance(ends, Sequence) or isinstance(ends, str) or len(ends) != 2:
        return False
    kinds = (int,) if bounds and bounds.whole else (int, float)
    if not all(isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value) for value in ends):
        return False
    return ends[0] <= ends[1] and (bounds is None or (bounds.low < ends[0] and ends[1] <= bounds.high))


ExtraSpace = Annotated[dict[str, tuple[int | float, int | float]], BeforeValidator(_checked)]
"""A table of ranges [low, high] by name."""

_A_NAME = re.compile(r"[^\W_][\w ()+.-]{0,63}")


def _range(low: float, high: float, above: bool) -> AfterValidator:
    def check(value: tuple[float, float]) -> tuple[float, float]:
        ok = all(map(math.isfinite, value)) and value[0] <= value[1] <= high
        if not ok or value[0] < low or (above and value[0] == low):
            sign = "<" if above else "<="
            raise ValueError(f"two numbers [low, high] with {low:g} {sign} low <= high <= {high:g}")
        return value

    return AfterValidator(check)


def meant(name: str, allowed: Iterable[str]) -> str:
    """Return "did you mean NAME? " of the allowed name that is near; "" if none is."""
    near = get_close_matches(name, list(allowed), n=1)
    return f"did you mean {near[0]}? " if near else ""


def _known_method(name: str) -> str:
    if name not in METHODS:
        raise ValueError(meant(name, METHODS) + ", ".join(METHODS))
    return name


def free_name(name: str) -> str:
    """Check a name that a user gives freely."""
    if name and not _A_NAME.fullmatch(name):
        raise ValueError("1 to 64 letters, digits, spaces and ()+-._, the first one a letter or a digit")
    return name


def both_sides(size: tuple[int, ...]) -> tuple[int, ...]:
    """Check a size of images: of both sides or of none."""
    if len(size) not in (0, 2):
        raise ValueError("[height, width], or [] for images that all have one size")
    return size


def _known_sampler(name: str) -> str:
    if name not in SAMPLERS and not USERS_OWN.fullmatch(name):
        raise ValueError(meant(name, SAMPLERS) + ", ".join(SAMPLERS) + " or package.module:make, or ./file.py:make")
    return name


class Search(SpecModel):
    """The search for (T, alpha); the native search on the target is the same."""

    trials: Count = Field(description="points, each trained once with the same seed")
    sampler: Annotated[str, AfterValidator(_known_sampler)] = Field(
        default="tpe",
        description="qmc (scrambled Sobol), tpe, gp (needs torch), random, package.module:make or ./file.py:make;"
        " the first half of tpe and gp is Sobol",
    )
    lag: Count = Field(
        default=8, description="a proposed trial i knows the outcomes of trials 0 to i - lag: as many train at once"
    )
    temperature: Annotated[tuple[float, float], _range(0, 1000, above=True)] = Field(
        default=(1.0, 20.0), description="log-uniform"
    )
    alpha: Annotated[tuple[float, float], _range(0, 1, above=False)] = Field(
        default=(0.0, 1.0), description="uniform; weight of the labels"
    )
    space: ExtraSpace = Field(
        default={},
        description="more to search, as [low, high]: learning_rate (log), epochs, batch_size (powers of two times low),"
        " and the loss's own parameters",
    )

    @property
    def planned(self) -> int:
        """How many trials are Sobol points, fixed before anything runs."""
        if self.sampler == "qmc":
            return self.trials
        return (self.trials + 1) // 2 if self.sampler in ("tpe", "gp") else 0


def _fewer_each_time(rounds: tuple[tuple[int, int], ...]) -> None:
    points = [top for top, _ in rounds]
    if any(later > earlier for earlier, later in itertools.pairwise(points)):
        raise ValueError(f"no round has more points than the one before; got {points}")


class Confirm(SpecModel):
    """The best trials again on fresh seeds: best is the best mean, not the luckiest run.

    `top` and `seeds` stand for one round of so many points and seeds.
    """

    rounds: tuple[tuple[Count, Count], ...] = Field(
        min_length=1, description="[points, fresh seeds of each] in turn; each round keeps the best of the one before"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_round(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not {"top", "seeds"} & set(values):
            return values
        rest = {name: value for name, value in values.items() if name not in ("top", "seeds")}
        (top, seeds), *_ = rest.get("rounds") or ((None, None),)
        top, seeds = values.get("top", top), values.get("seeds", seeds)
        if top is None or seeds is None:
            raise ValueError("give top and seeds, or rounds")
        return rest | {"rounds": ((top, seeds),)}

    @model_validator(mode="after")
    def _halving(self) -> "Confirm":
        _fewer_each_time(self.rounds)
        return self

    @property
    def top(self) -> int:
        """How many points the first round repeats."""
        return self.rounds[0][0]

    @property
    def trainings(self) -> int:
        """How many trainings a confirm has."""
        return sum(points * seeds for points, seeds in self.rounds)


class Transfer(SpecModel):
    """The arms that are compared on seeds that no selection saw; only here is the test set read."""

    seeds: Count = Field(description="of native and best on a target, which the verdict compares")
    other_seeds: Cap = Field(default=0, description="of every other arm: the first so many of these; 0 = as many")
    margin: float = Field(
        default=1.0, gt=0, le=100, description="accuracy points that a regret may have and still transfer"
    )
    looks: int = Field(
        default=3,
        ge=1,
        le=3,
        strict=True,
        description="times that the test may be read, seeds or searches added",
    )
    rule: int = Field(
        default=1,
        ge=1,
        le=RULE,
        strict=True,
        description="version of the verdict's rule, the newest where it is left out; 1 is that of older sweeps",
    )
    source_arms: Annotated[tuple[Literal[SOURCE_ARMS + CONTROLS], ...], EachOnce] = Field(  # type: ignore[valid-type]
        default=SOURCE_ARMS, min_length=1
    )
    target_arms: Annotated[
        tuple[Literal[TARGET_ARMS + CONTROLS + (SCALED, AUTOKERAS_ARM)], ...],  # type: ignore[valid-type]
        EachOnce,
    ] = Field(default=TARGET_ARMS, min_length=1)

    def arms(self, role: str, group: str = "") -> tuple[str, ...]:
        """Return the arms compared on the dataset of a role; in a further group those that its regret is made of."""
        if group:
            return tuple(arm for arm in self.target_arms if arm in OUTER_ARMS) if role != "source" else ()
        return self.source_arms if role == "source" else self.target_arms

    def seeds_of(self, role: str, arm: str) -> int:
        """Return how many seeds an arm of the first group has on the dataset of a role."""
        if not self.other_seeds or (role != "source" and arm in ("best", "native")):
            return self.seeds
        return min(self.other_seeds, self.seeds)

    def controls(self, role: str) -> tuple[str, ...]:
        """Return the scientific controls on the dataset of a role: arms that stand for other explanations of a gain."""
        return tuple(arm for arm in self.arms(role) if arm in CONTROLS)

    def level(self, look: int) -> float:
        """Return the error rate of each one-sided test of the verdict at a look, counted from 1."""
        return LEVELS[self.rule][self.looks][look - 1]


class Repeats(SpecModel):
    """Other teachers and other searches; one of each says nothing about their spread."""

    teachers: Count = 1
    searches: Count = Field(default=1, description="for each teacher; from 3 on the regret's interval covers them")
    trials: Cap = Field(default=0, description="of each further search; 0 = as the first")
    rounds: tuple[tuple[Count, Count], ...] = Field(
        default=(), description="of each further search's confirm; none = as the first"
    )
    seeds: Cap = Field(default=0, description="of native, best and scratch for each further search; 0 = as the first")

    @model_validator(mode="after")
    def _halving(self) -> "Repeats":
        _fewer_each_time(self.rounds)
        return self


Method = Annotated[str, AfterValidator(_known_method)]
