"""Recorded surfaces, and whole sweeps of preset quick of rule 2 drawn from them.

A surface is the validation accuracy of one student on a grid of (temperature, alpha) and seeds: CSV below a header of
`# key: value` lines that say where the numbers come from, one line per training:

    temperature,alpha,seed,epoch_1,epoch_2
    1,0,0,0.9012,0.9344

The mean of a surface is smoothed; a seed adds to it what has the sample covariance of the recorded seeds; each training
adds white noise. A sweep searches both datasets, then trains the arms. Both searches try the same points, so `best` may
be `native`: the same trainings, a regret of 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.interpolate import RegularGridInterpolator

from sweeps.distill.presets import preset
from sweeps.plan.plan import sobol_points
from sweeps.spec.model import Spec, override
from sweeps.spec.tables import Group
from sweeps.stats.verdict import Arms

FOLDER = Path(__file__).resolve().parents[1] / "results"
Array: TypeAlias = npt.NDArray[np.float64]
Choice: TypeAlias = npt.NDArray[np.intp]
"""The number of the point that a search of each sweep chose, shape (sweeps,)."""

DESIGN: Mapping[str, object] = {
    "search.trials": 10,
    "confirm.rounds": [[4, 1], [2, 2]],
    "transfer.seeds": 8,
    "transfer.other_seeds": 6,
    "outer.trials": 8,
    "outer.rounds": [[3, 1]],
    "outer.seeds": 4,
}
"""What preset quick was about a search as long as sweeps declared rule 2."""
STEPS = 12  # towards a planted regret; each halves what is left
_LEFT = 1 - 2 * (1 / 4) + (6 / 16) ** 2  # of the variance of white noise, once its smoothed part is taken off


@dataclass(frozen=True, eq=False)
class Surface:
    """One recorded surface.

    Attributes:
        temperatures: shape (t,), rising, > 0.
        alphas: shape (a,), rising, in [0, 1]; the weight of the labels.
        last: accuracy after the last epoch, fractions, shape (seeds, t, a); every cell has the same seeds.
    """

    temperatures: Array
    alphas: Array
    last: Array


def read_surface(path: Path) -> Surface:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    cells = np.array([line.split(",") for line in lines[1:]], float)
    temperatures, alphas, seeds = (np.unique(cells[:, column]) for column in range(3))
    ordered = cells[np.lexsort((cells[:, 1], cells[:, 0], cells[:, 2]))]
    return Surface(temperatures, alphas, ordered[:, -1].reshape(len(seeds), len(temperatures), len(alphas)))


@dataclass(frozen=True, eq=False)
class World:
    """What accuracies on a dataset are drawn from; points of accuracy.

    Attributes:
        axes: log temperatures and alphas of the cells.
        mean: shape (t, a).
        fields: shape (seeds, t, a); a seed adds their sum, each weighted by a standard normal number of its own.
        noise: sd of what a single training adds.
    """

    axes: tuple[Array, Array]
    mean: Array
    fields: Array
    noise: float

    def trained(self, places: Array, seeds: int, rng: np.random.Generator) -> Array:
        """Draw accuracies with so many seeds, which all places of a sweep share, shape (sweeps, places, seeds).

        Places are log temperature and alpha, shape (sweeps, places, 2).
        """
        weights = rng.standard_normal((len(places), len(self.fields), seeds))
        own = self.noise * rng.standard_normal((*places.shape[:2], seeds))
        accuracies: Array = self.expected(places)[..., None] + self._at(places, self.fields) @ weights + own
        return accuracies

    def expected(self, places: Array) -> Array:
        """Return the true mean accuracies at places, shape (sweeps, places)."""
        return self._at(places, self.mean[None])[..., 0]

    def _at(self, places: Array, values: Array) -> Array:
        between: Array = RegularGridInterpolator(self.axes, values.transpose(1, 2, 0))(places)
        return between


def world(surface: Surface) -> World:
    """What the recorded runs of a surface tell of its dataset. At alpha = 1, the labels alone, nothing is smoothed."""
    accuracies = 100 * surface.last
    mean = accuracies.mean(axis=0)
    apart = (accuracies - mean) / np.sqrt(len(accuracies) - 1)
    fields = _smoothed(apart)
    rough = (apart - fields)[..., :-1]
    noise = np.sqrt((rough**2).sum(axis=0).mean() / _LEFT)
    return World((np.log(surface.temperatures), surface.alphas), _smoothed(mean[None])[0], fields, float(noise))


def _smoothed(values: Array) -> Array:
    """Weights 1, 2, 1 along both axes of the cells; the last alpha, which no temperature changes, stays."""
    inner = np.pad(values[..., :-1], ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (inner[:, :-2] + 2 * inner[:, 1:-1] + inner[:, 2:]) / 4
    columns = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4
    return np.concatenate([columns, values[..., -1:]], axis=-1)


@dataclass(frozen=True, eq=False)
class Search:
    """One search of every sweep, on either dataset. places: its points and, last, labels alone."""

    spec: Spec
    places: Array
    seed: tuple[int, int]

    def chosen(self, dataset: World, stream: int) -> Choice:
        """What the search and its confirm choose; of the same stream with the same luck."""
        rounds = self.spec.confirm.rounds
        seeds = 1 + sum(fresh for _, fresh in rounds)  # the search's own first
        places, rng = self.places[:, : self.spec.search.planned], np.random.default_rng((*self.seed, stream))
        scores = dataset.trained(places, seeds, rng)
        return np.array([confirmed(rounds, rows) for rows in scores.tolist()])


def confirmed(rounds: Sequence[tuple[int, int]], scores: Sequence[Sequence[float]]) -> int:
    """Return the number of the point with the best mean over its fresh seeds after the last of `confirm.rounds`.

    Scores are of each point: the search's own seed first, then the fresh ones.
    """
    left = sorted(range(len(scores)), key=lambda point: -scores[point][0])
    after = 1
    for points, seeds in rounds:
        after += seeds
        left = sorted(left[:points], key=lambda point: -np.mean(scores[point][1:after]))
    return left[0]


class Sweeps:
    """Sweeps of preset quick as it was. Their points and all of the target are drawn once, for every source.

    Attributes:
        target: where the regret is.
        native: what each search chose there.
        gain: true points of native over labels alone, the mean over sweeps and searches.
    """

    def __init__(self, target: World, *, sweeps: int, searches_each: int, seed: int) -> None:
        self.target = target
        spec = override(preset("quick"), {**DESIGN, "outer.searches": searches_each})
        self._searches = [
            Search(spec.for_group(group), _places(spec, group, sweeps), (seed, number))
            for number, group in enumerate(spec.searches)
        ]
        self.native = [search.chosen(target, 0) for search in self._searches]
        self._tests = [
            target.trained(search.places, search.spec.transfer.seeds, np.random.default_rng((*search.seed, 1)))
            for search in self._searches
        ]
        self._expected = [target.expected(search.places) for search in self._searches]
        pairs = zip(self._expected, self.native, strict=True)
        self.gain = float(np.mean([_of(values, chosen) - values[:, -1] for values, chosen in pairs]))

    def best(self, source: World, *, first: int | None = None) -> list[Choice]:
        """What each search chooses on a source, or so many of the first searches."""
        return [search.chosen(source, 2) for search in self._searches[:first]]

    def regrets(self, best: Sequence[Choice]) -> Array:
        """The true regret of each of these searches in each sweep, points, shape (sweeps, searches)."""
        chosen = zip(self._expected, self.native, best, strict=False)
        return np.stack([_of(values, native) - _of(values, other) for values, native, other in chosen], axis=1)

    def arms(self, best: Sequence[Choice], sweep: int) -> list[Arms]:
        """The test accuracies of each search of a sweep: those of the same point and seed are the same."""
        by_search: list[Arms] = []
        for search, tests, native, other in zip(self._searches, self._tests, self.native, best, strict=True):
            accuracies, transfer = tests[sweep].tolist(), search.spec.transfer
            rows = {"native": accuracies[native[sweep]], "best": accuracies[other[sweep]]}
            rows["scratch"] = accuracies[-1][: transfer.seeds_of("target", "scratch")]
            by_search.append({arm: dict(enumerate(row)) for arm, row in rows.items()})
        return by_search


def planted(sweeps: Sweeps, source: World, regret: float, *, first: int) -> World:
    """The source with another mean, so that so many first searches of the sweeps lose the wanted regret on average.

    The mean is mixed with that of the target for a smaller regret, with its own mirror image in alpha for a larger one;
    a share above 1 of the image leaves less than nothing of the mean itself.
    """
    larger = regret > _lost(sweeps, source, first)
    other, low, high = (source.mean[:, ::-1], 0.0, 3.0) if larger else (sweeps.target.mean, 0.0, 1.0)
    for _ in range(STEPS):
        middle = (low + high) / 2
        beyond = (_lost(sweeps, _mixed(source, other, middle), first) > regret) == larger
        low, high = (low, middle) if beyond else (middle, high)
    return _mixed(source, other, (low + high) / 2)


def _lost(sweeps: Sweeps, source: World, first: int) -> float:
    return float(sweeps.regrets(sweeps.best(source, first=first)).mean())


def _mixed(source: World, other: Array, share: float) -> World:
    return replace(source, mean=(1 - share) * source.mean + share * other)


def _places(spec: Spec, group: Group, sweeps: int) -> Array:
    count = spec.for_group(group).search.planned
    points = [sobol_points(spec.model_copy(update={"seed": number}), count, group) for number in range(sweeps)]
    places = np.array([[(np.log(point["temperature"]), point["alpha"]) for point in row] for row in points])
    return np.concatenate([places, np.broadcast_to((0.0, 1.0), (sweeps, 1, 2))], axis=1)


def _of(values: Array, chosen: Choice) -> Array:
    picked: Array = np.take_along_axis(values, chosen[:, None], axis=1)[:, 0]
    return picked
