"""Estimate a mean over searches, each of them seen through a few seeds, and say which of both makes it uncertain."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from sweeps.stats.estimates import Estimate, estimate, t_quantile

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


def nested(searches: Sequence[Sequence[float]]) -> Nested | None:
    """Return the mean over the first search, or from FEWEST_SEARCHES searches on the mean over all, which weigh alike.

    The interval is Student's t over the means of the searches: their variance holds that of the seeds. What the seeds
    alone contribute is known from the spread within each search; the rest is the search. Source: Snedecor & Cochran
    1989, "Statistical Methods", section 13.9 (nested sampling, the first stage as the unit).

    Args:
        searches: values of each search, independent of each other; one per seed. A search without values counts for
            nothing.

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
    found = estimate(means)
    assert found is not None
    quantile = t_quantile(0.975, len(known) - 1)
    whole = variance(means) / len(known)
    if any(len(values) < 2 for values in known):
        return Nested(found, len(known), None, None)
    seeds = math.fsum(variance(values) / len(values) for values in known) / len(known) ** 2
    rest = max(0.0, whole - seeds)
    return Nested(found, len(known), quantile * math.sqrt(min(seeds, whole)), quantile * math.sqrt(rest))
