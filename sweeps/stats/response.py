"""Gaussian process over a surface; how much of it is as good as its top.

A search trains its points with one seed, and what a seed adds is itself a smooth function of the point: one search
alone sees that function as well as the surface. Several searches with seeds of their own tell the two apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from sweeps.stats.top import SIDE, Run, Top

Array: TypeAlias = npt.NDArray[np.float64]

# A point that loses less than this share of the standard deviation of one run is as good as the best.
TOLERANCE = 0.5

_LENGTHS = tuple(product((0.5, 1.0, 2.0), repeat=2))  # of the box, whose sides are 2 long
_SURFACE = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # variance of the surface, in variances of the noise
_SEED = (0.0, 0.3, 1.0, 3.0, 10.0)  # variance of what a seed adds to the surface, likewise
_OFFSET = 100.0  # variance of what a seed adds everywhere alike: large, so that it says nothing about a point
_WITHIN = 3.0  # log likelihood: fits that are worse than the best one by more are left out
_DRAWS = 400
_RANDOM_SEED = 20230  # the same runs give the same words


def top(runs: Sequence[Run]) -> Top:
    """Fit the surface, and compare every point of the box with the best one.

    A Gaussian process whose hyperparameters are averaged over a grid, by their likelihood: score = surface + what the
    seed adds everywhere + what the seed adds there + noise. Source: Rasmussen & Williams 2006, "Gaussian Processes for
    Machine Learning", sections 2.2 and 5.2.

    Args:
        runs: of nested.FEWEST_SEARCHES searches or more, each with a seed of its own, every seed at two points or more.
    """
    with threadpool_limits(1):  # hundreds of small matrices: beside busy workers, more threads take five times as long
        return _top(_Data(runs))


def _top(data: "_Data") -> Top:
    fits = [fit for lengths in _LENGTHS for fit in _fits(data, lengths)]
    fits.sort(key=lambda fit: -fit.likelihood)
    kept = [fit for fit in fits if fit.likelihood > fits[0].likelihood - _WITHIN]
    weights = np.exp([fit.likelihood - fits[0].likelihood for fit in kept])
    weights /= weights.sum()
    posteriors = [_posterior(data, fit) for fit in kept]
    surfaces = [weight * surface for weight, (surface, _) in zip(weights, posteriors, strict=True)]
    mean: Array = sum(surfaces, np.zeros(SIDE**2))
    tolerance = TOLERANCE * float(weights @ [fit.run_sd for fit in kept])
    draws = _draws(posteriors, weights)
    losses = draws[:, [int(mean.argmax())]] - draws
    low, middle, high = np.quantile((losses < tolerance).mean(axis=1), [0.025, 0.5, 0.975])
    rows = tuple(tuple(map(float, row)) for row in mean.reshape(SIDE, SIDE))
    return Top(float(middle), float(low), float(high), tolerance, rows)


class _Data:
    def __init__(self, runs: Sequence[Run]) -> None:
        scores = np.array([run.score for run in runs])
        seeds = np.array([run.seed for run in runs])
        points = np.array([(run.x, run.y) for run in runs])
        side = (np.arange(SIDE) + 0.5) / SIDE  # the centres of the cells
        box = np.array(list(product(side, side)))
        self.scores: Array = scores - scores.mean()
        self.same_seed: Array = (seeds[:, None] == seeds[None]).astype(float)
        self.among = _squares(points, points)
        self.across = _squares(box, points)
        self.box = _squares(box, box)


@dataclass(frozen=True)
class _Fit:
    lengths: tuple[float, ...]
    surface: float
    seed: float
    noise: float
    likelihood: float

    @cached_property
    def run_sd(self) -> float:
        """Standard deviation of one run at one point, what its seed adds everywhere left out."""
        return float(np.sqrt(self.noise * (1 + self.seed)))


def _fits(data: _Data, lengths: tuple[float, ...]) -> list[_Fit]:
    """Fit the noise for given lengths and each of the other hyperparameters; its likelihood is maximal there."""
    kernel, n, fits = _kernel(data.among, lengths), len(data.scores), []
    for surface, seed in product(_SURFACE, _SEED):
        factor = np.linalg.cholesky(_covariance(data, kernel, surface, seed))
        white = np.linalg.solve(factor, data.scores)
        noise = max(float(white @ white) / n, 1e-12)  # all scores alike: no noise at all
        likelihood = -0.5 * n * np.log(noise) - np.log(np.diag(factor)).sum()
        fits.append(_Fit(lengths, surface, seed, noise, float(likelihood)))
    return fits


def _posterior(data: _Data, fit: _Fit) -> tuple[Array, Array]:
    """Return mean and covariance of the surface on the grid."""
    across = fit.surface * _kernel(data.across, fit.lengths)
    among = _covariance(data, _kernel(data.among, fit.lengths), fit.surface, fit.seed)
    solved = np.linalg.solve(among, np.column_stack([data.scores, across.T]))
    covariance = fit.noise * (fit.surface * _kernel(data.box, fit.lengths) - across @ solved[:, 1:])
    return across @ solved[:, 0], covariance


def _covariance(data: _Data, kernel: Array, surface: float, seed: float) -> Array:
    """Return the covariance of the scores, in variances of the noise; kernel: of the runs among each other."""
    covariance: Array = surface * kernel + (seed * kernel + _OFFSET) * data.same_seed + np.eye(len(kernel))
    return covariance


def _draws(posteriors: Sequence[tuple[Array, Array]], weights: Array) -> Array:
    rng = np.random.default_rng(_RANDOM_SEED)
    draws = []
    for (mean, covariance), count in zip(posteriors, rng.multinomial(_DRAWS, weights), strict=True):
        if count:
            # By eigenvalues: rounding makes some of a smooth kernel's negative, which Cholesky refuses.
            values, vectors = np.linalg.eigh(covariance)
            normal = rng.standard_normal((count, len(mean)))
            draws.append(mean + (normal * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
    return np.concatenate(draws)


def _squares(first: Array, second: Array) -> Array:
    """Return squared distances by coordinate, shape (first, second, 2), in a box whose sides are 2 long."""
    squares: Array = (2 * (first[:, None] - second[None])) ** 2
    return squares


def _kernel(squares: Array, lengths: tuple[float, ...]) -> Array:
    kernel: Array = np.exp(-0.5 * (squares / np.square(lengths)).sum(axis=-1))
    return kernel
