"""The tables of a spec, and the one place where their defaults stand."""

import itertools
import math
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from kd.baselines.methods import METHODS
from sweeps.spec.arms import AUTOKERAS_ARM, CONTROLS, OUTER_ARMS, SCALED, SOURCE_ARMS, TARGET_ARMS
from sweeps.spec.bounds import (
    LEAST_PIXELS,
    MOST_IMAGES,
    MOST_PARAMETERS,
    MOST_PIXELS,
    MOST_VIEWS,
    Cap,
    Count,
    EachOnce,
    Seconds,
    SpecModel,
)
from sweeps.spec.further import Further
from sweeps.stats.verdict import LEVELS, RULE

SAMPLERS = ("qmc", "tpe", "gp", "random")
USERS_OWN = re.compile(r"(?:[A-Za-z_][\w.]*|.*/[^/]*\.py):[A-Za-z_]\w*")

_A_NAME = re.compile(r"[^\W_][\w ()+.-]{0,63}")

Side = Annotated[int, Field(ge=LEAST_PIXELS, le=MOST_PIXELS, strict=True)]


def _range(low: float, high: float, above: bool) -> AfterValidator:
    def check(value: tuple[float, float]) -> tuple[float, float]:
        ok = all(map(math.isfinite, value)) and value[0] <= value[1] <= high
        if not ok or value[0] < low or (above and value[0] == low):
            sign = "<" if above else "<="
            raise ValueError(f"two numbers [low, high] with {low:g} {sign} low <= high <= {high:g}")
        return value

    return AfterValidator(check)


def _known_method(name: str) -> str:
    if name not in METHODS:
        near = get_close_matches(name, METHODS, n=1)
        raise ValueError((f"did you mean {near[0]}? " if near else "") + ", ".join(METHODS))
    return name


def _free_name(name: str) -> str:
    if name and not _A_NAME.fullmatch(name):
        raise ValueError("1 to 64 letters, digits, spaces and ()+-._, the first one a letter or a digit")
    return name


def _both_sides(size: tuple[int, ...]) -> tuple[int, ...]:
    if len(size) not in (0, 2):
        raise ValueError("[height, width], or [] for images that all have one size")
    return size


class DatasetSpec(SpecModel):
    """A dataset and what is trained on it."""

    dataset: str = Field(
        min_length=1, description="mnist, digits, ..., or one's own: FILE.npz, a folder of images, or ./file.py:load"
    )
    images: int = Field(
        default=0,
        ge=0,
        le=MOST_IMAGES,
        strict=True,
        description="training images, stratified by class, from the training split; 0 = all, filled in by create",
    )
    teacher: str = Field(
        description="cnn-small, ..., pretrained:NAME, baseline:autokeras, logits:FILE.npz, package.module:build"
        " or ./file.py:build"
    )
    teacher_epochs: Count
    student: str = Field(default="keras-student", description="cnn-small, ..., package.module:build or ./file.py:build")
    epochs: Count = Field(description="epochs of one student, that is of one trial")
    augment: Literal["none", "flip-crop"] = "none"
    views: int = Field(
        default=8,
        ge=1,
        le=MOST_VIEWS,
        strict=True,
        description="with flip-crop: fixed views of each image, each with its own logits",
    )
    content_hash: str = Field(default="", description="of the dataset; filled in by create, checked by every worker")
    logits_hash: str = Field(
        default="", description="of the logits of a logits:FILE.npz; filled in and checked likewise"
    )
    name: Annotated[str, AfterValidator(_free_name)] = Field(
        default="", description="of an own dataset: what it is called instead of its path"
    )
    size: Annotated[tuple[Side, ...], AfterValidator(_both_sides)] = Field(
        default=(), description="[height, width] that all images of a folder get"
    )

    @property
    def shown(self) -> str:
        """What the dataset is called wherever it is shown: its name, or what stands for it."""
        return self.name or self.dataset


def _known_sampler(name: str) -> str:
    if name not in SAMPLERS and not USERS_OWN.fullmatch(name):
        near = get_close_matches(name, SAMPLERS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(hint + ", ".join(SAMPLERS) + " or package.module:make, or ./file.py:make")
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
    space: Further = Field(
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


class Baselines(SpecModel):
    """Fixed comparison trials."""

    methods: Annotated[tuple[Method, ...], EachOnce] = Field(
        default=("autokeras", "mobilenet"), description="on the target; NAME or NAME-tuned for a pretrained network"
    )
    source_methods: Annotated[tuple[Method, ...], EachOnce] = Field(default=(), description="the same on the source")
    seconds: Seconds = Field(default=900, description="a safety net of one pretrained network, as autokeras_seconds")
    autokeras_trials: Count = 2
    autokeras_epochs: Count = 6
    autokeras_seconds: Seconds = Field(
        default=900, description="a safety net: what it cuts short says so, and differs from machine to machine"
    )
    autokeras_blocks: Annotated[tuple[Literal["vanilla", "xception", "resnet"], ...], EachOnce] = Field(
        default=("vanilla",), min_length=1
    )
    autokeras_parameters: int = Field(
        default=2_000_000, ge=1, le=MOST_PARAMETERS, strict=True, description="a larger model is not trained"
    )

    def on(self, role: str) -> tuple[str, ...]:
        """Return the methods that run on the dataset of a role."""
        return {"source": self.source_methods, "target": self.methods}.get(role, ())
