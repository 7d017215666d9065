"""Many settings against one baseline: intervals and p values against scipy, Holm by hand, luck from theory."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from sweeps.stats.baseline import (
    LEAST_SPREAD,
    LEVEL,
    Against,
    Scores,
    against,
    expected_best,
    luck_of_choice,
    run_spreads,
    ties,
)
from sweeps.stats.estimates import FEWEST_RUNS
from tests.support.present import present


def runs(values: list[float], *, dataset: str = "", seeds: str = "") -> Scores:
    """Return scores by dataset and seed; seeds is a prefix of seed names, to make settings share none."""
    return {(dataset, f"{seeds}{number}"): value for number, value in enumerate(values)}


def against_base(scores: Scores, baseline: Scores, *, margin: float | None = None) -> Against:
    (answer,) = against({"a": scores, "base": baseline}, "base", margin=margin)
    return answer


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=3, max_size=12))
def test_with_shared_seeds_it_is_scipys_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    first, second = map(list, zip(*pairs, strict=True))
    if np.ptp(np.subtract(first, second)) < 1e-3:
        return  # without spread there is no test
    answer, test = against_base(runs(first), runs(second)), stats.ttest_rel(first, second)
    value = present(answer.difference)
    assert answer.paired
    assert (value.low, value.high) == pytest.approx(tuple(test.confidence_interval(0.95)), rel=1e-6, abs=1e-6)
    assert answer.p == pytest.approx(test.pvalue, rel=1e-6, abs=1e-9)
    assert answer.p_holm == answer.p
    assert answer.better == (test.pvalue < LEVEL and test.statistic > 0)
    assert answer.worse == (test.pvalue < LEVEL and test.statistic < 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=3, max_size=9), st.lists(st.floats(0, 100), min_size=3, max_size=9))
def test_without_a_shared_seed_it_is_welchs_test_with_whole_degrees_of_freedom(
    first: list[float], second: list[float]
) -> None:
    if min(np.ptp(first), np.ptp(second)) < 1e-3:
        return
    answer = against_base(runs(first), runs(second, seeds="other"))
    test = stats.ttest_ind(first, second, equal_var=False)
    value, whole = present(answer.difference), math.floor(test.df + 1e-9)
    assert not answer.paired
    assert value.n == min(len(first), len(second))
    assert value.mean == pytest.approx(np.mean(first) - np.mean(second), abs=1e-9)
    assert answer.p == pytest.approx(2 * stats.t.sf(abs(test.statistic), whole), rel=1e-6, abs=1e-9)
    assert present(answer.p) >= test.pvalue - 1e-9, "rounding down is conservative"


def test_holm_counts_every_setting() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(0, 1, 8)
    scores = {f"s{number}": runs([*(base + rng.normal(0.6 * number, 1, 8))]) for number in range(4)}
    answers = against({"base": runs([*base])} | scores, "base")
    by_p = sorted(answers, key=lambda answer: present(answer.p))
    steps = [min(1.0, (4 - rank) * present(answer.p)) for rank, answer in enumerate(by_p)]
    assert [answer.p_holm for answer in by_p] == pytest.approx(np.maximum.accumulate(steps))
    assert [answer.better for answer in by_p] == [
        present(answer.p_holm) < LEVEL and present(answer.difference).mean > 0 for answer in by_p
    ]


def test_over_several_datasets_every_pair_counts_and_each_dataset_has_its_own_interval() -> None:
    base = runs([1.0, 2.0, 3.0], dataset="m") | runs([10.0, 12.0], dataset="n")
    scores = runs([1.5, 2.6, 3.4], dataset="m") | runs([11.0, 12.5], dataset="n")
    answer = against_base(scores, base)
    differences = [0.5, 0.6, 0.4, 1.0, 0.5]
    assert present(answer.difference).mean == pytest.approx(np.mean(differences))
    assert present(answer.difference).n == 5
    assert answer.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert {name: (value.mean, value.n) for name, value in answer.by_dataset.items()} == {
        "m": (pytest.approx(0.5), 3),
        "n": (pytest.approx(0.75), 2),
    }


def test_welch_over_several_datasets_weights_them_equally() -> None:
    base = runs([1.0, 2.0, 3.0], dataset="m") | runs([10.0, 12.0, 14.0], dataset="n")
    scores = runs([2.0, 3.0, 4.0], dataset="m", seeds="x") | runs([13.0, 15.0, 17.0], dataset="n", seeds="x")
    answer = against_base(scores, base)
    assert present(answer.difference).mean == pytest.approx((1.0 + 3.0) / 2)
    # Variances of the means 1/3, 1/3, 4/3, 4/3, each with two degrees of freedom, over two datasets.
    error, df = math.sqrt(10 / 3) / 2, math.floor((10 / 3) ** 2 / (2 * (1 / 9 + 16 / 9) / 2))
    assert answer.p == pytest.approx(2 * stats.t.sf(2.0 / error, df))


def test_a_variance_whose_square_underflows_has_degrees_of_freedom() -> None:
    tiny = {"baseline": runs([2.5e-134, 0.0]), "a": runs([0.0, 0.0], seeds="other")}
    (item,) = against(tiny, "baseline")
    assert (item.paired, present(item.difference).n) == (False, 2)


def test_fewer_than_three_pairs_decide_nothing_and_do_not_count_in_holm() -> None:
    base = runs([0.0, 0.1, 0.2, 0.3])
    answers = against({"base": base, "two": runs([5.0, 5.2]), "four": runs([0.5, 0.7, 0.6, 0.9])}, "base")
    two, four = answers
    assert FEWEST_RUNS == 3
    assert (two.p, two.p_holm, two.better, present(two.difference).low) == (None, None, False, None)
    assert four.p == four.p_holm, "it is the only test, so Holm changes nothing"
    lonely = against_base(runs([1.0]), runs([0.0]))
    assert (present(lonely.difference).mean, lonely.p, lonely.needed) == (1.0, None, None)


def test_equal_differences_are_no_evidence_even_if_rounding_makes_them_differ() -> None:
    base = [0.81, 0.1, 0.7, 0.8]
    answer = against_base(runs([value + 0.1 for value in base]), runs(base))
    assert np.std(np.subtract([value + 0.1 for value in base], base)) > 0
    assert (answer.alike, answer.p, answer.better) == (True, None, False)
    assert against_base(runs(base), runs(base)).alike


def test_a_spread_that_is_small_by_chance_is_raised_to_a_share_of_the_others() -> None:
    base = [0.0, 0.0, 0.0, 0.0]
    noisy = {f"n{number}": runs([1.0, -1.0, 1.2, -1.2]) for number in range(2)}
    lucky = runs([0.2, 0.21, 0.2, 0.19])
    alone = against_base(lucky, runs(base))
    _, _, among = against({"base": runs(base)} | noisy | {"lucky": lucky}, "base")
    assert alone.better
    assert not among.better
    least = LEAST_SPREAD * np.std([1.0, -1.0, 1.2, -1.2], ddof=1)
    t = 0.2 / (least / 2)
    assert among.p == pytest.approx(2 * stats.t.sf(t, 3))


def test_no_worse_is_a_one_sided_test_beyond_the_margin() -> None:
    base, scores = [1.0, 2.0, 3.0, 4.0], [0.9, 2.05, 2.95, 4.1]
    test = stats.ttest_rel(np.add(scores, 0.2), base, alternative="greater")
    assert test.pvalue < LEVEL / 2
    assert against_base(runs(scores), runs(base), margin=0.2).no_worse
    assert against_base(runs(scores), runs(base), margin=0.01).no_worse is False
    assert against_base(runs(scores), runs(base)).no_worse is None
    assert against_base(runs([0.9]), runs(base), margin=0.2).no_worse is False, "one pair decides nothing"


def test_the_needed_seeds_detect_the_lead_with_80_percent_power() -> None:
    rng = np.random.default_rng(3)
    base, scores = [0.0] * 6, [0.9, -0.5, 0.8, 0.1, 1.0, -0.3]
    answer = against_base(runs(scores), runs(base))
    needed, mean, sd = present(answer.needed), np.mean(scores), np.std(scores, ddof=1)
    assert needed > 6
    drawn = rng.normal(mean, sd, (4000, needed))
    test = stats.ttest_1samp(drawn, 0, axis=1)
    assert np.mean((test.pvalue < LEVEL) & (test.statistic > 0)) == pytest.approx(0.8, abs=0.04)
    assert against_base(runs([-value for value in scores]), runs(base)).needed is None


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 50, 1000])
def test_the_expected_best_of_n_is_that_of_order_statistics(n: int) -> None:
    norm = stats.norm
    exact, _ = integrate.quad(lambda z: z * n * norm.pdf(z) * norm.cdf(z) ** (n - 1), -10, 10, epsabs=1e-10)
    assert expected_best(n) == pytest.approx(exact, abs=1e-5)
    if n == 2:
        assert expected_best(n) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-5)


def test_the_luck_of_a_choice_is_the_lead_of_the_best_of_simulated_equal_settings() -> None:
    rng = np.random.default_rng(4)
    drawn = rng.normal(0, 1, (3000, 6, 5))
    leads = (drawn[:, 1:].mean(axis=2) - drawn[:, :1].mean(axis=2)).max(axis=1)
    lucks = [
        present(luck_of_choice({str(name): runs([*rows]) for name, rows in enumerate(family)}, "0"))
        for family in drawn[:300]
    ]
    assert np.mean(lucks) == pytest.approx(leads.mean(), rel=0.08)
    assert luck_of_choice({"base": runs([1.0]), "a": runs([2.0])}, "base") is None


def test_the_spread_of_a_run_is_pooled_within_settings() -> None:
    both = {"a": runs([1.0, 3.0]), "b": runs([10.0, 14.0, 12.0]), "c": runs([5.0])}
    assert run_spreads(both) == {"": pytest.approx(math.sqrt((1 * 2.0 + 2 * 4.0) / 3))}
    assert run_spreads({"a": runs([1.0])}) == {}


def test_ties_are_those_whose_difference_to_the_leader_may_be_0() -> None:
    base = [1.0, 2.0, 3.0, 4.0]
    close, far = [value + shift for value, shift in zip(base, (0.1, -0.1, 0.2, 0.0), strict=True)], [0.0, 1.1, 2.0, 3.1]
    assert ties({"a": runs(base), "close": runs(close), "far": runs(far), "once": runs([9.0])}, "a") == ("close",)
