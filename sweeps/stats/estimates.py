"""Student's t for means and paired differences, its power, Holm's correction.

Pure Python: the reading commands start without scipy. `level` is the error rate of one one-sided test.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, fmean, stdev

MOST_SEEDS = 10_000


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


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> Estimate | None:
    """First minus second, paired by seed: the paired t interval over the repeats that both have.

    Source: Student 1908; with common random numbers the seed's own luck cancels in each difference.
    """
    return estimate(differences(first, second))


def differences(first: Mapping[int, float], second: Mapping[int, float]) -> list[float]:
    """First minus second for each repeat that both have, in the order of the repeats."""
    return [first[repeat] - second[repeat] for repeat in sorted(first.keys() & second.keys())]


def t_p_value(values: Sequence[float]) -> float | None:
    """Two-sided p of the one-sample t test of a mean of 0; None for fewer than two values.

    Equal values leave no spread to test against: p is 1 where all are 0 and 0 where all are the same other
    number, the limits of a spread that shrinks. Absolute error below 1e-12, so the tiniest p may read 0.
    """
    if len(values) < 2:
        return None
    mean, spread, df = fmean(values), stdev(values), len(values) - 1
    if spread == 0:
        return 0.0 if mean else 1.0
    # t / sqrt(df) = mean / (spread * sqrt(df / n)); atan2 also takes a spread too small to divide by
    theta = math.atan2(abs(mean), spread * math.sqrt(df / len(values)))
    return max(0.0, 1 - _central_probability(theta, df))


def one_sided_bounds(values: Sequence[float], level: float) -> tuple[float, float] | None:
    """The lower and the upper one-sided (1 - level) t bound of the mean; None for fewer than two values.

    Each alone misses the true mean with probability `level` (0 < level <= 0.5): together they are the
    two-sided 1 - 2 * level interval. Without spread both are the mean. Raises ValueError for another level.
    """
    if len(values) < 2:
        return None
    mean, n = fmean(values), len(values)
    half = t_quantile(1 - level, n - 1) * stdev(values) / math.sqrt(n)
    return mean - half, mean + half


def resolvable(sd: float, n: int, *, level: float, power: float = 0.8) -> float:
    """The least true distance that a one-sided t test with n >= 2 paired seeds finds with that power.

    In the unit of `sd`, the standard deviation of the paired differences. By the approximation with two
    quantiles of t, (t[1 - level] + t[power]) * sd / sqrt(n): where it says 80 %, the exact power of the
    noncentral t is 78 to 81 % from 5 seeds on, at levels of 0.05 and 0.05 / 3, and 72 % at the worst, with 2.
    Raises ValueError for n < 2, for a level outside (0, 0.5] and a power outside [0.5, 1).
    Source: Colas, Sigaud & Oudeyer 2018, "How many random seeds?", arXiv:1806.08295.
    """
    return (t_quantile(1 - level, n - 1) + t_quantile(power, n - 1)) * sd / math.sqrt(n)


def seeds_needed(sd: float, distance: float, *, level: float, power: float = 0.8) -> int | None:
    """The least n >= 2 whose `resolvable` distance is no more than `distance` (same unit as sd).

    None above MOST_SEEDS, and where there is no distance to find (<= 0). Raises as `resolvable`.
    """
    if not distance > 0:
        return None
    normal = NormalDist()
    # The same with quantiles of the normal distribution, which are below those of t: counting up starts there.
    least = ((normal.inv_cdf(1 - level) + normal.inv_cdf(power)) * sd / distance) ** 2
    if least > MOST_SEEDS:
        return None
    n = max(2, math.floor(least))
    while resolvable(sd, n, level=level, power=power) > distance:
        n += 1
    return n if n <= MOST_SEEDS else None


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Each p adjusted for the number of tests, in the order given: the least family error rate that rejects it.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure", section 2: the smallest of m
    is multiplied by m, the next by m - 1, and none may fall below the one before it, or exceed 1.
    """
    adjusted, floor = dict(p_values), 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = floor
    return adjusted


@lru_cache(maxsize=4096)  # few levels and few numbers of seeds are asked for again and again
def t_quantile(p: float, df: int) -> float:
    """The p-quantile (0.5 <= p < 1) of Student's t with a whole number of degrees of freedom.

    Inverts the finite trigonometric sums of Abramowitz & Stegun 26.7.3 and 26.7.4 by Newton's method; a test
    holds it against scipy.stats.t.ppf. scipy itself would double the start-up time of `best` and `report`.
    """
    if df < 1 or not 0.5 <= p < 1:
        raise ValueError(f"t_quantile needs df >= 1 and 0.5 <= p < 1, got df={df}, p={p}")
    # In theta = atan(t / sqrt(df)) the probability is concave: from the left, where the quantile of the normal
    # distribution lies, every step stays left of the answer. The slope at 0 and its decay are t's density in theta.
    slope = 2 / math.sqrt(math.pi) * math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2))
    theta = math.atan(NormalDist().inv_cdf(p) / math.sqrt(df))
    for _ in range(80):  # about 6; one bit each where p is nearly 1 and df is 2 or 3
        missing = 2 * p - 1 - _central_probability(theta, df)
        step = missing / (slope * math.cos(theta) ** (df - 1))
        theta += step
        if step <= 1e-15 * theta:
            break
    return math.sqrt(df) * math.tan(theta)


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
