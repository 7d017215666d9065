"""Intervals, p values and power against scipy; paired differences; Holm and the Pareto front by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweeps.stats import estimates
from tests.support.present import present


@pytest.mark.parametrize("df", [1, 2, 3, 4, 9, 10, 29, 30, 199, 200])
def test_t_quantile_is_scipys(df: int) -> None:
    shares = [0.5, 0.6, 0.9, 0.95, 0.975, 0.995, 0.9999]
    assert [estimates.t_quantile(p, df) for p in shares] == pytest.approx(stats.t.ppf(shares, df), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("p", "df"), [(0.975, 0), (1.0, 3), (0.4, 3), (float("nan"), 3)])
def test_t_quantile_refuses_arguments_outside_its_range(p: float, df: int) -> None:
    with pytest.raises(ValueError, match="df >= 1"):
        estimates.t_quantile(p, df)


def test_a_negated_difference_has_swapped_limits_and_one_without_limits_includes_zero() -> None:
    lead = estimates.Estimate(1.0, 0.5, 2.0, 4)
    assert lead.negated == estimates.Estimate(-1.0, -2.0, -0.5, 4)
    assert estimates.Estimate(1.0, None, None, 1).negated == estimates.Estimate(-1.0, None, None, 1)
    limits = ((0.5, 2.0), (-2.0, -0.5), (0.0, 2.0), (-1.0, 1.0), (None, None))
    assert [estimates.Estimate(1.0, *ends, 4).includes_zero for ends in limits] == [False, False, True, True, True]


def test_one_value_has_no_interval_or_p_value_and_no_value_has_no_estimate() -> None:
    assert estimates.estimate([0.5]) == estimates.Estimate(0.5, None, None, 1)
    assert estimates.estimate([]) is None
    for values in ([], [3.0]):
        assert estimates.t_p_value(values) is None


def test_a_paired_difference_uses_only_common_seeds() -> None:
    difference = present(estimates.paired({0: 3.0, 1: 5.0, 2: 9.0}, {1: 4.0, 2: 7.0, 3: 1.0}))
    assert (difference.mean, difference.n) == (1.5, 2)
    assert estimates.paired({0: 1.0}, {1: 1.0}) is None
    assert estimates.differences({2: 9.0, 0: 3.0, 1: 5.0}, {1: 4.0, 2: 7.0, 3: 1.0}) == [1.0, 2.0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=2, max_size=20))
def test_intervals_and_p_values_equal_scipys_t_tests(pairs: list[tuple[float, float]]) -> None:
    first, second = map(list, zip(*pairs, strict=True))
    differences = [left - right for left, right in pairs]
    if np.ptp(differences) < 1e-6:
        return  # scipy would divide by a spread of about zero
    test = stats.ttest_rel(first, second)
    difference = present(estimates.paired(dict(enumerate(first)), dict(enumerate(second))))
    assert (difference.low, difference.high) == pytest.approx(tuple(test.confidence_interval(0.95)), rel=1e-6, abs=1e-6)
    assert difference.mean == pytest.approx(np.mean(differences), abs=1e-9)
    assert estimates.t_p_value(differences) == pytest.approx(test.pvalue, rel=1e-6, abs=1e-9)


def test_without_spread_the_p_value_is_its_limit() -> None:
    assert estimates.t_p_value([0.0, 0.0, 0.0]) == 1.0
    assert estimates.t_p_value([0.5, 0.5, 0.5]) == 0.0
    assert estimates.t_p_value([0.5, 0.5 + 1e-9, 0.5 - 1e-9]) == pytest.approx(0.0, abs=1e-12)


def real_power(distance: float, n: int, level: float) -> float:
    """Return the power of a one-sided t test on differences of sd 1, from the noncentral t distribution."""
    return float(stats.nct.sf(stats.t.isf(level, n - 1), n - 1, distance * np.sqrt(n)))


@pytest.mark.parametrize("level", [0.05, 0.05 / 2, 0.05 / 3, 0.01])
def test_n_seeds_detect_the_resolvable_distance_with_80_percent_power_and_two_fewer_do_not(
    level: float,
) -> None:
    for n in (5, 10, 30, 90, 1000):
        assert real_power(estimates.resolvable(1.0, n, level=level), n, level) == pytest.approx(0.8, abs=0.033)
    for distance in (0.1, 0.4, 0.8, 1.2):
        needed = present(estimates.seeds_needed(1.0, distance, level=level))
        assert real_power(distance, needed, level) > 0.78
        assert real_power(distance, needed - 2, level) < 0.8


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 10), st.floats(0.01, 10), st.sampled_from([0.05, 0.05 / 3]))
def test_seeds_needed_is_the_smallest_number_that_resolves_the_distance(
    sd: float, distance: float, level: float
) -> None:
    n = estimates.seeds_needed(sd, distance, level=level)
    if n is None:
        assert estimates.resolvable(sd, estimates.MOST_SEEDS, level=level) > distance
        return
    assert estimates.resolvable(sd, n, level=level) <= distance
    assert n == 2 or estimates.resolvable(sd, n - 1, level=level) > distance


def test_seeds_needed_by_hand() -> None:
    # (1.8331 + 0.8834) * 1 / sqrt(10) = 0.8590 with 10 seeds, (1.8595 + 0.8889) / sqrt(9) = 0.9161 with 9
    assert estimates.seeds_needed(1.0, 0.86, level=0.05) == 10
    assert estimates.seeds_needed(1.0, 0.85, level=0.05) == 11
    assert estimates.resolvable(1.0, 10, level=0.05) == pytest.approx(0.8590, abs=1e-4)
    assert estimates.seeds_needed(0.0, 0.1, level=0.05) == 2
    assert estimates.seeds_needed(1.0, 0.0, level=0.05) is None
    assert estimates.seeds_needed(1.0, -1.0, level=0.05) is None
    assert estimates.seeds_needed(1.0, 0.02, level=0.05) is None  # it would be 15,458


def test_holms_adjusted_p_values_by_hand() -> None:
    # smallest first: 4 * 0.01; 3 * 0.02; 2 * 0.03, also 0.06; 1 * 0.5
    assert estimates.holm({"a": 0.03, "b": 0.01, "c": 0.5, "d": 0.02}) == pytest.approx(
        {"a": 0.06, "b": 0.04, "c": 0.5, "d": 0.06}
    )
    # 3 * 0.02 = 0.06; 2 * 0.025 = 0.05 is raised to it; 3 * 0.4 is capped at 1
    assert estimates.holm({"a": 0.02, "b": 0.025, "c": 0.9}) == pytest.approx({"a": 0.06, "b": 0.06, "c": 0.9})
    assert estimates.holm({"a": 0.4, "b": 0.6, "c": 0.5}) == pytest.approx({"a": 1.0, "b": 1.0, "c": 1.0})
    assert list(estimates.holm({"z": 0.5, "a": 0.1})) == ["z", "a"]
    assert estimates.holm({}) == {}


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1), min_size=1))
def test_holm_is_between_p_and_bonferroni_and_keeps_the_order(p_values: dict[str, float]) -> None:
    adjusted = estimates.holm(p_values)
    for name, p in p_values.items():
        assert p <= adjusted[name] <= min(1.0, len(p_values) * p)
    order = sorted(p_values, key=lambda name: p_values[name])
    assert [adjusted[name] for name in order] == sorted(adjusted.values())


def test_a_displayed_fraction_has_no_interval_of_two_runs_and_stays_within_0_to_1() -> None:
    for value, shown_as in (
        ((0.97, 0.93, 1.01, 2), (0.97, None, None, 2)),
        ((0.97, None, None, 1), (0.97, None, None, 1)),
        ((0.97, 0.93, 1.01, 3), (0.97, 0.93, 1.0, 3)),
        ((0.02, -0.01, 0.05, 3), (0.02, 0.0, 0.05, 3)),
        ((0.9, 0.8, 1.0, 5), (0.9, 0.8, 1.0, 5)),
    ):
        assert estimates.as_shown(estimates.Estimate(*value), (0.0, 1.0)) == estimates.Estimate(*shown_as)


def inverted(numerators: np.ndarray, denominators: np.ndarray, share: float) -> float:
    """Return p of the hypothesis that the ratio of the means is `share`, which Fieller's interval inverts."""
    return float(stats.ttest_1samp(numerators - share * denominators, 0).pvalue)


@settings(max_examples=20, deadline=None)  # the first example imports
@given(st.integers(0, 10_000), st.integers(3, 25), st.floats(-2, 2), st.floats(0.05, 1.5))
def test_the_interval_of_a_ratio_has_the_values_that_a_test_does_not_reject(
    seed: int, n: int, numerator: float, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    bottoms = rng.normal(1.0, spread, n)
    tops = numerator * bottoms + rng.normal(0, 0.5, n)
    interval = present(estimates.ratio(list(tops), list(bottoms)))
    assert (interval.mean, interval.n) == (pytest.approx(tops.mean() / bottoms.mean()), n)
    p_of_bottom = stats.ttest_1samp(bottoms, 0).pvalue
    if interval.low is None or interval.high is None:
        assert p_of_bottom > 0.05 - 1e-9, "only a denominator that may be 0 leaves no bounds"
        return
    assert p_of_bottom < 0.05 + 1e-9
    width = interval.high - interval.low
    assert inverted(tops, bottoms, interval.low) == pytest.approx(0.05, abs=1e-6)
    assert inverted(tops, bottoms, interval.high) == pytest.approx(0.05, abs=1e-6)
    for inside in np.linspace(interval.low, interval.high, 7)[1:-1]:
        assert inverted(tops, bottoms, inside) > 0.05
    for outside in (interval.low - 0.3 * width, interval.high + 0.3 * width, interval.low - 50 * width):
        assert inverted(tops, bottoms, outside) < 0.05


def test_a_ratio_without_spread_is_exact_and_one_with_denominator_0_has_no_bounds() -> None:
    assert estimates.ratio([1.0, 1.0], [2.0, 2.0]) == estimates.Estimate(0.5, 0.5, 0.5, 2)
    unbounded = present(estimates.ratio([1.0, 2.0, 3.0], [-1.0, 1.0, 0.5]))
    assert (unbounded.low, unbounded.high, unbounded.n) == (None, None, 3)
    zero = present(estimates.ratio([1.0, 2.0], [0.0, 0.0]))
    assert (math.isnan(zero.mean), zero.low) == (True, None)
    assert estimates.ratio([1.0], [1.0]) is None
    assert estimates.ratio([1.0, 2.0], [1.0]) is None


def test_the_pareto_front_by_hand() -> None:
    points = [(3, 90.0), (1, 80.0), (2, 79.0), (3, 91.0), (1, 80.0), (9, 91.0)]
    assert estimates.pareto_front(points) == [1, 4, 3]
    assert estimates.pareto_front([]) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_the_pareto_front_is_what_nothing_dominates(points: list[tuple[int, int]]) -> None:
    def dominated(point: tuple[int, int]) -> bool:
        return any(other != point and other[0] <= point[0] and other[1] >= point[1] for other in points)

    assert sorted(estimates.pareto_front(points)) == [i for i, point in enumerate(points) if not dominated(point)]
