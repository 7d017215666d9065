"""Means, paired differences, Student's t, Holm, sample sizes, Pareto front, percent.

Pure Python, because the reading commands start without SciPy (docs/decisions/t-quantiles.md). `level` is always the
type I error rate of one one-sided test.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, fmean, stdev

MOST_SEEDS = 10_000
_POWER = 0.8
FEWEST_RUNS = 3  # for an interval: with two, t = 12.7, it would be uselessly wide


@dataclass(frozen=True)
class Estimate:
    """The mean of n independent runs with the limits of its two-sided 95 % t interval, both None if n = 1."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def includes_zero(self) -> bool:
        """Whether the interval includes 0; True without an interval."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high

    @property
    def negated(self) -> "Estimate":
        """The same difference the other way round."""
        low, high = (None if end is None else -end for end in (self.high, self.low))
        return Estimate(-self.mean, low, high, self.n)


@dataclass(frozen=True)
class Paired(Estimate):
    """The mean of n differences. same: in how many both sides are one training, at the same point with the same seed.

    Those differences are 0 whatever the point is worth, so they are no evidence.
    """

    same: int = 0

    @property
    def is_same_point(self) -> bool:
        """Whether every difference compares a training with itself."""
        return self.same == self.n

    @classmethod
    def of(cls, value: Estimate, same: int) -> "Paired":
        return cls(value.mean, value.low, value.high, value.n, same)


def limits(value: Estimate) -> tuple[float, float] | None:
    """Return the limits of the interval; None if it is not shown."""
    if value.low is None or value.high is None or value.n < FEWEST_RUNS:
        return None
    # Identical runs give an interval of width 0, which is not precision.
    return None if math.isclose(value.low, value.high, abs_tol=1e-9) else (value.low, value.high)


def clipped(ends: tuple[float, float], bounds: tuple[float, float]) -> tuple[float, float]:
    """Clip the ends of an interval to the bounds."""
    return max(ends[0], bounds[0]), min(ends[1], bounds[1])


def as_shown(value: Estimate, bounds: tuple[float, float]) -> Estimate:
    """Return the estimate of a score for display: with clipped limits, or without limits that are not shown."""
    ends = limits(value)
    if ends is None:
        return Estimate(value.mean, None, None, value.n)
    return Estimate(value.mean, *clipped(ends, bounds), value.n)


def estimate(values: Sequence[float]) -> Estimate | None:
    """Return the mean and its two-sided 95 % t interval, mean ± t[0.975, n - 1] * s / sqrt(n); None without values."""
    if not values:
        return None
    mean, n = fmean(values), len(values)
    if n == 1:
        return Estimate(mean, None, None, 1)
    return interval(mean, stdev(values), n)


def interval(mean: float, sd: float, n: int) -> Estimate:
    """Return the mean of n >= 2 runs with standard deviation sd, and its two-sided 95 % t interval."""
    half = t_quantile(0.975, n - 1) * sd / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


@dataclass(frozen=True)
class Contrast:
    """The mean of n >= 2 differences and their standard deviation."""

    mean: float
    sd: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Contrast | None":
        return cls(fmean(values), stdev(values), len(values)) if len(values) > 1 else None

    def bounds(self, level: float) -> tuple[float, float]:
        """Return the two one-sided t bounds, each of confidence 1 - level."""
        half = t_quantile(1 - level, self.n - 1) * self.sd / math.sqrt(self.n)
        return self.mean - half, self.mean + half

    def needed(self, edge: float, level: float) -> int | None:
        """Return the units needed to distinguish the mean from edge with 80 % power; None above MOST_SEEDS."""
        return seeds_needed(self.sd, abs(self.mean - edge), level=level)


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate | None:
    """Return the ratio of two means of paired values with its 95 % interval; None for fewer than two pairs.

    Without limits if the mean of the denominators does not differ from 0 at that level: then any ratio fits.
    Source: Fieller 1954, "Some problems in interval estimation", J. R. Stat. Soc. B 16(2).
    """
    n = len(numerators)
    if n < 2 or len(denominators) != n:
        return None
    top, bottom = fmean(numerators), fmean(denominators)
    # Squared half-widths of the means, and the same of their product: t^2 times the variance of the mean.
    scale = t_quantile(0.975, n - 1) ** 2 / (n * (n - 1))
    aa = scale * math.fsum((a - top) ** 2 for a in numerators)
    bb = scale * math.fsum((b - bottom) ** 2 for b in denominators)
    ab = scale * math.fsum((a - top) * (b - bottom) for a, b in zip(numerators, denominators, strict=True))
    leading, middle, last = bottom**2 - bb, top * bottom - ab, top**2 - aa
    if leading <= 0:
        return Estimate(top / bottom if bottom else math.nan, None, None, n)
    root = math.sqrt(max(0.0, middle**2 - leading * last))
    return Estimate(top / bottom, (middle - root) / leading, (middle + root) / leading, n)


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> Estimate | None:
    """Return the mean of first - second with its paired t interval, over the repeats of both.

    Both arms of a repeat share their seed (common random numbers), so the effect of the seed cancels in the difference.
    Source: Student 1908, "The probable error of a mean", Biometrika 6.
    """
    return estimate(differences(first, second))


def differences(first: Mapping[int, float], second: Mapping[int, float]) -> list[float]:
    """Return first - second for each repeat of both, in the order of the repeats."""
    return [first[repeat] - second[repeat] for repeat in sorted(first.keys() & second.keys())]


def t_p_value(values: Sequence[float]) -> float | None:
    """Return the two-sided p value of the one-sample t test of a mean of 0; None for fewer than two values.

    If all values are equal, the statistic is undefined, and p is its limit as the standard deviation goes to 0: 1 if
    they are 0, else 0. The absolute error is below 1e-12, so a smaller p may be returned as 0.
    """
    if len(values) < 2:
        return None
    return t_p_value_of(fmean(values), stdev(values) / math.sqrt(len(values)), len(values) - 1)


def t_p_value_of(mean: float, error: float, df: int) -> float:
    """Return that p value from a mean, its standard error and the degrees of freedom."""
    if error == 0:
        return 0.0 if mean else 1.0
    # t / sqrt(df) = mean / (error * sqrt(df)); atan2 also takes an error too small to divide by
    theta = math.atan2(abs(mean), error * math.sqrt(df))
    return max(0.0, 1 - _central_probability(theta, df))


def resolvable(sd: float, n: int, *, level: float) -> float:
    """Return the smallest true difference that a one-sided paired t test detects with 80 % power.

    (t[1 - level, n - 1] + t[power, n - 1]) * sd / sqrt(n), an approximation by quantiles of the central t. The exact
    power, from the noncentral t, is 77 to 81 % with 5 seeds or more at levels from 0.01 to 0.05, and at worst 70 %,
    with 2 seeds. Source: Colas, Sigaud & Oudeyer 2018, "How many random seeds?", arXiv:1806.08295.

    Args:
        sd: standard deviation of the paired differences; the result has its unit.
        n: number of pairs, >= 2.
        level: in (0, 0.5]; ValueError elsewhere.
    """
    return (t_quantile(1 - level, n - 1) + t_quantile(_POWER, n - 1)) * sd / math.sqrt(n)


def seeds_needed(sd: float, distance: float, *, level: float) -> int | None:
    """Return the smallest number of pairs, >= 2, whose `resolvable` difference is at most `distance`.

    None if distance <= 0, or if more than MOST_SEEDS pairs would be needed. Arguments and errors as `resolvable`.
    """
    if not distance > 0:
        return None
    normal = NormalDist()
    # The same formula with normal quantiles, which are below those of t: a start to count up from.
    least = ((normal.inv_cdf(1 - level) + normal.inv_cdf(_POWER)) * sd / distance) ** 2
    if least > MOST_SEEDS:
        return None
    n = max(2, math.floor(least))
    while resolvable(sd, n, level=level) > distance:
        n += 1
    return n if n <= MOST_SEEDS else None


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's adjusted p values, in the given order: the smallest family-wise error rates at which tests reject.

    The smallest of m p values is multiplied by m, the next by m - 1, and so on; each is at least the previous one and
    at most 1. Source: Holm 1979, "A simple sequentially rejective multiple test procedure", section 2.
    """
    adjusted, floor = dict(p_values), 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = floor
    return adjusted


@lru_cache(maxsize=4096)  # a few levels and numbers of seeds are needed again and again
def t_quantile(p: float, df: int) -> float:
    """Return the p-quantile of Student's t distribution with df degrees of freedom; p in [0.5, 1), df >= 1.

    Invert the finite trigonometric sums of Abramowitz & Stegun 26.7.3 and 26.7.4 by Newton's method; a test compares
    the result with scipy.stats.t.ppf to a relative error of 1e-9. Raise ValueError outside these ranges.
    """
    if df < 1 or not 0.5 <= p < 1:
        raise ValueError(f"t_quantile needs df >= 1 and 0.5 <= p < 1, got df={df}, p={p}")
    # The probability is concave in theta = atan(t / sqrt(df)): from the normal quantile, which lies left of the answer,
    # every step stays left of it. The slope at 0 and its decay are the density of t in theta.
    slope = 2 / math.sqrt(math.pi) * math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2))
    theta = math.atan(NormalDist().inv_cdf(p) / math.sqrt(df))
    for _ in range(80):  # usually 6; one bit per step if p is nearly 1 and df is 2 or 3
        missing = 2 * p - 1 - _central_probability(theta, df)
        step = missing / (slope * math.cos(theta) ** (df - 1))
        theta += step
        if step <= 1e-15 * theta:
            break
    return math.sqrt(df) * math.tan(theta)


def _central_probability(theta: float, df: int) -> float:
    """Return P(|t| < sqrt(df) * tan(theta)). Source: Abramowitz & Stegun 26.7.3 for odd df, 26.7.4 for even df."""
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = df % 2
    term = cosine if odd else 1.0
    total = term if df > 1 else 0.0
    for k in range(2 + odd, df - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return (theta + sine * total) * 2 / math.pi if odd else sine * total


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points (cost, value) that no other point dominates, cheapest first.

    A point dominates another if its cost is not higher, its value is not lower, and the two differ. Equal points are on
    the front together or not at all.
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not front or points[index][1] > points[front[-1]][1] or points[index] == points[front[-1]]:
            front.append(index)
    return front


def percent(fraction: float) -> float:
    """Return a fraction in percent. A difference of two percentages is in points: 1 point = 0.01."""
    return 100 * fraction
