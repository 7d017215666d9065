"""Fit a Gaussian process to the searches; measure how much of the search space is as good as its best point.

A search trains all its points with one seed, whose effect is itself a smooth function of the point, so one search
cannot separate that effect from the surface. Several searches with different seeds can.
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

# A point is as good as the best if it loses less than this fraction of the standard deviation of one run.
TOLERANCE = 0.5

_LENGTHS = tuple(product((0.5, 1.0, 2.0), repeat=2))  # length scales, in a square of side 2
_SURFACE = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # variance of the surface / of the noise
_SEED = (0.0, 0.3, 1.0, 3.0, 10.0)  # variance of a seed's effect on the surface / of the noise
_OFFSET = 100.0  # variance of a seed's constant effect: large, so that it carries no information about points
_WITHIN = 3.0  # drop fits whose log likelihood is lower than the best one by more
_DRAWS = 400
_RANDOM_SEED = 20230  # the same runs give the same result


def top(runs: Sequence[Run]) -> Top:
    """Fit the surface and compare every point of the search space with the best one.

    A Gaussian process with hyperparameters averaged over a grid by their likelihood: score = surface + constant effect
    of the seed + smooth effect of the seed + noise. Source: Rasmussen & Williams 2006, "Gaussian Processes for Machine
    Learning", sections 2.2 and 5.2.

    Args:
        runs: of at least verdict.FEWEST_SEARCHES searches, each with its own seed and at least two points.
    """
    with threadpool_limits(1):  # hundreds of small matrices: with busy workers, more threads are five times slower
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
        side = (np.arange(SIDE) + 0.5) / SIDE  # centres of the cells
        grid = np.array(list(product(side, side)))
        self.scores: Array = scores - scores.mean()
        self.same_seed: Array = (seeds[:, None] == seeds[None]).astype(float)
        self.among = _squares(points, points)
        self.across = _squares(grid, points)
        self.grid = _squares(grid, grid)


@dataclass(frozen=True)
class _Fit:
    lengths: tuple[float, ...]
    surface: float
    seed: float
    noise: float
    likelihood: float

    @cached_property
    def run_sd(self) -> float:
        """Standard deviation of one run at one point, without the constant effect of its seed."""
        return float(np.sqrt(self.noise * (1 + self.seed)))


def _fits(data: _Data, lengths: tuple[float, ...]) -> list[_Fit]:
    """Fit the noise, by maximum likelihood, for given lengths and every value of the other hyperparameters."""
    kernel, n, fits = _kernel(data.among, lengths), len(data.scores), []
    for surface, seed in product(_SURFACE, _SEED):
        factor = np.linalg.cholesky(_covariance(data, kernel, surface, seed))
        white = np.linalg.solve(factor, data.scores)
        noise = max(float(white @ white) / n, 1e-12)  # identical scores have no noise
        likelihood = -0.5 * n * np.log(noise) - np.log(np.diag(factor)).sum()
        fits.append(_Fit(lengths, surface, seed, noise, float(likelihood)))
    return fits


def _posterior(data: _Data, fit: _Fit) -> tuple[Array, Array]:
    """Return the posterior mean and covariance of the surface on the grid."""
    across = fit.surface * _kernel(data.across, fit.lengths)
    among = _covariance(data, _kernel(data.among, fit.lengths), fit.surface, fit.seed)
    solved = np.linalg.solve(among, np.column_stack([data.scores, across.T]))
    covariance = fit.noise * (fit.surface * _kernel(data.grid, fit.lengths) - across @ solved[:, 1:])
    return across @ solved[:, 0], covariance


def _covariance(data: _Data, kernel: Array, surface: float, seed: float) -> Array:
    """Return the covariance of the scores in units of the noise variance; kernel: between the runs."""
    covariance: Array = surface * kernel + (seed * kernel + _OFFSET) * data.same_seed + np.eye(len(kernel))
    return covariance


def _draws(posteriors: Sequence[tuple[Array, Array]], weights: Array) -> Array:
    rng = np.random.default_rng(_RANDOM_SEED)
    draws = []
    for (mean, covariance), count in zip(posteriors, rng.multinomial(_DRAWS, weights), strict=True):
        if count:
            # By eigenvalues: rounding makes some of a smooth kernel's negative, and Cholesky fails.
            values, vectors = np.linalg.eigh(covariance)
            normal = rng.standard_normal((count, len(mean)))
            draws.append(mean + (normal * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
    return np.concatenate(draws)


def _squares(first: Array, second: Array) -> Array:
    """Return squared distances by coordinate, shape (first, second, 2), in a square of side 2."""
    squares: Array = (2 * (first[:, None] - second[None])) ** 2
    return squares


def _kernel(squares: Array, lengths: tuple[float, ...]) -> Array:
    kernel: Array = np.exp(-0.5 * (squares / np.square(lengths)).sum(axis=-1))
    return kernel
