"""Recorded surfaces, and accuracies drawn from them.

A surface is the validation accuracy of one student on a grid of (temperature, alpha) and seeds: a CSV with a line for
each training, below `# key: value` lines that give its origin:

    temperature,alpha,seed,epoch_1,epoch_2
    1,0,0,0.9012,0.9344

The mean of a surface is smoothed. A seed adds a field with the sample covariance of the recorded seeds, and each
training adds white noise.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.interpolate import RegularGridInterpolator

Array: TypeAlias = npt.NDArray[np.float64]
Choice: TypeAlias = npt.NDArray[np.intp]
"""Index of the point that each search chose, shape (sweeps * searches,)."""

_LEFT = 1 - 2 * (1 / 4) + (6 / 16) ** 2  # share of white noise's variance that is left without its smoothed part


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
    """The distribution of accuracies on a dataset, in points.

    Attributes:
        axes: log temperatures and alphas of the cells.
        mean: shape (t, a).
        fields: shape (seeds, t, a); a seed adds their sum with standard normal weights.
        noise: sd that a single training adds.
    """

    axes: tuple[Array, Array]
    mean: Array
    fields: Array
    noise: float

    def trained(self, places: Array, seeds: int, rng: np.random.Generator) -> Array:
        """Draw accuracies, shape (sweeps, places, seeds); all places of a sweep share the seeds.

        places: log temperature and alpha, shape (sweeps, places, 2).
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
    """Estimate the distribution from a recorded surface. Cells at alpha = 1, labels alone, are not smoothed."""
    accuracies = 100 * surface.last
    mean = accuracies.mean(axis=0)
    apart = (accuracies - mean) / np.sqrt(len(accuracies) - 1)
    fields = _smoothed(apart)
    rough = (apart - fields)[..., :-1]
    noise = np.sqrt((rough**2).sum(axis=0).mean() / _LEFT)
    return World((np.log(surface.temperatures), surface.alphas), _smoothed(mean[None])[0], fields, float(noise))


def _smoothed(values: Array) -> Array:
    """Smooth with weights 1, 2, 1 along both axes, except at the last alpha, where temperature has no effect."""
    inner = np.pad(values[..., :-1], ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (inner[:, :-2] + 2 * inner[:, 1:-1] + inner[:, 2:]) / 4
    columns = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4
    return np.concatenate([columns, values[..., -1:]], axis=-1)
