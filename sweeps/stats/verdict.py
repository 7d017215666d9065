"""Decide the primary question over seeds or searches.

The verdict compares arms trained on the target with the same seeds: "native" (the (T, alpha) found on the target
itself), "best" (found on the source), "scratch" (no teacher) and "random" (a random (T, alpha)).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance
from typing import TypeAlias

from sweeps.stats.advice import GAIN_LEVEL, LOOKS, Runs, Use, beyond_margin, is_gain_shown, is_worse, over_searches
from sweeps.stats.advice import LEVELS as STRATEGY_LEVELS
from sweeps.stats.estimates import Contrast, Estimate, differences, estimate, interval, t_quantile

WORDS = ("TRANSFERS", "FAILS", "FLAT", "UNDECIDED")
FEWEST_SEARCHES = 3  # with two, t = 12.7, and the interval is uselessly wide

# The rule that new sweeps declare. Rule 1, of the oldest sweeps, could say FLAT despite a proven gain, took the
# variance of a few searches at face value, and used 5 % by normal theory. Rule 3 gives a point from elsewhere the
# verdict of `advice`, at the levels of that test.
RULE = 3

# By rule and number of declared looks: the level of each one-sided test at the first, second and third look. Those of
# all looks may add up to 5 % (Bonferroni). The second rule spends less: the regret of a search is skewed, so that a
# test at 1 % errs in up to 5 % of sweeps (bench/results/results.md, "Verdicts").
LEVELS = {
    1: {1: (0.05,), 2: (0.04, 0.01), 3: (0.03, 0.01, 0.01)},
    2: {1: (0.01,), 2: (0.01, 0.01), 3: (0.01, 0.01, 0.01)},
    3: {looks: tuple(STRATEGY_LEVELS["elsewhere"] * part for part in parts) for looks, parts in LOOKS.items()},
}

# The fraction of native's gain over scratch that a transferred point must keep if that gain is proven. One half is the
# convention for non-inferiority margins: FDA 2016, "Non-Inferiority Clinical Trials", section IV.
KEPT = 0.5

# The displayed test score, for accuracies in points, by arm ("native", "best", "scratch", "random") and repeat.
Arms: TypeAlias = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class Nested:
    """A mean with its 95 % interval, and the half-widths from seeds alone and from searches alone.

    searches: their number; 1: the interval covers the seeds of one search, and by_search is None. estimate: its n
    counts searches or, with one search, seeds.
    """

    estimate: Estimate
    searches: int
    by_seeds: float | None
    by_search: float | None


def nested(searches: Sequence[Sequence[float]], *, clipped: bool = False) -> Nested | None:
    """Return the mean over the first search or, from FEWEST_SEARCHES searches on, the unweighted mean over all.

    The interval is Student's t over the means of the searches, whose variance includes that of the seeds. The spread
    within each search gives the contribution of the seeds; the rest is the search. Source: Snedecor & Cochran 1989,
    "Statistical Methods", section 13.9 (nested sampling, the first stage as the unit). A few means may by luck lie
    closer together than their seeds allow, so the larger of both variances is used. None without values, also if there
    are fewer than FEWEST_SEARCHES searches and the first one has none.

    Args:
        searches: values of each search, one per seed, independent of each other; searches without values are ignored.
        clipped: as in rules 1 and 3, use the variance of the means even if it is smaller.
    """
    known = [list(values) for values in searches if len(values)]
    if len(known) < FEWEST_SEARCHES:
        first = estimate(searches[0]) if searches else None
        if first is None:
            return None
        half = None if first.low is None else first.mean - first.low
        return Nested(first, 1, half, None)
    means = [fmean(values) for values in known]
    mean = interval(fmean(means), stdev(means) if clipped else spread(means, known), len(means))
    seeds = seeds_variance(known)
    if seeds is None:
        return Nested(mean, len(known), None, None)
    quantile, whole = t_quantile(0.975, len(known) - 1), variance(means) / len(known)
    alone = min(seeds, whole) if clipped else seeds
    return Nested(mean, len(known), quantile * math.sqrt(alone), quantile * math.sqrt(max(0.0, whole - seeds)))


def spread(means: Sequence[float], searches: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation of the means of searches or, if larger, that due to their seeds alone."""
    seeds = seeds_variance(searches)
    return max(stdev(means), 0.0 if seeds is None else math.sqrt(seeds * len(means)))


def seeds_variance(searches: Sequence[Sequence[float]]) -> float | None:
    """Return the variance of the mean over searches due to seeds alone; None if a search has fewer than two."""
    if any(len(values) < 2 for values in searches):
        return None
    return math.fsum(variance(values) / len(values) for values in searches) / len(searches) ** 2


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict and the numbers behind it; differences are paired by repeat, in points of the displayed score.

    Attributes:
        word: one of WORDS, see `decide`.
        regret: mean of native - best, with its two-sided 95 % t interval.
        low, high: one-sided confidence bounds of the regret at `level`.
        level: type I error rate of each one-sided test.
        declared: the margin of the spec, the largest regret that still counts as a successful transfer.
        gain: mean of native - scratch, with its two-sided 95 % t interval; None without two common repeats.
        margin: the margin used: `declared`, or half of the gain if that is proven and its half is smaller.
        halved: whether half of the gain was used.
        sd, n: standard deviation and number of the differences native - best; between searches at least the standard
            deviation due to their seeds.
        seeds: units, searches or seeds per arm, for 80 % power if the estimates are true. Only for UNDECIDED, if more
            than n; None above 10,000.
        beats: lower one-sided bounds of native - scratch and native - random, for arms that exist, each at half of the
            level; above 0, native is significantly better.
        within: upper one-sided bounds of the same differences at the full level; below the declared margin, native
            gains less than that.
    """

    word: str
    regret: Estimate
    low: float
    high: float
    level: float
    declared: float
    gain: Estimate | None
    margin: float
    halved: bool
    sd: float
    n: int
    seeds: int | None
    beats: dict[str, float]
    within: dict[str, float]


def decide(
    searches: Sequence[Arms], *, margin: float, level: float, rule: int = RULE, margin_share: float = 0.0
) -> Verdict | None:
    """Return the verdict; None if native or best is missing, or if they share fewer than two units.

    From FEWEST_SEARCHES on, the units are searches, each with its means; else the seeds of the first search.

    The first that applies:
    FAILS: the lower bound of the regret is above the margin.
    TRANSFERS: its upper bound is below the margin and below the declared one (non-inferiority; best may also be
    better), and native is significantly better than scratch or random, if there is one of them.
    FLAT: native, best, scratch and random are equivalent: the upper bounds of native minus each of the other three are
    below the declared margin, and native is not proven better than scratch, so the declared margin is used. There is
    less to transfer than the margin.
    UNDECIDED: otherwise, also if all differences equal the margin.

    The margin is the declared one or, if native is significantly better than scratch and half of that gain is smaller,
    half of that gain: otherwise no distillation at all could "transfer" by a wide margin. The regret against half of
    the gain is tested as one paired contrast, (native + scratch) / 2 - best, which includes the noise of the estimated
    gain.

    Sources: Piaggio et al. 2012, JAMA 308 (CONSORT, non-inferiority): one-sided bounds against a declared margin;
    Berger & Hsu 1996, Statistical Science 11(4): several bounds that must all hold need no correction. Simulated
    error rates and power: bench/results/results.md, "Verdicts".

    Rule 3 tests a point tuned elsewhere as `sweeps.stats.advice.advise` does and so never contradicts it: the margin is
    a share of the gain, the units are searches, their variance is taken at face value, and with fewer than
    FEWEST_SEARCHES the word is UNDECIDED. TRANSFERS: native is shown to gain over no treatment, and the upper bound of
    native - best - margin is below 0. FAILS: its lower bound and that of native - best are above 0. FLAT: no gain is
    shown.

    Args:
        searches: the arms of each search, at least one.
        margin: the declared one, in points, > 0.
        level: type I error rate of each one-sided test, in (0, 0.5]; else ValueError.
        rule: the rule that the sweep declared, a key of LEVELS.
        margin_share: for rule 3, the margin as a share of the gain; used if above 0 and a gain was measured.
    """
    if rule > 2:
        return _decide_by_advice(searches, margin, margin_share, level)
    over = sum(bool(regrets(search)) for search in searches) >= FEWEST_SEARCHES
    arms = _means(searches) if over else searches[0]

    def contrast(of: Callable[[Arms], list[float]], *, edge: float = 0.0) -> Contrast | None:
        values = [value - edge for value in of(arms)]
        if len(values) < 2:
            return None
        by_seed = list(filter(None, map(of, searches))) if over and rule > 1 else []
        return Contrast(fmean(values), spread(values, by_seed) if by_seed else stdev(values), len(values))

    regret = contrast(regrets)
    if regret is None:
        return None
    low, high = regret.bounds(level)
    rivals = {name: rival for name, of in _RIVALS.items() if (rival := contrast(of))}
    beats = {name: rival.bounds(level / len(rivals))[0] for name, rival in rivals.items()}
    within = {name: rival.bounds(level)[1] for name, rival in rivals.items()}
    scratch, half = rivals.get("scratch"), None
    if scratch and beats["scratch"] > 0 and KEPT * scratch.mean < margin:
        half = contrast(_beyond_half)
    # A difference with mean 0 if the regret equals the margin.
    beyond = half or contrast(regrets, edge=margin)
    assert beyond is not None
    edge = beyond.bounds(level)
    # The page shows the 95 % interval of the gain: FLAT would contradict one above 0.
    flat = rule == 1 or scratch is None or max(beats["scratch"], scratch.bounds(0.025)[0]) <= 0
    if edge[0] > 0:
        word = "FAILS"
    elif edge[1] < 0 and high < margin and (not beats or max(beats.values()) > 0):
        word = "TRANSFERS"
    elif flat and rivals and high < margin and max(within.values()) < margin:
        word = "FLAT"
    else:
        word = "UNDECIDED"
    return Verdict(
        word=word,
        regret=interval(regret.mean, regret.sd, regret.n),
        low=low,
        high=high,
        level=level,
        declared=margin,
        gain=interval(scratch.mean, scratch.sd, scratch.n) if scratch else None,
        margin=KEPT * scratch.mean if scratch and half else margin,
        halved=half is not None,
        sd=regret.sd,
        n=regret.n,
        seeds=_needed(beyond, rivals, margin, level, flat=flat) if word == "UNDECIDED" else None,
        beats=beats,
        within=within,
    )


def _decide_by_advice(searches: Sequence[Arms], margin: float, share: float, level: float) -> Verdict | None:
    runs: list[Runs] = [{use: search.get(arm, {}) for use, arm in _USES.items()} for search in searches]
    lost, by_search = over_searches(runs, "here", "elsewhere"), over_searches(runs, "here", "untreated")
    gains = [*by_search.values()]
    share = share if gains else 0.0
    against = beyond_margin(lost, by_search, margin=margin, share=share)
    enough = len(against) >= FEWEST_SEARCHES
    regret = Contrast.of([*lost.values()] if enough else regrets(searches[0]))
    if regret is None:
        return None
    beyond, gain = Contrast.of(against), Contrast.of(gains)
    above = None if gain is None else gain.bounds(GAIN_LEVEL)
    word = "UNDECIDED"
    if enough and beyond is not None:
        gained, worse = is_gain_shown(gains), is_worse([*lost.values()], against, level)
        word = "FAILS" if worse else "UNDECIDED" if gained else "FLAT"
        if gained and beyond.bounds(level)[1] < 0:
            word = "TRANSFERS"
    low, high = regret.bounds(level)
    needed = beyond.needed(0.0, level) if word == "UNDECIDED" and enough and beyond is not None else None
    return Verdict(
        word=word,
        regret=interval(regret.mean, regret.sd, regret.n),
        low=low,
        high=high,
        level=level,
        declared=margin,
        gain=None if gain is None else interval(gain.mean, gain.sd, gain.n),
        margin=share * fmean(gains) if share else margin,
        halved=False,
        sd=regret.sd,
        n=regret.n,
        seeds=needed if needed is not None and needed > regret.n else None,
        beats={} if above is None else {"scratch": above[0]},
        within={} if above is None else {"scratch": above[1]},
    )


def _means(searches: Sequence[Arms]) -> Arms:
    """Return the mean of native, best and scratch in each search, by its number.

    Average native and best over common seeds, so that their difference is the regret of that search. Put scratch below
    native by their mean difference over common seeds, which may be fewer. Leave out random, which is part of no search.
    """
    means: dict[str, dict[int, float]] = {"native": {}, "best": {}, "scratch": {}}
    for number, arms in enumerate(searches):
        native, best = (arms.get(arm, {}) for arm in ("native", "best"))
        if shared := native.keys() & best.keys():
            for arm, values in (("native", native), ("best", best)):
                means[arm][number] = fmean(values[repeat] for repeat in sorted(shared))
            if gains := _RIVALS["scratch"](arms):
                means["scratch"][number] = means["native"][number] - fmean(gains)
    return means


# The arms of a verdict in terms of the advice.
_USES: Mapping[Use, str] = {"here": "native", "elsewhere": "best", "untreated": "scratch"}


def native_less(other: str) -> Callable[[Arms], list[float]]:
    """Return native - other for each common repeat; for best this is the regret."""
    return lambda arms: differences(arms.get("native", {}), arms.get(other, {}))


regrets = native_less("best")
# Testing whether native beats either of them gives two chances to be lucky, so the tests share the level (Bonferroni).
_RIVALS = {name: native_less(name) for name in ("scratch", "random")}


def _beyond_half(arms: Arms) -> list[float]:
    """Return regret - KEPT * gain for each unit that has native, best and scratch."""
    native, best, scratch = (arms.get(name, {}) for name in ("native", "best", "scratch"))
    shared = sorted(native.keys() & best.keys() & scratch.keys())
    return [native[repeat] - best[repeat] - KEPT * (native[repeat] - scratch[repeat]) for repeat in shared]


def _needed(beyond: Contrast, rivals: Mapping[str, Contrast], margin: float, level: float, *, flat: bool) -> int | None:
    """Return the units that would decide if the estimates are true; None above 10,000.

    The regret must be distinguished from the margin. If it is on the good side, native must also be distinguished from
    one rival (TRANSFERS) or be shown equivalent to all of them (FLAT, if that is still possible).
    """
    needed = [beyond.needed(0.0, level)]
    if rivals and beyond.mean < 0:
        better = [rival.needed(0.0, level / len(rivals)) for rival in rivals.values() if rival.mean > 0]
        alike = [rival.needed(margin, level) for rival in rivals.values() if rival.mean < margin]
        ways = [*better, *([_most(alike)] if flat and len(alike) == len(rivals) else [])]
        known = [units for units in ways if units is not None]
        needed.append(min(known) if known else None)
    most = _most(needed)
    return most if most is not None and most > beyond.n else None


def _most(needed: list[int | None]) -> int | None:
    known = [units for units in needed if units is not None]
    return max(known) if len(known) == len(needed) else None
