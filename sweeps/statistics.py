"""Means, intervals and paired differences. Pure Python: the reading commands start without scipy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % t interval; low and high are None when n = 1."""

    mean: float
    low: float | None
    high: float | None
    n: int


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean and 95 % t interval over independent seeds; None without values."""
    if not values:
        return None
    mean, n = fmean(values), len(values)
    if n == 1:
        return Estimate(mean, None, None, 1)
    half = t_quantile(0.975, n - 1) * stdev(values) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def paired(first: dict[int, float], second: dict[int, float]) -> Estimate | None:
    """First minus second, paired by seed: the paired t interval over the repeats that both have.

    Source: Student 1908; with common random numbers the seed's own luck cancels in each difference.
    """
    shared = sorted(first.keys() & second.keys())
    return estimate([first[repeat] - second[repeat] for repeat in shared])


def t_quantile(p: float, df: int) -> float:
    """The p-quantile (0.5 <= p < 1) of Student's t with a whole number of degrees of freedom.

    Inverts the finite trigonometric sums of Abramowitz & Stegun 26.7.3 and 26.7.4 by bisection; a test
    holds it against scipy.stats.t.ppf. scipy itself would double the start-up time of `best` and `report`.
    """
    if df < 1 or not 0.5 <= p < 1:
        raise ValueError(f"t_quantile needs df >= 1 and 0.5 <= p < 1, got df={df}, p={p}")
    low, high = 0.0, math.pi / 2  # the angle theta = atan(t / sqrt(df)) lies between
    for _ in range(80):
        middle = (low + high) / 2
        if _central_probability(middle, df) < 2 * p - 1:
            low = middle
        else:
            high = middle
    return math.sqrt(df) * math.tan(low)


def _central_probability(theta: float, df: int) -> float:
    """P(|t| < sqrt(df) * tan(theta)); A&S 26.7.3 for odd, 26.7.4 for even df."""
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = df % 2
    term = cosine if odd else 1.0
    total = term if df > 1 else 0.0
    for k in range(2 + odd, df - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return (theta + sine * total) * 2 / math.pi if odd else sine * total
