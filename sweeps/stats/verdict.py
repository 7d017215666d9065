"""The primary question: does the source's (T, alpha) transfer to the target? One word, and what it rests on."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import stdev

from sweeps.stats.estimates import Estimate, differences, estimate, one_sided_bounds, seeds_needed

WORDS = ("FLAT", "TRANSFERS", "FAILS", "UNDECIDED")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the arms on the target say; all differences are paired by repeat, in points of test accuracy.

    word: one of WORDS. FLAT: native was found to beat neither scratch nor random, so there was nothing to transfer.
    regret: native - best, with its two-sided 95 % t interval.
    low, high: one-sided bounds of the regret at `level`, which is alpha per look; what the word rests on.
    margin: the regret below which (T, alpha) counts as transferred.
    sd, n: standard deviation and number of the differences native - best.
    seeds: per arm, for 80 % power if the true regret is as estimated. Only with UNDECIDED, where it exceeds n; None
        also where more than 10,000 would be needed.
    beats: lower one-sided bound of native - scratch and native - random, those that are there; > 0 beats.
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
    """The verdict; None where native or best is missing or they share fewer than two repeats.

    Args:
        arms: test accuracy in points, by arm ("native", "best", "scratch", "random") and repeat.
        margin: points, > 0.
        level: error rate of each one-sided test, 0 < level <= 0.5: 0.05 / declared looks (Bonferroni), so that the
            error rate over all looks is at most 5 %. Raises ValueError for another.

    In this order: FLAT as `Verdict` says, which cannot be said where neither scratch nor random has two repeats that
    native has, too. TRANSFERS when the upper bound of the regret is below the margin (non-inferiority; best may also
    be better). FAILS when the lower bound is above it. Else UNDECIDED. Without spread the bounds are the mean, and a
    regret of exactly the margin stays UNDECIDED.

    Source: Piaggio et al. 2012, JAMA 308 (CONSORT, non-inferiority): one-sided bounds against a declared margin.
    bench/null.py checks the error rates and the power.
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
    """Lower bound of native minus each of scratch and random that shares two repeats with it.

    Where nothing differs, beating either of two by luck would have twice the level as its chance, and a regret of
    about 0 then reads TRANSFERS: 5.5 to 7 % of simulated sweeps said so (bench/null.py). So the two share the level.
    """
    rivals = {name: differences(arms.get("native", {}), arms.get(name, {})) for name in ("scratch", "random")}
    there = {name: values for name, values in rivals.items() if len(values) >= 2}
    found = {}
    for name, values in there.items():
        bounds = one_sided_bounds(values, level / len(there))
        assert bounds is not None
        found[name] = bounds[0]
    return found
