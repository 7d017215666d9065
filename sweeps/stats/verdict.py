"""Decide the primary question: does the (T, alpha) found on the source dataset transfer to the target dataset?

The verdict compares arms that were trained on the target with the same seeds: "native" (the (T, alpha) found on the
target itself), "best" (the one found on the source), "scratch" (no teacher) and "random" (a random (T, alpha)).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

from sweeps.stats.estimates import Estimate, differences, estimate, one_sided_bounds, seeds_needed

WORDS = ("TRANSFERS", "FAILS", "FLAT", "UNDECIDED")

# The level of each one-sided test at the first, second and third look, by the number of looks that are declared. The
# levels of all looks add up to 5 % (Bonferroni); most is spent on the first, since most sweeps end there.
LEVELS = {1: (0.05,), 2: (0.04, 0.01), 3: (0.03, 0.01, 0.01)}

RIVALS = ("scratch", "random")

# The part of native's gain over scratch that a transferred point has to keep where that gain is proven. At least half
# is the convention for non-inferiority margins: FDA 2016, "Non-Inferiority Clinical Trials", section IV.
KEPT = 0.5


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict and the numbers behind it; all differences are paired by repeat, in points of test accuracy.

    Attributes:
        word: one of WORDS, see `decide`.
        regret: mean of native - best, with its two-sided 95 % t interval.
        low, high: one-sided confidence bounds of the regret at `level`.
        level: type I error rate of each one-sided test.
        declared: the margin of the spec, the largest regret that still counts as a successful transfer.
        gain: mean of native - scratch, with its two-sided 95 % t interval; None without two common repeats.
        margin: the margin that applied: `declared`, or half of the gain where that is smaller and the gain is proven.
        halved: whether half of the gain applied.
        sd, n: standard deviation and number of the differences native - best.
        seeds: number of seeds per arm for a power of 80 % if everything is as estimated. Given only with UNDECIDED,
            where it exceeds n; None also if more than 10,000 would be needed.
        beats: lower one-sided bound of native - scratch and of native - random, as far as these arms exist, at half of
            the level each; above 0, native is significantly better.
        within: upper one-sided bound of the same differences at the whole level; below the declared margin, native
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


def decide(arms: Mapping[str, Mapping[int, float]], *, margin: float, level: float) -> Verdict | None:
    """Return the verdict; None if native or best is missing, or if they share fewer than two repeats.

    The first that applies:
    FAILS: the lower bound of the regret is above the margin that applies.
    TRANSFERS: its upper bound is below the margin that applies, and below the declared one (non-inferiority; best may
    also be better), and native is significantly better than scratch or random, where there is one of them.
    FLAT: native, best, scratch and random are equivalent: the upper bounds of native minus each of the other three are
    below the declared margin. There is nothing to transfer.
    UNDECIDED: otherwise, so also if all differences are equal to the margin.

    The margin that applies is the declared one or, where native is significantly better than scratch and half of that
    gain is less, half of that gain: no distillation at all could else "transfer" by a wide margin. The regret against
    half of the gain is tested as one paired contrast, (native + scratch) / 2 - best, so that the noise of the estimated
    gain counts, too.

    Sources: Piaggio et al. 2012, JAMA 308 (CONSORT, non-inferiority): one-sided bounds against a declared margin;
    Berger & Hsu 1996, Statistical Science 11(4): several bounds that must all hold need no correction. bench/null.py
    simulates the error rates and the power.

    Args:
        arms: test accuracy in points, by arm ("native", "best", "scratch", "random") and repeat.
        margin: the declared one, in points, > 0.
        level: type I error rate of each one-sided test, in (0, 0.5].

    Raises:
        ValueError: for another level.
    """
    native, best = arms.get("native", {}), arms.get("best", {})
    regrets = differences(native, best)
    regret, bounds = estimate(regrets), one_sided_bounds(regrets, level)
    if regret is None or bounds is None:
        return None
    low, high = bounds
    rivals = _rivals(arms)
    beats = {name: _bounds(values, level / len(rivals))[0] for name, values in rivals.items()}
    within = {name: _bounds(values, level)[1] for name, values in rivals.items()}
    gain = estimate(rivals.get("scratch", []))
    contrast = _beyond_half(arms)
    halved = gain is not None and beats["scratch"] > 0 and KEPT * gain.mean < margin and len(contrast) >= 2
    # Differences whose mean is 0 where the regret is the margin that applies.
    beyond = contrast if halved else [value - margin for value in regrets]
    edge = _bounds(beyond, level)
    if edge[0] > 0:
        word = "FAILS"
    elif edge[1] < 0 and high < margin and (not beats or max(beats.values()) > 0):
        word = "TRANSFERS"
    elif rivals and high < margin and max(within.values()) < margin:
        word = "FLAT"
    else:
        word = "UNDECIDED"
    return Verdict(
        word=word,
        regret=regret,
        low=low,
        high=high,
        level=level,
        declared=margin,
        gain=gain,
        margin=KEPT * gain.mean if halved and gain is not None else margin,
        halved=halved,
        sd=stdev(regrets),
        n=regret.n,
        seeds=_seeds(beyond, rivals, margin, level) if word == "UNDECIDED" else None,
        beats=beats,
        within=within,
    )


def _rivals(arms: Mapping[str, Mapping[int, float]]) -> dict[str, list[float]]:
    """Return native minus scratch and native minus random, where they share two repeats.

    Where native is tested to beat either of them the two tests share the level (Bonferroni): two chances to be lucky.
    """
    found = {name: differences(arms.get("native", {}), arms.get(name, {})) for name in RIVALS}
    return {name: values for name, values in found.items() if len(values) >= 2}


def _beyond_half(arms: Mapping[str, Mapping[int, float]]) -> list[float]:
    """Return regret - KEPT * gain for each repeat that native, best and scratch have."""
    native, best, scratch = (arms.get(name, {}) for name in ("native", "best", "scratch"))
    shared = sorted(native.keys() & best.keys() & scratch.keys())
    return [native[one] - best[one] - KEPT * (native[one] - scratch[one]) for one in shared]


def _bounds(values: list[float], level: float) -> tuple[float, float]:
    found = one_sided_bounds(values, level)
    assert found is not None
    return found


def _seeds(beyond: list[float], rivals: Mapping[str, list[float]], margin: float, level: float) -> int | None:
    """Return the seeds that would decide if everything is as estimated; None if that takes more than 10,000.

    The regret has to be told from the margin that applies. Where it is on the good side, native has also to be told
    from one rival (TRANSFERS), or to be shown equivalent to all of them (FLAT).
    """
    needed = [_needed(beyond, 0.0, level)]
    if rivals and fmean(beyond) < 0:
        better = [_needed(values, 0.0, level / len(rivals)) for values in rivals.values() if fmean(values) > 0]
        alike = [_needed(values, margin, level) for values in rivals.values() if fmean(values) < margin]
        ways = [*better, *([_most(alike)] if len(alike) == len(rivals) else [])]
        known = [seeds for seeds in ways if seeds is not None]
        needed.append(min(known) if known else None)
    most = _most(needed)
    return most if most is not None and most > len(beyond) else None


def _needed(values: list[float], edge: float, level: float) -> int | None:
    return seeds_needed(stdev(values), abs(fmean(values) - edge), level=level)


def _most(seeds: list[int | None]) -> int | None:
    known = [one for one in seeds if one is not None]
    return max(known) if len(known) == len(seeds) else None
