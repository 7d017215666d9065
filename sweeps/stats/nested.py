"""Estimate a mean over searches, each of them seen through a few seeds, and say which of both makes it uncertain."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance

from sweeps.stats.estimates import Estimate, estimate, interval, t_quantile

FEWEST_SEARCHES = 3  # searches: with two, t = 12.7 and the interval says nothing


@dataclass(frozen=True)
class Nested:
    """A mean with its 95 % interval, and the half-widths that seeds alone and searches alone would give it.

    searches: how many it is over; 1: of one search, so that the interval covers its seeds alone, and by_search is None.
    estimate: its n counts what it is over, searches or, with one search, seeds.
    """

    estimate: Estimate
    searches: int
    by_seeds: float | None
    by_search: float | None


def nested(searches: Sequence[Sequence[float]], *, clipped: bool = False) -> Nested | None:
    """Return the mean over the first search, or from FEWEST_SEARCHES searches on the mean over all, which weigh alike.

    The interval is Student's t over the means of the searches: their variance holds that of the seeds. What the seeds
    alone contribute is known from the spread within each search; the rest is the search. Source: Snedecor & Cochran
    1989, "Statistical Methods", section 13.9 (nested sampling, the first stage as the unit). Where a few means lie
    nearer to each other than their seeds allow, that is luck: the larger of both variances counts.

    Args:
        searches: values of each search, independent of each other; one per seed. A search without values counts for
            nothing.
        clipped: as the first rule of the verdict did, the variance of the means counts even where it is the smaller.

    Returns:
        None without values; also if there are fewer than FEWEST_SEARCHES searches, and the first one has none.
    """
    known = [list(values) for values in searches if len(values)]
    if len(known) < FEWEST_SEARCHES:
        found = estimate(searches[0]) if searches else None
        if found is None:
            return None
        half = None if found.low is None else found.mean - found.low
        return Nested(found, 1, half, None)
    means = [fmean(values) for values in known]
    found = interval(fmean(means), stdev(means) if clipped else spread(means, known), len(means))
    seeds = seeds_variance(known)
    if seeds is None:
        return Nested(found, len(known), None, None)
    quantile, whole = t_quantile(0.975, len(known) - 1), variance(means) / len(known)
    alone = min(seeds, whole) if clipped else seeds
    return Nested(found, len(known), quantile * math.sqrt(alone), quantile * math.sqrt(max(0.0, whole - seeds)))


def spread(means: Sequence[float], searches: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation of the means of searches or, where it is larger, what their seeds alone give it."""
    seeds = seeds_variance(searches)
    return max(stdev(means), 0.0 if seeds is None else math.sqrt(seeds * len(means)))


def seeds_variance(searches: Sequence[Sequence[float]]) -> float | None:
    """Return the variance that the seeds alone give the mean over searches; None where a search has fewer than two."""
    if any(len(values) < 2 for values in searches):
        return None
    return math.fsum(variance(values) / len(values) for values in searches) / len(searches) ** 2
