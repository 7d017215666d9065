"""Decide the primary question: does the (T, alpha) found on the source dataset transfer to the target dataset?

The verdict compares arms that were trained on the target with the same seeds: "native" (the (T, alpha) found on the
target itself), "best" (the one found on the source), "scratch" (no teacher) and "random" (a random (T, alpha)).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import stdev

from sweeps.stats.estimates import Estimate, differences, estimate, one_sided_bounds, seeds_needed

WORDS = ("FLAT", "TRANSFERS", "FAILS", "UNDECIDED")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict and the numbers behind it; all differences are paired by repeat, in points of test accuracy.

    Attributes:
        word: one of WORDS, see `decide`.
        regret: mean of native - best, with its two-sided 95 % t interval.
        low, high: one-sided confidence bounds of the regret at `level`; they decide the word.
        level: type I error rate of each one-sided test.
        margin: the largest regret that still counts as a successful transfer.
        sd, n: standard deviation and number of the differences native - best.
        seeds: number of seeds per arm for a power of 80 % if the true regret is as estimated. Given only with
            UNDECIDED, where it exceeds n; None also if more than 10,000 would be needed.
        beats: lower one-sided bound of native - scratch and of native - random, as far as these arms exist; above 0,
            native is significantly better.
    """

    word: str
    regret: Estimate
    low: float
    high: float
    level: float
    margin: float
    sd: float
    n: int
    seeds: int | None
    beats: dict[str, float]


def decide(arms: Mapping[str, Mapping[int, float]], *, margin: float, level: float) -> Verdict | None:
    """Return the verdict; None if native or best is missing, or if they share fewer than two repeats.

    The first that applies:
    FLAT: native is significantly better than neither scratch nor random, so there is nothing to transfer. Not
    possible if neither of them shares two repeats with native.
    TRANSFERS: the upper bound of the regret is below the margin (non-inferiority; best may also be better).
    FAILS: the lower bound of the regret is above the margin.
    UNDECIDED: otherwise, so also if all differences are equal to the margin.

    Source: Piaggio et al. 2012, JAMA 308 (CONSORT, non-inferiority): one-sided bounds against a declared margin.
    bench/null.py simulates the error rates and the power.

    Args:
        arms: test accuracy in points, by arm ("native", "best", "scratch", "random") and repeat.
        margin: in points, > 0.
        level: type I error rate of each one-sided test, in (0, 0.5]: 0.05 / number of declared looks (Bonferroni), so
            that the error rate over all looks is at most 5 %.

    Raises:
        ValueError: for another level.
    """
    regrets = differences(arms.get("native", {}), arms.get("best", {}))
    regret, bounds = estimate(regrets), one_sided_bounds(regrets, level)
    if regret is None or bounds is None:
        return None
    low, high = bounds
    beats = _beats(arms, level)
    if beats and max(beats.values()) <= 0:
        word = "FLAT"
    elif high < margin:
        word = "TRANSFERS"
    elif low > margin:
        word = "FAILS"
    else:
        word = "UNDECIDED"
    sd = stdev(regrets)
    return Verdict(
        word=word,
        regret=regret,
        low=low,
        high=high,
        level=level,
        margin=margin,
        sd=sd,
        n=regret.n,
        seeds=seeds_needed(sd, abs(margin - regret.mean), level=level) if word == "UNDECIDED" else None,
        beats=beats,
    )


def _beats(arms: Mapping[str, Mapping[int, float]], level: float) -> dict[str, float]:
    """Return the lower bound of native minus scratch and native minus random, where they share two repeats.

    The two tests share the level (Bonferroni). With the full level for each, native would be better than one of them
    by chance up to twice as often, and a regret of about 0 would then give TRANSFERS where no arm differs: in 5.5 to
    7 % of simulated sweeps (bench/null.py).
    """
    rivals = {name: differences(arms.get("native", {}), arms.get(name, {})) for name in ("scratch", "random")}
    there = {name: values for name, values in rivals.items() if len(values) >= 2}
    found = {}
    for name, values in there.items():
        bounds = one_sided_bounds(values, level / len(there))
        assert bounds is not None
        found[name] = bounds[0]
    return found
