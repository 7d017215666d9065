"""The advice, from one value per search and bounds computed by hand."""

import math
from collections.abc import Sequence
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweeps.stats.advice import GAIN_LEVEL, LEVELS, LOOKS, STRATEGIES, Choice, Runs, Strategy, advise, level_of
from sweeps.stats.estimates import Estimate, ratio, seeds_needed
from sweeps.stats.verdict import decide
from tests.support.present import present

# Four values whose mean is 0 and whose standard deviation is 1.
SPREAD = [-math.sqrt(3) / 2, math.sqrt(3) / 2, -math.sqrt(3) / 2, math.sqrt(3) / 2]
# Half-widths for their mean: t[0.975, 3] / sqrt(4) for default and the gain, t[0.999, 3] / sqrt(4) for elsewhere.
DEFAULT, ELSEWHERE = 3.182446 / 2, 10.214532 / 2


def spread(mean: float, sd: float = 1.0) -> list[float]:
    return [mean + sd * value for value in SPREAD]


def runs(
    *, gain: Sequence[float] = (), default: Sequence[float] = (), elsewhere: Sequence[float] = (), searches: int = 4
) -> list[Runs]:
    """Return searches with two seeds each: 70 and 72 for tuning here, less the given loss for the others."""
    losses: list[tuple[str, Sequence[float]]] = [
        ("untreated", gain),
        ("default", default),
        ("elsewhere", elsewhere),
    ]
    search_runs = []
    for number in range(searches):
        search = {"here": {0: 70.0, 1: 72.0}}
        for use, strategy_losses in losses:
            if strategy_losses:
                search[use] = {0: 70.0 - strategy_losses[number], 1: 72.0 - strategy_losses[number]}
        search_runs.append(search)
    return search_runs  # type: ignore[return-value]


def advice(searches: Sequence[Runs], *, margin: float = 1.0, share: float = 0.2, **more: int) -> Choice:
    return present(advise(searches, margin=margin, margin_share=share, **more))


def of(choice: Choice, name: str) -> Strategy:
    return next(strategy for strategy in choice.strategies if strategy.name == name)


def test_the_levels_are_split_over_looks_and_shared_by_targets() -> None:
    assert LEVELS == {"default": 0.025, "elsewhere": 0.001}
    assert GAIN_LEVEL == 0.025
    assert level_of("default", looks=3, look=1, targets=1) == pytest.approx(0.015)
    assert level_of("elsewhere", looks=2, look=2, targets=2) == pytest.approx(0.0001)
    assert [len(parts) for parts in LOOKS.values()] == [*LOOKS]
    assert [sum(parts) for parts in LOOKS.values()] == pytest.approx([1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("default", "elsewhere", "use"),
    [
        # The margin is exactly 2 points: 20 % of a gain of 10 in every search.
        (2 - DEFAULT - 0.001, 2 - ELSEWHERE - 0.001, "default"),
        (2 - DEFAULT + 0.001, 2 - ELSEWHERE - 0.001, "elsewhere"),
        (2 - DEFAULT + 0.001, 2 - ELSEWHERE + 0.001, "here"),
        (-9.0, 9.0, "default"),
        (9.0, -9.0, "elsewhere"),
    ],
)
def test_the_cheapest_strategy_that_surely_loses_less_than_the_margin_is_advised(
    default: float, elsewhere: float, use: str
) -> None:
    choice = advice(runs(gain=[10.0] * 4, default=spread(default), elsewhere=spread(elsewhere)))
    assert (choice.use, choice.searches, choice.margin, choice.margin_share) == (use, 4, 2.0, 0.2)
    assert [strategy.name for strategy in choice.strategies] == list(STRATEGIES)
    assert [of(choice, "default").shown, of(choice, "elsewhere").shown] == [
        default < 2 - DEFAULT,
        elsewhere < 2 - ELSEWHERE,
    ]


def test_a_share_of_the_gain_is_tested_with_the_noise_of_the_gain() -> None:
    # The loss is 0.5 in every search, the margin 2 on average; the contrast keeps 0.2 * 5 of the spread of the gain.
    choice = advice(runs(gain=spread(10.0, 5.0), default=[0.5] * 4, elsewhere=[0.5] * 4))
    upper = 0.5 - 2.0 + DEFAULT  # without the spread of the gain it would be below 0
    assert (choice.use, upper > 0) == ("here", True)
    assert advice(runs(gain=spread(10.0, 4.0), default=[0.5] * 4, elsewhere=[0.5] * 4)).use == "default"


def test_the_numbers_of_a_strategy_are_over_searches() -> None:
    gains, default, elsewhere = spread(10.0), spread(1.5, 2.0), spread(0.5, 0.5)
    choice = advice(runs(gain=gains, default=default, elsewhere=elsewhere))
    untuned, tuned = of(choice, "default"), of(choice, "here")
    low, high = stats.ttest_1samp(default, 0).confidence_interval()
    lost = present(untuned.lost)
    assert (lost.mean, lost.low, lost.high) == pytest.approx((1.5, low, high))
    untuned_gains = [gain - lost for gain, lost in zip(gains, default, strict=True)]
    assert present(untuned.gain).mean == pytest.approx(fmean(untuned_gains))
    share, fieller = present(untuned.share), present(ratio(untuned_gains, gains))
    assert (share.mean, share.low, share.high) == pytest.approx((0.85, fieller.low, fieller.high))
    assert (tuned.share, tuned.lost, tuned.gain) == (Estimate(1.0, 1.0, 1.0, 4), None, choice.gain)
    third = present(choice.elsewhere_less_default)
    assert (third.mean, third.n) == (pytest.approx(1.0), 4)
    beyond = [lost - 0.2 * gain for lost, gain in zip(default, gains, strict=True)]
    sd = float(stats.tstd(beyond))
    assert untuned.needed == seeds_needed(sd, 0.5, level=LEVELS["default"])
    assert present(untuned.needed) > 4


@pytest.mark.parametrize(("looks", "look", "part"), [(2, 1, 0.2), (2, 2, 0.8), (3, 1, 0.2), (3, 2, 0.2), (3, 3, 0.6)])
def test_the_number_of_searches_needed_is_for_the_next_look(looks: int, look: int, part: float) -> None:
    choice = advice(runs(gain=[10.0] * 4, default=spread(1.5, 2.0), elsewhere=spread(1.5, 2.0)), looks=looks, look=look)
    for name, level in LEVELS.items():
        needed, sd = present(of(choice, name).needed), float(stats.tstd(spread(1.5, 2.0)))
        high = stats.t.isf(part * level, needed - 1)
        power = stats.nct.sf(high, needed - 1, 0.5 * needed**0.5 / sd)
        assert power == pytest.approx(0.8, abs=0.01), name


def test_without_a_gain_no_treatment_is_advised_and_there_is_no_share() -> None:
    for gain in (DEFAULT - 0.001, 0.0, -9.0):
        choice = advice(runs(gain=spread(gain), default=spread(-5.0), elsewhere=spread(-9.0)))
        assert choice.use == "untreated"
        assert not choice.settled
        assert [(strategy.share, strategy.shown) for strategy in choice.strategies] == [(None, False)] * 3
    needed = of(advice(runs(gain=spread(1.0), default=spread(0.0))), "here").needed
    assert needed == seeds_needed(1.0, 1.0, level=GAIN_LEVEL)
    assert of(advice(runs(gain=spread(-1.0))), "here").needed is None
    choice = advice(runs(gain=spread(DEFAULT + 0.001), default=spread(9.0), elsewhere=spread(9.0)))
    assert choice.use == "here"
    assert all(strategy.share is not None for strategy in choice.strategies)


def test_advice_is_settled_if_no_cheaper_strategy_can_replace_it() -> None:
    good, bad, open_ = [0.1] * 4, [9.0] * 4, spread(1.0, 3.0)
    gain = spread(10.0, 0.1)
    for default, elsewhere, use, settled in (
        (good, bad, "default", True),
        (bad, good, "elsewhere", True),
        (open_, good, "elsewhere", False),
        (bad, bad, "here", True),
        (bad, open_, "here", False),
        (open_, bad, "here", False),
    ):
        choice = advice(runs(gain=gain, default=default, elsewhere=elsewhere))
        assert (choice.use, choice.settled) == (use, settled), (default, elsewhere)


def test_fewer_than_three_searches_decide_nothing() -> None:
    for searches in (1, 2):
        choice = advice(runs(gain=[9.0, 9.1], default=[-5.0, -5.1], elsewhere=[9.0, 9.1], searches=searches))
        assert (choice.use, choice.settled, choice.searches) == ("here", False, searches)
        assert [(strategy.shown, strategy.worse, strategy.share) for strategy in choice.strategies] == [
            (False, False, None)
        ] * 3
        needed = [strategy.needed for strategy in choice.strategies]
        assert needed == ([None] * 3 if searches == 1 else [3, None, 3]), "one search has no spread"
    assert advise([], margin=1.0, margin_share=0.2) is None
    assert advise([{"default": {0: 1.0}}], margin=1.0, margin_share=0.2) is None
    # a search whose trainings all failed does not count
    three = [*runs(gain=[9.0] * 3, default=[-5.0] * 3, searches=3), {"default": {0: 1.0}}]
    assert (advice(three).searches, advice(three).use) == (3, "default")


def test_a_trainer_without_an_untreated_arm_has_a_margin_in_points() -> None:
    for default, use in ((1 - DEFAULT - 0.001, "default"), (1 - DEFAULT + 0.001, "here")):
        choice = advice(runs(default=spread(default)))
        assert (choice.use, choice.gain, choice.margin, choice.margin_share) == (use, None, 1.0, 0.0)
        assert [(strategy.share, strategy.gain) for strategy in choice.strategies] == [(None, None)] * 2


def test_a_margin_in_points_is_used_if_no_share_is_declared() -> None:
    choice = advice(runs(gain=[10.0] * 4, default=spread(1.5 - DEFAULT)), margin=1.0, share=0.0)
    assert (choice.use, choice.margin) == ("here", 1.0)
    assert present(of(choice, "default").share).mean == pytest.approx(1 - (1.5 - DEFAULT) / 10)
    assert advice(runs(gain=[10.0] * 4, default=spread(0.9 - DEFAULT)), margin=1.0, share=0.0).use == "default"


def test_with_one_dataset_nothing_is_tuned_elsewhere() -> None:
    choice = advice(runs(gain=[10.0] * 4, default=spread(9.0)))
    assert [strategy.name for strategy in choice.strategies] == ["default", "here"]
    assert (choice.use, choice.elsewhere_less_default, choice.settled) == ("here", None, True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-9, 15)), min_size=1, max_size=9), st.booleans())
def test_the_verdict_of_rule_3_agrees_with_the_advice_on_elsewhere(
    values: list[tuple[float, float]], in_points: bool
) -> None:
    lost, gain = [value for value, _ in values], [value for _, value in values]
    searches = runs(gain=gain, elsewhere=lost, searches=len(values))
    share, level = 0.0 if in_points else 0.2, level_of("elsewhere", looks=1, look=1, targets=1)
    choice = advice(searches, share=share)
    arms = [
        {"native": search["here"], "best": search["elsewhere"], "scratch": search["untreated"]} for search in searches
    ]
    verdict = present(decide(arms, margin=1.0, margin_share=share, level=level, rule=3))
    strategy = of(choice, "elsewhere")
    assert (verdict.word == "TRANSFERS") == strategy.shown
    assert (verdict.word == "FAILS") == strategy.worse
    if verdict.word == "FLAT":
        assert choice.use == "untreated"
    if len(values) > 2:
        assert verdict.margin == pytest.approx(choice.margin)
        assert (verdict.regret, verdict.gain) == (strategy.lost, choice.gain)
