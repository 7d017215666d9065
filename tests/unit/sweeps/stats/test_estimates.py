"""Intervals, p values and power against scipy; paired differences; Holm by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sweeps.stats.estimates import (
    MOST_SEEDS,
    Estimate,
    differences,
    display_fraction,
    estimate,
    holm,
    one_sided_bounds,
    paired,
    resolvable,
    seeds_needed,
    t_p_value,
    t_quantile,
)


@pytest.mark.parametrize("p", [0.5, 0.6, 0.9, 0.95, 0.975, 0.995, 0.9999])
@pytest.mark.parametrize("df", [1, 2, 3, 4, 9, 10, 29, 30, 199, 200])
def test_t_quantile_is_scipys(p: float, df: int) -> None:
    assert t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("p", "df"), [(0.975, 0), (1.0, 3), (0.4, 3), (float("nan"), 3)])
def test_t_quantile_refuses_what_it_does_not_cover(p: float, df: int) -> None:
    with pytest.raises(ValueError, match="df >= 1"):
        t_quantile(p, df)


def test_the_interval_is_scipys_t_interval() -> None:
    values = [97.1, 97.4, 96.9, 97.8, 97.2]
    found = estimate(values)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert found is not None
    assert (found.mean, found.low, found.high, found.n) == pytest.approx((np.mean(values), low, high, 5))


def test_one_value_has_no_interval_and_none_no_estimate() -> None:
    one = estimate([0.5])
    assert one is not None
    assert (one.mean, one.low, one.high, one.n) == (0.5, None, None, 1)
    assert estimate([]) is None


def test_a_paired_difference_uses_only_the_seeds_that_both_have() -> None:
    found = paired({0: 3.0, 1: 5.0, 2: 9.0}, {1: 4.0, 2: 7.0, 3: 1.0})
    assert found is not None
    assert (found.mean, found.n) == (1.5, 2)
    assert paired({0: 1.0}, {1: 1.0}) is None
    assert differences({2: 9.0, 0: 3.0, 1: 5.0}, {1: 4.0, 2: 7.0, 3: 1.0}) == [1.0, 2.0]


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=2, max_size=20))
def test_the_paired_interval_is_that_of_scipys_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    first, second = map(dict, (enumerate(values) for values in zip(*pairs, strict=True)))
    found = paired(first, second)
    differences = np.array(list(first.values())) - np.array(list(second.values()))
    if np.ptp(differences) < 1e-6:
        return  # scipy divides by a spread of zero here
    expected = stats.ttest_rel(list(first.values()), list(second.values())).confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-6)


SAMPLES = st.lists(st.floats(-100, 100), min_size=2, max_size=30)


@given(SAMPLES)
def test_the_p_value_is_that_of_scipys_one_sample_t_test(values: list[float]) -> None:
    if np.ptp(values) < 1e-6:
        return  # scipy divides by a spread of about zero here
    assert t_p_value(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-6, abs=1e-9)


def test_without_spread_the_p_value_is_the_limit_of_a_small_one() -> None:
    assert t_p_value([0.0, 0.0, 0.0]) == 1.0
    assert t_p_value([0.5, 0.5, 0.5]) == 0.0
    assert t_p_value([0.5, 0.5 + 1e-9, 0.5 - 1e-9]) == pytest.approx(0.0, abs=1e-12)


def test_one_value_has_neither_p_value_nor_bounds() -> None:
    for values in ([], [3.0]):
        assert t_p_value(values) is None
        assert one_sided_bounds(values, 0.05) is None


def test_one_sided_bounds_are_the_ends_of_scipys_two_sided_interval_at_twice_the_level() -> None:
    values = [97.1, 97.4, 96.9, 97.8, 97.2]
    for level in (0.05, 0.05 / 3):
        expected = stats.t.interval(1 - 2 * level, 4, np.mean(values), stats.sem(values))
        assert one_sided_bounds(values, level) == pytest.approx(expected)
    assert one_sided_bounds(values, 0.5) == pytest.approx((97.28, 97.28))


@given(SAMPLES, st.sampled_from([0.05, 0.01]))
def test_a_one_sided_bound_excludes_0_if_and_only_if_scipys_one_sided_p_is_below_the_level(
    values: list[float], level: float
) -> None:
    if np.ptp(values) < 1e-6:
        return
    bounds = one_sided_bounds(values, level)
    assert bounds is not None
    p = stats.ttest_1samp(values, 0, alternative="greater").pvalue
    if abs(p - level) > 1e-9:
        assert (bounds[0] > 0) == (p < level)


def test_bounds_without_spread_are_the_mean_and_a_level_above_a_half_is_refused() -> None:
    assert one_sided_bounds([1.5, 1.5], 0.05) == (1.5, 1.5)
    with pytest.raises(ValueError, match="t_quantile"):
        one_sided_bounds([1.0, 2.0], 0.6)


def real_power(distance: float, n: int, level: float) -> float:
    """Of a one-sided t test with differences of sd 1: from the noncentral t distribution."""
    return float(stats.nct.sf(stats.t.isf(level, n - 1), n - 1, distance * np.sqrt(n)))


@pytest.mark.parametrize("level", [0.05, 0.05 / 2, 0.01])
@pytest.mark.parametrize("n", [5, 10, 30, 90, 1000])
def test_what_n_seeds_resolve_is_found_with_80_percent_power(n: int, level: float) -> None:
    assert real_power(resolvable(1.0, n, level=level), n, level) == pytest.approx(0.8, abs=0.033)


@pytest.mark.parametrize("level", [0.05, 0.05 / 3])
@pytest.mark.parametrize("distance", [0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2])
def test_the_seeds_needed_suffice_and_two_fewer_would_not(distance: float, level: float) -> None:
    n = seeds_needed(1.0, distance, level=level)
    assert n is not None
    assert real_power(distance, n, level) > 0.78
    assert real_power(distance, n - 2, level) < 0.8


@given(st.floats(0.01, 10), st.floats(0.01, 10), st.sampled_from([0.05, 0.05 / 3]))
def test_seeds_needed_is_the_least_number_that_resolves_the_distance(sd: float, distance: float, level: float) -> None:
    n = seeds_needed(sd, distance, level=level)
    if n is None:
        assert resolvable(sd, MOST_SEEDS, level=level) > distance
        return
    assert resolvable(sd, n, level=level) <= distance
    assert n == 2 or resolvable(sd, n - 1, level=level) > distance


def test_seeds_needed_by_hand() -> None:
    # (1.8331 + 0.8834) * 1 / sqrt(10) = 0.8590 with 10 seeds, (1.8595 + 0.8889) / sqrt(9) = 0.9161 with 9
    assert seeds_needed(1.0, 0.86, level=0.05) == 10
    assert seeds_needed(1.0, 0.85, level=0.05) == 11
    assert resolvable(1.0, 10, level=0.05) == pytest.approx(0.8590, abs=1e-4)
    assert seeds_needed(0.0, 0.1, level=0.05) == 2
    assert seeds_needed(1.0, 0.0, level=0.05) is None
    assert seeds_needed(1.0, -1.0, level=0.05) is None
    assert seeds_needed(1.0, 0.02, level=0.05) is None  # 15,458


def test_holms_adjusted_p_values_by_hand() -> None:
    # smallest first: 4 * 0.01; 3 * 0.02; 2 * 0.03, which is 0.06 as well; 1 * 0.5
    assert holm({"a": 0.03, "b": 0.01, "c": 0.5, "d": 0.02}) == pytest.approx(
        {"a": 0.06, "b": 0.04, "c": 0.5, "d": 0.06}
    )
    # 3 * 0.02 = 0.06; 2 * 0.025 = 0.05 may not fall below it; 3 * 0.4 and more is 1
    assert holm({"a": 0.02, "b": 0.025, "c": 0.9}) == pytest.approx({"a": 0.06, "b": 0.06, "c": 0.9})
    assert holm({"a": 0.4, "b": 0.6, "c": 0.5}) == pytest.approx({"a": 1.0, "b": 1.0, "c": 1.0})
    assert list(holm({"z": 0.5, "a": 0.1})) == ["z", "a"]
    assert holm({}) == {}


@given(st.dictionaries(st.text(max_size=2), st.floats(0, 1), min_size=1))
def test_holm_lies_between_each_p_and_bonferroni_and_keeps_their_order(p_values: dict[str, float]) -> None:
    adjusted = holm(p_values)
    for name, p in p_values.items():
        assert p <= adjusted[name] <= min(1.0, len(p_values) * p)
    order = sorted(p_values, key=lambda name: p_values[name])
    assert [adjusted[name] for name in order] == sorted(adjusted.values())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Estimate(0.97, 0.93, 1.01, 2), Estimate(0.97, None, None, 2)),
        (Estimate(0.97, None, None, 1), Estimate(0.97, None, None, 1)),
        (Estimate(0.97, 0.93, 1.01, 3), Estimate(0.97, 0.93, 1.0, 3)),
        (Estimate(0.02, -0.01, 0.05, 3), Estimate(0.02, 0.0, 0.05, 3)),
        (Estimate(0.9, 0.8, 1.0, 5), Estimate(0.9, 0.8, 1.0, 5)),
    ],
)
def test_a_fraction_is_shown_without_an_interval_of_two_runs_and_never_outside_0_to_1(
    value: Estimate, shown: Estimate
) -> None:
    assert display_fraction(value) == shown
