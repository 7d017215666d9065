"""Sweeps of rule 3 drawn from the recorded surfaces, all at once: the test accuracies of each strategy.

Every search tries the same points on both datasets, and its confirm also trains the untuned default on the same seeds.
So here, elsewhere and the default may be one point, with the same trainings. Effects are planted without new noise: the
target's default is shifted, the source's mean is mixed with another one, and the untreated arm is shifted last.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from support.page import FOLDER
from support.surfaces import Array, Choice, World, read_surface, world
from sweeps.distill.presets import preset
from sweeps.distill.space import FIXED_POINTS
from sweeps.plan.plan import sobol_points
from sweeps.stats.advice import Use

POINT_SETS = 2048  # seeds of scrambled Sobol points; each search of a sweep has one of these sets
STEPS = 30  # of a bisection
DEFAULT, SECOND, UNTREATED = 0, 1, 2  # columns behind those of the searched points
_FIXED = ("default-keras", "default-keras-io", "scratch")

# Six recipes without a teacher on CIFAR-10, 4,000 images x 12 epochs: points of validation below the best of them, and
# the sd that a training has for itself: two of a seed differ by 0.8 (bench/results/recipe.csv). Each is trained once,
# and the best three once more.
RECIPES = (0.0, 0.78, 1.48, 1.73, 1.91, 2.42)
RECIPE_SD, KEPT_RECIPES = 0.57, 3


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is planted; None: as recorded.

    default, elsewhere: the true loss of each, in margins. gain: of tuning here, points. margin: points, or 0 for a
    share of the gain. second: how one of two equally good defaults is chosen: by "validation", or by "test", which a
    sweep never does. recipes: whether validation chose the recipe of the untreated arm.
    """

    default: float | None = None
    elsewhere: float | None = None
    gain: float | None = None
    margin: float = 0.0
    second: str = ""
    recipes: bool = False


@dataclass(frozen=True, eq=False)
class Drawn:
    """Sweeps on one target. runs: test accuracies by strategy, shape (sweeps, searches, seeds).

    true: their expectations, shape (sweeps, searches).
    """

    runs: Mapping[Use, Array]
    true: Mapping[Use, Array]

    def lost(self, strategy: Use) -> Array:
        """Return the true loss against tuning here, points, shape (sweeps, searches)."""
        lost: Array = self.true["here"] - self.true[strategy]
        return lost

    def first(self, searches: int) -> "Drawn":
        """Return the same sweeps with fewer searches."""
        runs, true = ({use: rows[:, :searches] for use, rows in values.items()} for values in (self.runs, self.true))
        return Drawn(runs, true)


class Stage:
    """Sweeps before anything is planted: the noise of a dataset is drawn once, for all effects."""

    def __init__(self, source: str, target: str, *, sweeps: int, searches: int, seed: int) -> None:
        self.sweeps, self.searches = sweeps, searches
        self.spec = preset("quick")
        self.rounds, self.trials = self.spec.confirm.rounds, self.spec.search.trials
        self._seeds = 1 + sum(fresh for _, fresh in self.rounds)  # the search's own first
        points = _point_sets(min(POINT_SETS, sweeps * searches))
        self._places = points[np.random.default_rng((seed, 50)).integers(len(points), size=sweeps * searches)]
        self._source, self._target = (_world(name) for name in (source, target))
        self._source_mean, self._target_mean = (data.expected(self._places) for data in (self._source, self._target))
        mirrored = replace(self._source, mean=self._source.mean[:, ::-1])
        self._mirrored_mean = mirrored.expected(self._places)
        self._seed, self._drawn = seed, dict[int, Array]()
        self._source_noise = self._noise(self._source, self._seeds, 0)

    def draw(self, wanted: Wanted, *, target: int = 0, share: float) -> Drawn:
        """Draw the sweeps on one of several equal targets with independent noise. share: the margin, of the gain."""
        below = self._recipes() if wanted.recipes else np.zeros(len(self._places))
        shifts, noise = np.zeros(3), self._noise(self._target, self._seeds, 10 + target)

        def shifted() -> tuple[Array, Choice, float]:
            # The true mean of every point, the point tuned here, and the margin in points.
            mean = self._target_mean.copy()
            mean[:, self.trials :] += shifts
            here = self._chosen(noise, mean)
            gain = float((_of(mean, here) - mean[:, self.trials + UNTREATED] + below).mean())
            return mean, here, wanted.margin or share * (gain if wanted.gain is None else wanted.gain)

        if wanted.default is not None:
            low, high = -8.0, 8.0
            for _ in range(STEPS):
                shifts[DEFAULT] = middle = (low + high) / 2
                mean, here, allowed = shifted()
                lost = float((_of(mean, here) - mean[:, self.trials + DEFAULT]).mean())
                low, high = (middle, high) if lost > wanted.default * allowed else (low, middle)
            shifts[DEFAULT] = low  # the wanted loss, or slightly more
        if wanted.second:
            first, second = self._target_mean[:, [self.trials + DEFAULT, self.trials + SECOND]].mean(axis=0)
            shifts[SECOND] = shifts[DEFAULT] + first - second
        mean, here, allowed = shifted()
        elsewhere = self._elsewhere(wanted, mean, here, allowed)
        if wanted.gain is not None:
            shifts[UNTREATED] = float((_of(mean, here) - mean[:, self.trials + UNTREATED]).mean()) - wanted.gain
            mean, here, _ = shifted()
        tests = mean[..., None] + self._noise_of_arms(20 + target)
        chosen: dict[Use, Choice] = {
            "here": here,
            "elsewhere": elsewhere,
            "default": self._default(wanted, mean, tests, target),
            "untreated": np.full_like(here, self.trials + UNTREATED),
        }
        runs = {use: np.take_along_axis(tests, points[:, None, None], 1)[:, 0] for use, points in chosen.items()}
        true = {use: _of(mean, points) for use, points in chosen.items()}
        runs["untreated"], true["untreated"] = runs["untreated"] - below[:, None], true["untreated"] - below
        by_sweep = self.sweeps, self.searches
        return Drawn(
            {use: values.reshape(*by_sweep, -1) for use, values in runs.items()},
            {use: values.reshape(by_sweep) for use, values in true.items()},
        )

    def _elsewhere(self, wanted: Wanted, mean: Array, here: Choice, allowed: float) -> Choice:
        def at(share: float, other: Array) -> Choice:
            return self._chosen(self._source_noise, (1 - share) * self._source_mean + share * other)

        def lost(points: Choice) -> float:
            return float((_of(mean, here) - _of(mean, points)).mean())

        recorded = at(0.0, self._source_mean)
        if wanted.elsewhere is None:
            return recorded
        goal = wanted.elsewhere * allowed
        larger = goal > lost(recorded)
        other, low, high = (self._mirrored_mean, 0.0, 10.0) if larger else (self._target_mean, 0.0, 1.0)
        for _ in range(STEPS):
            middle = (low + high) / 2
            low, high = (low, middle) if (lost(at(middle, other)) > goal) == larger else (middle, high)
        return at(high if larger else low, other)  # the wanted loss, or slightly more

    def _default(self, wanted: Wanted, mean: Array, tests: Array, target: int) -> Choice:
        first = np.full(len(mean), self.trials + DEFAULT)
        if not wanted.second:
            return first
        values = tests
        if wanted.second == "validation":
            values = mean[..., None] + self._noise_of_arms(30 + target)
        both = values[:, [self.trials + DEFAULT, self.trials + SECOND]].mean(axis=-1)
        better = both.reshape(self.sweeps, self.searches, 2).mean(axis=1).argmax(axis=1)
        chosen: Choice = first + np.repeat(better, self.searches)
        return chosen

    def _recipes(self) -> Array:
        """Return how far the recipe chosen by validation is below the best one, the same in all searches of a sweep."""
        rng, below = np.random.default_rng((self._seed, 40)), np.array(RECIPES)
        first, second = rng.normal(0, RECIPE_SD, (2, self.sweeps, len(RECIPES))) - below
        left = np.argsort(-first, axis=1)[:, :KEPT_RECIPES]
        means = np.take_along_axis(first + second, left, 1)
        chosen = np.take_along_axis(left, means.argmax(axis=1)[:, None], 1)[:, 0]
        return np.repeat(below[chosen], self.searches)

    def _chosen(self, noise: Array, mean: Array) -> Choice:
        """Return the point that each search and its confirm choose: the best mean on fresh seeds, default included."""
        scores = mean[:, : self.trials + 1, None] + noise
        left = np.argsort(-scores[:, : self.trials, 0], axis=1, kind="stable")
        after = 1
        for points, fresh in self.rounds:
            left, after = left[:, :points], after + fresh
            means = np.take_along_axis(scores, left[..., None], 1)[..., 1:after].mean(axis=-1)
            order = np.argsort(-means, axis=1, kind="stable")
            left, means = np.take_along_axis(left, order, 1), np.take_along_axis(means, order, 1)
        default = scores[:, self.trials, 1:after].mean(axis=-1)
        chosen: Choice = np.where(default > means[:, 0], self.trials, left[:, 0])
        return chosen

    def _noise_of_arms(self, stream: int) -> Array:
        return self._noise(self._target, self.spec.transfer.seeds, stream, points=self.trials + len(_FIXED))

    def _noise(self, dataset: World, seeds: int, stream: int, *, points: int = 0) -> Array:
        if stream not in self._drawn:
            places, rng = self._places[:, : points or self.trials + 1], np.random.default_rng((self._seed, stream))
            self._drawn[stream] = dataset.trained(places, seeds, rng) - dataset.expected(places)[..., None]
        return self._drawn[stream]


def _of(values: Array, points: Choice) -> Array:
    picked: Array = np.take_along_axis(values, points[:, None], axis=1)[:, 0]
    return picked


@lru_cache(maxsize=4)
def _world(name: str) -> World:
    return world(read_surface(FOLDER / f"surface-{name}.csv"))


@lru_cache(maxsize=1)
def _point_sets(count: int) -> Array:
    """Return the points of many searches, then the fixed ones, shape (searches, points, 2)."""
    spec, fixed = preset("quick"), [FIXED_POINTS[name] for name in _FIXED]
    rows = []
    for seed in range(count):
        points = [*sobol_points(spec.model_copy(update={"seed": seed}), spec.search.trials), *fixed]
        rows.append([(np.log(point["temperature"]), point["alpha"]) for point in points])
    return np.array(rows)
