"""Searches on a recorded surface: samplers and confirms, and how far below the best their choices lie.

A replay draws which seeds of the surface the searcher may see. A training at a point with a seed is worth the accuracy
of that seed, interpolated between the cells. What is chosen is then worth the mean of the other seeds.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias, TypeVar

import numpy as np

from storage.studies.sampler import Past, propose
from support.surfaces import Array, Surface, interpolate
from sweeps.plan.points import search_space
from sweeps.plan.seeds import derive
from sweeps.plan.stage_tasks import sobol_points
from sweeps.spec.model import Spec, override
from sweeps.spec.point import Point
from sweeps.spec.presets import preset
from sweeps.stats.estimates import Estimate, estimate

BUDGETS = (29, 60, 150)  # trainings of one search with its confirm
TRUTH = 4  # seeds that no searcher sees
FLOOR = "knows the truth"

P = TypeVar("P", bound=Hashable)
"""A point, or the number of one."""


@dataclass(frozen=True)
class Sampler:
    """How points are proposed. name, lag: of `search.sampler` and `search.lag`; the lag of qmc changes nothing.

    confirms: those that it is compared with.
    """

    name: str
    lag: int = 1
    confirms: tuple[str, ...] = ("3 x 3", "5 x 2", "halving")

    def __str__(self) -> str:
        """As a row of the table begins."""
        names = {"qmc": "Sobol", "tpe": "Sobol half, then TPE", "gp": "Sobol half, then GP", "random": "random"}
        return names[self.name] + (f", lag {self.lag}" if self.name in ("tpe", "gp") else "")

    def search(self, spec: Spec, trials: int, score: Callable[[Point], float]) -> list[tuple[Point, float]]:
        """Return so many points with their scores, as a sweep proposes them."""
        planned = override(
            spec, {"search.sampler": self.name, "search.trials": trials, "confirm.top": 1}
        ).search.planned
        points = sobol_points(spec, planned)
        scores = [score(point) for point in points]
        for number in range(planned, trials):
            known = max(0, number + 1 - self.lag)
            history = [Past(point.as_dict(), value) for point, value in zip(points[:known], scores, strict=False)]
            history += [Past(point.as_dict(), None, running=True) for point in points[known:]]
            seed = derive(spec.seed, "sampler", "search", number)
            points.append(Point(**propose(search_space(spec), history, sampler=self.name, seed=seed)))
            scores.append(score(points[-1]))
        return list(zip(points, scores, strict=True))


@dataclass(frozen=True)
class Confirm:
    """How the best points are trained again. rounds: as in `confirm.rounds`."""

    rounds: tuple[tuple[int, int], ...]

    @property
    def trainings(self) -> int:
        """All of them."""
        return sum(points * seeds for points, seeds in self.rounds)

    def choose(self, searched: Sequence[tuple[P, float]], score: Callable[[P, int], float]) -> P:
        """Return the point with the best mean over its fresh seeds after the last round.

        Args:
            score: accuracy at a point with a seed: 0 is the search's own, 1 and more are fresh.
        """
        left = [point for point, _ in sorted(searched, key=lambda one: -one[1])]
        fresh: dict[P, list[float]] = {point: [] for point in left}
        before = 0
        for points, seeds in self.rounds:
            left = list(dict.fromkeys(left))[:points]
            for point in left:
                fresh[point] += [score(point, 1 + before + seed) for seed in range(seeds)]
            before += seeds
            left = sorted(left, key=lambda point: -np.mean(fresh[point]))
        return left[0]


# By budget. Halving: about 45 % of the budget on the first points, and all survivors share every new seed.
CONFIRMS: Mapping[str, Mapping[int, Confirm]] = {
    "3 x 3": {budget: Confirm(((3, 3),)) for budget in BUDGETS},
    "5 x 2": {budget: Confirm(((5, 2),)) for budget in BUDGETS},
    "halving": {
        29: Confirm(((6, 1), (3, 2), (2, 2))),
        60: Confirm(((13, 1), (6, 2), (2, 4))),
        150: Confirm(((40, 1), (16, 2), (4, 4))),
    },
}
SAMPLERS = (Sampler("qmc"), Sampler("random"), Sampler("tpe", 1), Sampler("tpe", 4), Sampler("tpe", 8))
WITH_TORCH = (Sampler("gp", 8, ("halving",)),)  # a search of it takes half a minute: only with the confirm that wins


@dataclass(frozen=True)
class Replay:
    """One searcher's share of a surface: which seeds it sees, and the seed of its sampler."""

    surface: Surface
    number: int

    @cached_property
    def _order(self) -> list[int]:
        return list(np.random.default_rng((7, self.number)).permutation(self.surface.seeds))

    @cached_property
    def truth(self) -> Array:
        """Mean accuracy of each cell over the seeds that the searcher does not see, shape (t, a)."""
        values: Array = self.surface.last[self._order[:TRUTH]].mean(axis=0)
        return values

    @property
    def spec(self) -> Spec:
        """A spec that searches exactly over the surface."""
        ranges = {
            f"search.{name}": [float(axis[0]), float(axis[-1])]
            for name, axis in {"temperature": self.surface.temperatures, "alpha": self.surface.alphas}.items()
        }
        return override(preset("quick"), {"seed": self.number, **ranges})

    def score(self, point: Point, seed: int) -> float:
        """Accuracy at a point with one of the seeds that the searcher sees."""
        seen = self.surface.last[self._order[TRUTH + seed]]
        return interpolate(self.surface, seen, temperature=point.temperature, alpha=point.alpha)

    def regret(self, point: Point) -> float:
        """Return how many points of accuracy a point lies below the best cell, both on the seeds that were not seen."""
        worth = interpolate(self.surface, self.truth, temperature=point.temperature, alpha=point.alpha)
        return 100 * float(self.truth.max() - worth)

    def floor(self) -> float:
        """Return the regret of who knows the mean of all seeds: the best of many noisy cells is never reached."""
        row, column = np.unravel_index(int(self.surface.last.mean(axis=0).argmax()), self.truth.shape)
        return self.regret(Point(float(self.surface.temperatures[row]), float(self.surface.alphas[column])))


Row: TypeAlias = tuple[str, str]
"""A sampler and a confirm, as the table names them."""


def replay(surface: Surface, samplers: Sequence[Sampler], *, number: int) -> dict[int, dict[Row, float]]:
    """Return the regret of every sampler with every confirm, and the floor, by budget."""
    found: dict[int, dict[Row, float]] = {}
    one = Replay(surface, number)
    for budget in BUDGETS:
        found[budget] = {(FLOOR, ""): one.floor()}
        for sampler in samplers:
            for name in sampler.confirms:
                confirm = CONFIRMS[name][budget]
                searched = sampler.search(one.spec, budget - confirm.trainings, lambda point: one.score(point, 0))
                found[budget][str(sampler), name] = one.regret(confirm.choose(searched, one.score))
    return found


def mean(values: Sequence[float]) -> Estimate:
    """Mean over the replays with its 95 % interval."""
    found = estimate(values)
    assert found is not None
    return found
