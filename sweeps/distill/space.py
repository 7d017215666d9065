"""Define ranges and defaults of T, alpha, training settings and loss parameters, and the untuned points."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from kd.losses.builtin import LOSSES
from storage.studies.space import Categorical, Range, Space, Whole
from sweeps.spec.tables import MOST
from sweeps.trainers.names import RESERVED
from sweeps.trainers.protocol import Number, Point, Value

if TYPE_CHECKING:
    from sweeps.distill.spec import KdSpec

SCALED = "best-scaled"
PAPER = "default-paper"


def _at(temperature: float, alpha: float) -> Point:
    return Point.of({"temperature": temperature, "alpha": alpha})


SCHEDULE = "schedule"  # of the learning rate: a value of a point only if the arm chooses it
LABELS_ONLY = _at(1.0, 1.0)  # alpha = 1 switches the teacher off, whatever T

# Usual untuned points (temperature, alpha), and their sources. The first one is *the* default.
DEFAULTS = {
    "default-keras": _at(3.0, 0.5),  # keras.distillation: LogitsDistillation(3.0), student_loss_weight=0.5
    "default-keras-io": _at(10.0, 0.1),  # https://keras.io/examples/vision/knowledge_distillation/
}
FIXED_POINTS = {
    **DEFAULTS,
    "scratch": LABELS_ONLY,
    "scratch-same-cost": LABELS_ONLY,
    "autokeras": LABELS_ONLY,
    "label-smoothing": _at(1.0, 0.9),  # with a teacher for which all classes are equally likely
}


@dataclass(frozen=True)
class Bounds:
    """The allowed values of a setting: low < value <= high; whole: whole numbers only."""

    low: float
    high: float
    whole: bool = False

    def __str__(self) -> str:
        kind = "whole numbers" if self.whole else "numbers"
        return f"two {kind} [low, high] with {self.low:g} < low <= high <= {self.high:g}"


TRAINING_PARAMS = {
    "learning_rate": Bounds(0, 1),
    "epochs": Bounds(0, MOST, whole=True),
    "batch_size": Bounds(0, MOST, whole=True),
}
"""The settings of a training that a search may vary."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


def _checked(space: Any) -> dict[str, tuple[Number, Number]]:
    if not isinstance(space, Mapping):
        raise ValueError("a table of ranges, such as { learning_rate = [0.001, 0.01] }")
    for name, ends in space.items():
        if name in ("temperature", "alpha"):
            raise ValueError(f"further parameters; {name} has its own key: search.{name}")
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


def ends_within(high: float, *, above_0: bool) -> AfterValidator:
    def check(value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] <= value[1] <= high or (above_0 and not value[0]):
            raise ValueError(f"two numbers [low, high] with 0 {'<' if above_0 else '<='} low <= high <= {high:g}")
        return value

    return AfterValidator(check)


def search_space(spec: "KdSpec") -> Space:
    """Return the ranges of the search, the native search and both confirms: T, alpha, then further ones by name."""
    first: Space = {
        "temperature": Range(*spec.search.temperature, log=True),
        "alpha": Range(*spec.search.alpha, log=False),
    }
    return first | {name: _range(name, *spec.search.space[name]) for name in sorted(spec.search.space)}


def untuned(spec: "KdSpec", role: str) -> dict[str, Number]:
    """Return the untuned values of the further parameters on a dataset, as in the spec."""
    part, training = spec.role(role), spec.training
    loss = LOSSES.get(training.distillation)  # None: a user's, whose parameters `create` wrote into the spec
    values: dict[str, Number] = {
        **(loss.values({}) if loss else {}),
        **training.loss_parameters,
        "learning_rate": training.learning_rate,
        "epochs": part.epochs,
        "batch_size": training.batch_size,
    }
    return {name: values[name] for name in sorted(spec.search.space)}


def of_paper(spec: "KdSpec", role: str) -> Point:
    loss = LOSSES[spec.training.distillation]
    own = {name: value for name, value in loss.values({}).items() if name in spec.search.space}
    point = {"temperature": loss.default_temperature, "alpha": loss.default_alpha}
    return Point.of(point | untuned(spec, role) | own)


# Factors of the spec's learning rate, which was chosen for distilled students, like its schedule. Without a teacher
# MNIST and CIFAR-10 are best with cosine at 1 to 2 times that rate, the digits with averaging at 1 or 2 times
# (bench/results/recipe.md, "a recipe of its own"); averaging at half comes next on CIFAR-10.
_FACTORS: Mapping[str, Sequence[float]] = {"cosine": (1, 1.5, 2), "average": (0.5, 1, 2)}


def recipes(spec: "KdSpec", role: str) -> tuple[Point, ...]:
    """Return the candidate recipes for training on labels only, first the spec's."""
    own, without = spec.training, LABELS_ONLY.as_dict() | untuned(spec, role)
    pairs = [(schedule, own.learning_rate * factor) for schedule, factors in _FACTORS.items() for factor in factors]
    pairs = [(schedule, min(rate, TRAINING_PARAMS["learning_rate"].high)) for schedule, rate in pairs]
    return tuple(
        Point.of(without | {"learning_rate": rate, SCHEDULE: schedule})
        for schedule, rate in dict.fromkeys([(own.schedule, own.learning_rate), *pairs])
    )


def of_training(point: Point) -> dict[str, Value]:
    return {name: value for name, value in point.values if name in TRAINING_PARAMS}


def transfer_space(spec: "KdSpec") -> Space:
    # A default such as T=10 may lie outside the searched range.
    named = spec.raced == PAPER or any(PAPER in spec.arms(role) for role in spec.roles)
    papers = [of_paper(spec, role) for role in spec.roles] if named else []
    recipe_points = [point for role in spec.roles for point in spec.candidates(role)]
    fixed_points = [*FIXED_POINTS.values(), *papers]
    (t_low, t_high), (a_low, a_high) = spec.search.temperature, spec.search.alpha
    temperatures = [t_low, t_high, *(point["temperature"] for point in fixed_points)]
    alphas = [a_low, a_high, *(point["alpha"] for point in fixed_points)]
    wider = 20.0 if any(SCALED in spec.arms(role) for role in spec.roles) else 1.0  # teachers' spreads differ by less
    space: Space = {
        "temperature": Range(min(temperatures) / wider, max(temperatures) * wider, log=True),
        "alpha": Range(min(alphas), max(alphas), log=False),
    }
    for name in sorted(spec.search.space):
        low, high = spec.search.space[name]
        fixed = [untuned(spec, role)[name] for role in spec.roles]
        fixed += [point[name] for point in (*papers, *recipe_points)]
        if name == "batch_size":
            space[name] = Categorical(tuple(sorted({*_powers(int(low), int(high)), *fixed})))
        else:
            space[name] = _range(name, min(low, *fixed), max(high, *fixed))
    return space


def _range(name: str, low: Number, high: Number) -> Range | Whole | Categorical:
    if name == "batch_size":  # few sizes, because each is compiled
        return Categorical(_powers(int(low), int(high)))
    if name == "epochs":
        return Whole(int(low), int(high))
    return Range(float(low), float(high), log=low > 0)


def _powers(low: int, high: int) -> tuple[int, ...]:
    return tuple(low * 2**power for power in range(int(math.log2(high / low)) + 1))
