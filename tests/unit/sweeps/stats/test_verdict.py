"""Every word of the verdict, from arms with bounds computed by hand."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweeps.stats.estimates import seeds_needed
from sweeps.stats.verdict import WORDS, Verdict, decide
from tests.support.present import present

# Differences whose mean is 0 and whose standard deviation is 1: with t[0.95, 3] = 2.3534 the one-sided bounds are
# mean -+ 2.3534 / sqrt(4) = 1.1767 at a level of 5 %; half of the level gives 3.1824 / 2 = 1.5912.
SPREAD = [-math.sqrt(3) / 2, math.sqrt(3) / 2, -math.sqrt(3) / 2, math.sqrt(3) / 2]
HALF, HALF_SHARED = 1.17668, 1.59122
NATIVE = {0: 70.0, 1: 71.0, 2: 69.0, 3: 72.0}


def below(points: float, *, spread: float = 1.0) -> dict[int, float]:
    """Return an arm `points` below native on average, with differences of that standard deviation."""
    return {repeat: NATIVE[repeat] - points - spread * SPREAD[repeat] for repeat in NATIVE}


def bounds(values: Sequence[float], level: float) -> tuple[float, float]:
    """Return scipy's one-sided bounds of the mean."""
    half = stats.t.isf(level, len(values) - 1) * stats.sem(values)
    return float(np.mean(values) - half), float(np.mean(values) + half)


def verdict(searches: list[dict[str, dict[int, float]]], *, margin: float, level: float, rule: int = 2) -> Verdict:
    return present(decide(searches, margin=margin, level=level, rule=rule))


def decided(regret: float, *, spread: float = 1.0, scratch: float = 9.0, random: float = 9.0) -> Verdict:
    """Decide with a margin of 2 points at a level of 5 %."""
    arms = {"native": NATIVE, "best": below(regret, spread=spread), "scratch": below(scratch), "random": below(random)}
    return verdict([arms], margin=2.0, level=0.05)


def test_the_verdict_has_the_bounds_behind_it() -> None:
    decision = decided(0.5)
    assert (decision.word, decision.n, decision.seeds) == ("TRANSFERS", 4, None)
    assert (decision.low, decision.high) == pytest.approx((0.5 - HALF, 0.5 + HALF), abs=1e-4)
    assert (decision.regret.mean, decision.regret.low, decision.sd) == pytest.approx(
        (0.5, 0.5 - HALF_SHARED, 1.0), abs=1e-4
    )
    assert decision.beats == pytest.approx({"scratch": 9 - HALF_SHARED, "random": 9 - HALF_SHARED}, abs=1e-4)
    assert decision.within == pytest.approx({"scratch": 9 + HALF, "random": 9 + HALF}, abs=1e-4)
    assert (decision.level, decision.declared, decision.margin, decision.halved) == (0.05, 2.0, 2.0, False)
    assert present(decision.gain).mean == pytest.approx(9.0)


@pytest.mark.parametrize(
    ("regret", "word"),
    [
        (-5.0, "TRANSFERS"),  # best can be better
        (2 - HALF - 0.001, "TRANSFERS"),
        (2 - HALF + 0.001, "UNDECIDED"),
        (2.0, "UNDECIDED"),
        (2 + HALF - 0.001, "UNDECIDED"),
        (2 + HALF + 0.001, "FAILS"),
    ],
)
def test_the_word_changes_where_a_bound_meets_the_margin(regret: float, word: str) -> None:
    assert decided(regret).word == word


def test_a_point_that_loses_much_fails_for_any_gain_of_native() -> None:
    for gain in (-5.0, 0.0, 0.5, 9.0):
        assert decided(2 + HALF + 0.001, scratch=gain, random=gain).word == "FAILS"


def test_half_of_a_significant_gain_is_the_margin_if_it_is_smaller() -> None:
    # native gains 3 over scratch without spread of its own: half of that is 1.5 < 2
    arms = {"native": NATIVE, "best": below(0.2), "scratch": below(3.0, spread=0.0), "random": below(9.0)}
    decision = verdict([arms], margin=2.0, level=0.05)
    assert (decision.word, decision.halved, decision.margin, decision.declared) == ("TRANSFERS", True, 1.5, 2.0)
    for regret, word in ((1.5 - HALF - 0.001, "TRANSFERS"), (1.5 - HALF + 0.001, "UNDECIDED")):
        decision = verdict([arms | {"best": below(regret)}], margin=2.0, level=0.05)
        assert decision.word == word
    decision = verdict([arms | {"best": below(1.5 + HALF + 0.001)}], margin=2.0, level=0.05)
    assert decision.word == "FAILS"


def test_no_distillation_never_transfers_if_native_gains() -> None:
    # every gain here is significant, so half of it is the margin; the declared margin of 5 would allow the loss
    for gain in (1.6, 2.0, 3.9):
        scratch = below(gain, spread=0.1)
        arms = {"native": NATIVE, "best": scratch, "scratch": scratch, "random": below(9.0)}
        decision = verdict([arms], margin=5.0, level=0.05)
        assert (decision.word, decision.halved) == ("FAILS", True)


def test_half_of_the_gain_is_tested_with_the_noise_of_the_gain() -> None:
    # The contrast (native + scratch) / 2 - best has the spread of the gain, too, and may no longer decide.
    noisy = {repeat: NATIVE[repeat] - 3.0 - 3.0 * SPREAD[repeat] for repeat in NATIVE}
    arms = {"native": NATIVE, "best": below(0.2), "scratch": noisy}
    decision = verdict([arms], margin=1.6, level=0.25)
    assert decision.halved
    contrast = [0.2 + SPREAD[repeat] - 0.5 * (3.0 + 3.0 * SPREAD[repeat]) for repeat in NATIVE]
    assert (decision.word == "TRANSFERS") == (bounds(contrast, 0.25)[1] < 0)


def test_flat_needs_every_difference_within_the_margin() -> None:
    edge = 2 - HALF - 0.001  # the upper bound of native minus a rival is just below the margin of 2
    assert decided(0.0, scratch=edge, random=edge).word == "FLAT"
    assert decided(0.0, scratch=edge + 0.002, random=0.0).word == "UNDECIDED"
    assert decided(0.0, scratch=0.0, random=edge + 0.002).word == "UNDECIDED"
    assert decided(edge + 0.002, scratch=0.0, random=0.0).word == "UNDECIDED", "best may lose more than the margin"
    assert decided(0.0, scratch=-9.0, random=0.0).word == "FLAT", "native can be worse than a rival"


def over_searches(gains: list[float], regrets: list[float]) -> list[dict[str, dict[int, float]]]:
    """Return searches with one seed each."""
    return [
        {"native": {0: 70.0}, "best": {0: 70.0 - regret}, "scratch": {0: 70.0 - gain}}
        for gain, regret in zip(gains, regrets, strict=True)
    ]


# The searches of a Fashion-MNIST sweep: native gains 0.48 +- 0.19, and best loses 0.07 +- 0.12.
SMALL_GAIN = over_searches([0.40, 0.55, 0.20, 0.70, 0.55], [0.00, 0.05, 0.25, -0.05, 0.10])


def test_a_verdict_is_not_flat_with_a_significant_gain_even_a_small_one() -> None:
    decision = verdict(SMALL_GAIN, margin=1.0, level=0.01)
    assert decision.beats["scratch"] > 0
    assert (decision.word, decision.halved, decision.margin) == ("UNDECIDED", True, pytest.approx(0.24))
    assert present(decision.seeds) > decision.n
    old = verdict(SMALL_GAIN, margin=1.0, level=0.01, rule=1)
    assert old.word == "FLAT", "rule 1 ignores a small gain"
    assert (old.low, old.high, old.margin) == (decision.low, decision.high, decision.margin)


def test_a_verdict_is_not_flat_with_an_interval_of_the_gain_above_0() -> None:
    # the gain is not significant at 0.1 %, but its 95 % interval is above 0
    searches = over_searches([0.1, 0.5, 0.3, 0.5, 0.2], [0.0, 0.1, 0.0, 0.1, -0.1])
    decision = verdict(searches, margin=1.0, level=0.001)
    assert decision.beats["scratch"] < 0 < present(present(decision.gain).low)
    assert max(decision.high, *decision.within.values()) < 1.0
    assert decision.word == "UNDECIDED"
    assert decision.seeds is None or decision.seeds > decision.n


@pytest.mark.parametrize(("rule", "word", "sd"), [(1, "TRANSFERS", 0.0), (2, "UNDECIDED", 3.0)])
def test_searches_that_agree_by_chance_are_as_uncertain_as_their_seeds(rule: int, word: str, sd: float) -> None:
    arms = {"native": NATIVE, "best": below(0.0, spread=6.0), "scratch": below(9.0)}
    decision = verdict([arms, arms, arms, arms], margin=1.0, level=0.05, rule=rule)
    # with four seeds of sd 6, the mean of a search has sd 3, and that of four searches 1.5
    assert (decision.word, decision.sd, decision.n) == (word, pytest.approx(sd), 4)
    assert decision.regret.high == pytest.approx(sd * HALF_SHARED, abs=1e-4)
    assert decision.high == pytest.approx(sd * HALF, abs=1e-4)


def test_a_single_rival_is_tested_at_the_whole_level_and_without_rivals_no_verdict_is_flat() -> None:
    arms = {"native": NATIVE, "best": below(0.0), "random": below(HALF + 0.001), "scratch": {0: 60.0, 7: 60.0}}
    decision = verdict([arms], margin=2.0, level=0.05)
    assert (decision.word, decision.beats) == ("TRANSFERS", {"random": pytest.approx(0.001, abs=1e-4)})
    decision = verdict([arms | {"random": below(HALF - 0.001)}], margin=2.0, level=0.05)
    assert decision.word == "UNDECIDED"
    decision = verdict([{"native": NATIVE, "best": below(0.0)}], margin=2.0, level=0.05)
    assert (decision.word, decision.beats) == ("TRANSFERS", {})


def test_undecided_comes_with_the_estimated_seeds_that_would_decide() -> None:
    # 1 point away, sd 1: (1.8946 + 0.8960) / sqrt(8) = 0.987 with 8, (1.9432 + 0.9057) / sqrt(7) = 1.077 with 7
    assert (decided(1.0).word, decided(1.0).seeds) == ("UNDECIDED", 8)
    assert decided(3.0).seeds == 8
    assert decided(2.0).seeds is None, "at the margin no number of seeds decides"


def test_the_seeds_that_decide_also_settle_the_gain_of_native() -> None:
    # The regret is settled; native must be distinguished from a rival (at half the level) or from the margin.
    decision = decided(-5.0, scratch=0.5, random=0.5)
    assert decision.word == "FLAT"
    decision = decided(-5.0, scratch=1.0, random=1.0)
    assert decision.word == "UNDECIDED"
    assert decision.seeds == min(present(seeds_needed(1.0, 1.0, level=level)) for level in (0.05, 0.025))


def test_without_spread_the_bounds_are_the_mean() -> None:
    for regret, word in ((1.0, "TRANSFERS"), (2.0, "UNDECIDED"), (3.0, "FAILS")):
        decision = decided(regret, spread=0.0)
        assert (decision.word, decision.low, decision.high) == (word, regret, regret)
        assert (decision.sd, decision.seeds) == (0.0, None)
    same = verdict([{"native": NATIVE, "best": NATIVE, "scratch": NATIVE, "random": NATIVE}], margin=2.0, level=0.05)
    assert (same.word, same.beats) == ("FLAT", {"scratch": 0.0, "random": 0.0})


@pytest.mark.parametrize(
    "arms",
    [
        {},
        {"native": NATIVE},
        {"best": NATIVE, "scratch": NATIVE},
        {"native": {0: 70.0}, "best": {0: 70.0}},
        {"native": {0: 70.0, 1: 70.0}, "best": {1: 70.0, 2: 70.0}},
    ],
)
def test_without_two_repeats_of_native_and_best_there_is_no_verdict(arms: dict[str, dict[int, float]]) -> None:
    assert decide([arms], margin=2.0, level=0.05) is None


ACCURACY = st.floats(0, 100)
REPEATS = st.dictionaries(st.integers(0, 9), ACCURACY, max_size=10)
ARMS = st.fixed_dictionaries({}, optional=dict.fromkeys(("native", "best", "scratch", "random"), REPEATS))


@settings(max_examples=60, deadline=None)
@given(ARMS, st.floats(0.01, 10), st.sampled_from([0.05, 0.05 / 2, 0.05 / 3]))
def test_for_any_arms_the_word_agrees_with_the_bounds(
    arms: dict[str, dict[int, float]], margin: float, level: float
) -> None:
    decision = decide([arms], margin=margin, level=level)
    shared = arms.get("native", {}).keys() & arms.get("best", {}).keys()
    if len(shared) < 2:
        assert decision is None
        return
    assert decision is not None
    assert decision.word in WORDS
    expected = bounds([arms["native"][r] - arms["best"][r] for r in sorted(shared)], level)
    assert (decision.low, decision.high) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert decision.margin <= decision.declared == margin
    if decision.word == "TRANSFERS":
        assert decision.high < margin
        assert not decision.beats or max(decision.beats.values()) > 0
    elif decision.word == "FAILS" and not decision.halved:
        assert decision.low > margin
    elif decision.word == "FLAT":
        assert max(decision.high, *decision.within.values()) < margin
    if decision.word != "UNDECIDED":
        assert decision.seeds is None
    elif decision.seeds is not None:
        assert decision.seeds > decision.n


@settings(max_examples=40, deadline=None)
@given(ARMS, st.floats(-50, 50))
def test_an_offset_shared_by_all_arms_of_a_repeat_changes_no_word(
    arms: dict[str, dict[int, float]], luck: float
) -> None:
    whole = {name: {repeat: float(round(value)) for repeat, value in scores.items()} for name, scores in arms.items()}
    moved = {name: {r: value + r * round(luck) for r, value in scores.items()} for name, scores in whole.items()}
    assert decide([whole], margin=1.0, level=0.05) == decide([moved], margin=1.0, level=0.05)


def third(gains: list[float], losses: list[float], *, level: float = 0.05, share: float = 0.2) -> Verdict:
    """Decide by rule 3, with a margin that is a share of the gain."""
    decision = decide(over_searches(gains, losses), margin=9.0, margin_share=share, level=level, rule=3)
    return present(decision)


def test_rule_3_decides_each_word_at_a_share_of_the_gain() -> None:
    # 20 % of a gain of 10 are 2 points; the four losses have sd 1, like SPREAD.
    gains = [10.0] * 4
    for loss, word in (
        (2 - HALF - 0.001, "TRANSFERS"),
        (2 - HALF + 0.001, "UNDECIDED"),
        (2 + HALF - 0.001, "UNDECIDED"),
        (2 + HALF + 0.001, "FAILS"),
    ):
        decision = third(gains, [loss + value for value in SPREAD])
        assert (decision.word, decision.margin) == (word, pytest.approx(2.0))
        assert (decision.declared, decision.halved) == (9.0, False)
    assert third([value - 1.0 for value in SPREAD], [value * 0.1 for value in SPREAD]).word == "FLAT"
    assert third([value - 1.0 for value in SPREAD], [5.0 + value for value in SPREAD]).word == "FAILS"
    decision = third(gains, [1.5 + value for value in SPREAD])
    assert decision.seeds == seeds_needed(1.0, 0.5, level=0.05)


def test_rule_3_uses_the_observed_variance_of_the_searches_and_needs_three_of_them() -> None:
    seeds = {0: 70.0, 1: 74.0}
    alike = [{"native": seeds, "best": {0: 75.0, 1: 69.0}, "scratch": {0: 50.0, 1: 54.0}} for _ in range(3)]
    assert present(decide(alike, margin=1.0, margin_share=0.2, level=0.01, rule=3)).sd == 0.0
    few = present(decide(alike[:2], margin=1.0, margin_share=0.2, level=0.01, rule=3))
    assert (few.word, few.n, few.seeds) == ("UNDECIDED", 2, None), "the unit is the two seeds of the first search"
    assert decide([{"native": seeds}], margin=1.0, level=0.01, rule=3) is None
