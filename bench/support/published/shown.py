"""Estimates over seeds as they stand in the tables of bench/published.py, and whether a printed figure fits them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from support.published.records import Lines, Result
from support.published.trainings import Training
from sweeps.stats.estimates import differences, estimate, paired, t_quantile

FEWEST = 3  # runs, to say where another would lie
BySeed = Mapping[int, float]
Measure = Callable[[Result], float]


def errors(result: Result) -> float:
    """Return the number of wrong test images."""
    return result.errors


def percent(result: Result) -> float:
    """Return the test accuracy in percent."""
    return 100 * result.accuracy


def by_seed(lines: Lines, trainings: Iterable[Training], measure: Measure = errors) -> dict[int, float]:
    """Return what the recorded ones of some trainings measured, by their seed; no two have the same."""
    return {one.seed: measure(lines[one]) for one in trainings if one in lines}


def mean(values: BySeed, digits: int = 1, sign: str = "") -> str:
    """Return a mean with its 95 % t interval and n, such as "81.3 [78.0, 84.6] n=5"; "-" without values."""
    found = estimate(list(values.values()))
    return "-" if found is None else _written(found.mean, found.low, found.high, found.n, digits, sign)


def difference(first: BySeed, second: BySeed, digits: int = 1) -> str:
    """Return the mean of first - second, paired by seed, with its interval and n; "-" without pairs."""
    found = paired(first, second)
    return "-" if found is None else _written(found.mean, found.low, found.high, found.n, digits, "+")


def side(first: BySeed, second: BySeed) -> int:
    """Return -1 or 1 where the interval of first - second, paired by seed, lies below or above 0; else 0."""
    found = paired(first, second)
    if found is None or found.low is None or found.high is None:
        return 0
    return -1 if found.high < 0 else int(found.low > 0)


def verdict(first: BySeed, second: BySeed, *, below: str, above: str, of: tuple[str, int] = ("errors", 1)) -> str:
    """Return which of two words the sign of first - second earns, or that it cannot be told, with the difference.

    Args:
        first, second: paired by seed.
        below, above: the word where the interval of the difference lies below 0, and above.
        of: unit of the difference, and its digits.
    """
    if not first.keys() & second.keys():
        return "not trained yet"
    word = {-1: below, 1: above, 0: "cannot be told"}[side(first, second)]
    number, _, n = difference(first, second, of[1]).rpartition(" ")
    return f"{word}, {number} {of[0]} {n}"


def agreeing(lines: Lines, trainings: Iterable[Training]) -> str:
    """Return the mean agreement of students with their teachers in percent; "-" without any."""
    shares = [lines[one].agreement for one in trainings if one in lines]
    known = [share for share in shares if share is not None]
    return f"{100 * fmean(known):.2f} %" if known else "-"


def median_seconds(lines: Lines, trainings: Iterable[Training]) -> str:
    """Return the median CPU seconds of one training."""
    found = sorted(lines[one].cpu_s for one in trainings if one in lines)
    return f"{found[len(found) // 2]:.0f}" if found else "-"


def contrast(groups: Mapping[float, BySeed], some: Sequence[float], others: Sequence[float]) -> tuple[BySeed, BySeed]:
    """Return two means by seed, over some keys and over others, of the seeds that all of these keys have."""
    seeds = set.intersection(*(set(groups[key]) for key in (*some, *others)))
    first, second = (
        {seed: fmean(groups[key][seed] for key in keys) for seed in sorted(seeds)} for keys in (some, others)
    )
    return first, second


def interval_of_a_run(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % prediction interval of one more run: mean ± t[0.975, n - 1] * s * sqrt(1 + 1/n).

    A paper's figure is one run, so it is this interval that it must lie in, not that of the mean. None for fewer than
    three runs: two that happen to make equally many errors would give an interval of no width.
    """
    n = len(values)
    if n < FEWEST:
        return None
    half = t_quantile(0.975, n - 1) * stdev(values) * math.sqrt(1 + 1 / n)
    return fmean(values) - half, fmean(values) + half


@dataclass(frozen=True)
class Printed:
    """A figure of a paper beside ours.

    Attributes:
        what: of which network, in a few words.
        figure: what the paper prints, in the unit of the values.
        values: ours, by seed.
        unit: "errors" or "%".
    """

    what: str
    figure: float
    values: BySeed
    unit: str

    def __str__(self) -> str:
        """Say in one line what we get, what is printed, and whether one run here could have given it."""
        digits = 2 if self.unit == "%" else 1
        head = f"{self.what}: printed {self.figure:g} {self.unit}, here {mean(self.values, digits)}"
        found = interval_of_a_run(list(self.values.values()))
        if found is None:
            runs = ", ".join(f"{value:g}" for value in self.values.values())
            return f"{head}. {f'Too few runs to say where another lies: {runs}' if runs else 'Not trained yet'}."
        low, high = found
        where = "inside" if low <= self.figure <= high else "**outside**"
        return f"{head}. One run here lies in {low:.{digits}f} to {high:.{digits}f}: the printed figure is {where}."

    @property
    def deviates(self) -> bool | None:
        """Whether the figure lies outside of what one run here gives; None where that cannot be told."""
        found = interval_of_a_run(list(self.values.values()))
        return None if found is None else not found[0] <= self.figure <= found[1]


def differences_of_differences(
    first: tuple[BySeed, BySeed], second: tuple[BySeed, BySeed]
) -> tuple[dict[int, float], dict[int, float]]:
    """Return two paired differences by seed, of the seeds that all four have."""
    seeds = sorted(set.intersection(*(set(values) for values in (*first, *second))))
    each = [
        dict(zip(seeds, differences(*({seed: values[seed] for seed in seeds} for values in pair)), strict=True))
        for pair in (first, second)
    ]
    return each[0], each[1]


def _written(middle: float, low: float | None, high: float | None, n: int, digits: int, sign: str) -> str:
    if low is None or high is None:
        return f"{middle:{sign}.{digits}f} n={n}"
    return f"{middle:{sign}.{digits}f} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}] n={n}"
