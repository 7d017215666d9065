"""Advise the untuned default, values tuned elsewhere, or tuning here; estimate how much of the gain each keeps.

The three strategies share one scale: 0 is no treatment with its own best recipe, 1 is tuning on the dataset itself,
averaged over the searches. The advice is the cheapest strategy shown to lose less than the margin, a share of the gain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, TypeAlias

from sweeps.stats.estimates import FEWEST_RUNS, Contrast, Estimate, differences, estimate, ratio

StrategyName: TypeAlias = Literal["default", "elsewhere", "here"]
Use: TypeAlias = Literal["default", "elsewhere", "here", "untreated"]

# The test scores of one search, in points as displayed, by what was trained and by repeat; repeats share their seeds.
Runs: TypeAlias = Mapping[Use, Mapping[int, float]]

STRATEGIES: tuple[StrategyName, ...] = ("default", "elsewhere", "here")
"""Cheapest first."""

# The level of the one-sided test of each strategy, over all looks and all targets. The loss of a search tuned elsewhere
# is skewed and often exactly 0, so that test errs far more often than its nominal level: both tests together err in up
# to 5.8 % of sweeps at 0.25 %, in less than 5 % at these levels (docs/decisions/advice-level.md, bench/null.py).
LEVELS: Mapping[StrategyName, float] = {"default": 0.025, "elsewhere": 0.001}
LOOKS: Mapping[int, tuple[float, ...]] = {1: (1.0,), 2: (0.8, 0.2), 3: (0.6, 0.2, 0.2)}
"""By number of declared looks: the part of a level that each look uses."""

# The level of the one-sided test for a gain: a gain is shown exactly if its 95 % interval lies above 0, which is when
# Fieller's interval of a share has limits. Not split over looks, because an error only advises tuning, never a worse
# strategy.
GAIN_LEVEL = 0.025


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """One strategy, over searches; differences are in points of the displayed test score.

    gain: over no treatment; None if the trainer has no untreated arm. lost: tuned here minus this strategy; None for
    tuned here itself. share: the fraction of the gain of tuning here that it keeps, with its 95 % interval; None if no
    gain was shown. shown: whether it is shown to lose less than the margin; for tuned here, whether it is shown to
    gain. worse: whether it is shown to lose more than the margin. needed: searches that would show it with 80 % power
    if the estimates are true, at the next look or, after the last look, at the first of another sweep; None if it is
    shown already, if the estimate is on the other side, or above 10,000.
    """

    name: StrategyName
    gain: Estimate | None
    lost: Estimate | None
    share: Estimate | None
    shown: bool
    worse: bool
    needed: int | None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The advice for a dataset.

    use: the strategy, or "untreated" if no gain was shown. gain: of tuning here over no treatment, in points; None if
    the trainer has no untreated arm. margin: the estimated points that may be lost: `margin_share` of the gain or, if
    that is 0, the declared points. strategies: those compared, cheapest first. elsewhere_less_default: the third paired
    difference, in points; None if either is missing. searches: their number; fewer than FEWEST_RUNS show nothing.
    settled: whether more searches cannot change the advice to a cheaper strategy, because each of those is shown to
    lose more than the margin.
    """

    use: Use
    gain: Estimate | None
    margin: float
    margin_share: float
    strategies: tuple[Strategy, ...]
    elsewhere_less_default: Estimate | None
    searches: int
    settled: bool

    def strategy(self, name: StrategyName) -> Strategy | None:
        return next((strategy for strategy in self.strategies if strategy.name == name), None)


def level_of(strategy: StrategyName, *, looks: int, look: int, targets: int) -> float:
    """Return the level of the one-sided test of a strategy at a look (from 1), on one of several targets."""
    return LEVELS[strategy] * LOOKS[looks][look - 1] / targets


def advise(
    searches: Sequence[Runs], *, margin: float, margin_share: float, looks: int = 1, look: int = 1, targets: int = 1
) -> Choice | None:
    """Return the advice for a dataset; None if no search tuned there.

    Advise no treatment if tuning here is not shown to gain over it; else the first of default and elsewhere that is
    shown to lose less than the margin; else tuning here. It is shown if the one-sided upper t bound of one value per
    search, here - strategy - margin_share * (here - untreated), is below 0; this includes the noise of the estimated
    gain. Fewer than FEWEST_RUNS searches show nothing, and tuning here is advised.

    Sources: Piaggio et al. 2012, "Reporting of noninferiority and equivalence randomized trials", JAMA 308, for a bound
    against a declared margin; Fieller 1954 for the shares; Colas, Sigaud & Oudeyer 2018, arXiv:1806.08295, for the
    needed searches. bench/null.py simulates how often an advised strategy is truly worse.

    Args:
        searches: the runs of each search.
        margin: points that may be lost; used if margin_share is 0 or nothing was trained untreated.
        margin_share: the same as a share of the gain.
        looks, look: the number of declared looks, and which one this is, from 1.
        targets: number of datasets with an advice; they share the level (Bonferroni).
    """
    tuned = [search for search in searches if search.get("here")]
    if not tuned:
        return None
    gains = over_searches(tuned, "here", "untreated")
    gain = estimate([*gains.values()])
    enough, share = len(gains or tuned) >= FEWEST_RUNS, margin_share if gains else 0.0
    gained = is_gain_shown([*gains.values()])
    strategies = tuple(
        _strategy(
            name,
            lost=lost,
            own=over_searches(tuned, name, "untreated"),
            gains=gains,
            beyond=beyond_margin(lost, gains, margin=margin, share=share),
            level=level_of(name, looks=looks, look=look, targets=targets),
            # More searches are another look, with its own level.
            next_level=level_of(name, looks=looks, look=look % looks + 1, targets=targets),
        )
        for name in STRATEGIES[:-1]
        if (lost := over_searches(tuned, "here", name))
    )
    first = next((n for n, strategy in enumerate(strategies) if strategy.shown), len(strategies))
    use: Use = strategies[first].name if first < len(strategies) else "here"
    third = over_searches(tuned, "elsewhere", "default")
    return Choice(
        use="untreated" if enough and not gained else use,
        gain=gain,
        margin=margin if gain is None or not share else share * gain.mean,
        margin_share=share,
        strategies=(*strategies, _here(gain, [*gains.values()])),
        elsewhere_less_default=estimate([*third.values()]),
        searches=len(tuned),
        settled=enough and gained and all(strategy.worse for strategy in strategies[:first]),
    )


def is_gain_shown(gains: Sequence[float]) -> bool:
    """Return whether tuning here is shown to gain over no treatment, from one value per search.

    True without values: a trainer without an untreated arm has nothing to fall back to.
    """
    contrast = Contrast.of(gains)
    return not gains or (contrast is not None and contrast.n >= FEWEST_RUNS and contrast.bounds(GAIN_LEVEL)[0] > 0)


def is_worse(lost: Sequence[float], beyond: Sequence[float], level: float) -> bool:
    """Return whether the loss is shown to exceed both the margin and 0, from one value per search.

    Both, because the margin is below 0 if the estimated gain is.
    """
    contrasts = Contrast.of(lost), Contrast.of(beyond)
    return all(contrast is not None and contrast.bounds(level)[0] > 0 for contrast in contrasts)


def over_searches(searches: Sequence[Runs], first: Use, second: Use) -> dict[int, float]:
    """Return the mean of first - second over common seeds, by number of each search that has both."""
    values = {n: differences(runs.get(first, {}), runs.get(second, {})) for n, runs in enumerate(searches)}
    return {number: fmean(differing) for number, differing in values.items() if differing}


def beyond_margin(lost: Mapping[int, float], gains: Mapping[int, float], *, margin: float, share: float) -> list[float]:
    """Return the loss beyond the margin compared with tuning here, in points, one value per search.

    The margin is a share of the gain of tuning here in that search or, if the share is 0, in points.
    """
    if not share:
        return [value - margin for value in lost.values()]
    return [value - share * gains[number] for number, value in lost.items() if number in gains]


def _strategy(
    name: StrategyName,
    *,
    lost: Mapping[int, float],
    own: Mapping[int, float],
    gains: Mapping[int, float],
    beyond: Sequence[float],
    level: float,
    next_level: float,
) -> Strategy:
    """own, gains: gains of the strategy and of tuning here. beyond: its loss beyond the margin."""
    gained, contrast = is_gain_shown([*gains.values()]), Contrast.of(beyond)
    enough = contrast is not None and contrast.n >= FEWEST_RUNS
    high = contrast.bounds(level)[1] if contrast is not None and enough else 0.0
    is_shown, both = gained and high < 0, sorted(own.keys() & gains.keys())
    return Strategy(
        name=name,
        gain=estimate([*own.values()]),
        lost=estimate([*lost.values()]),
        share=ratio([own[n] for n in both], [gains[n] for n in both]) if gained and both else None,
        shown=is_shown,
        worse=enough and is_worse([*lost.values()], beyond, level),
        needed=None if contrast is None or is_shown or contrast.mean >= 0 else _needed(contrast, next_level),
    )


def _here(gain: Estimate | None, gains: Sequence[float]) -> Strategy:
    contrast, is_shown = Contrast.of(gains), bool(gains) and is_gain_shown(gains)
    return Strategy(
        name="here",
        gain=gain,
        lost=None,
        share=Estimate(1.0, 1.0, 1.0, len(gains)) if is_shown else None,
        shown=is_shown,
        worse=False,
        needed=None if contrast is None or is_shown or contrast.mean <= 0 else _needed(contrast, GAIN_LEVEL),
    )


def _needed(contrast: Contrast, level: float) -> int | None:
    searches = contrast.needed(0.0, level)
    return None if searches is None else max(searches, FEWEST_RUNS)
