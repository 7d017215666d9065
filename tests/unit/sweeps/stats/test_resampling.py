"""Bootstrap intervals, sign flips and ties against scipy, hand-computed values and degenerate data."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweeps.stats.resampling import BCA_FROM, SIGN_FLIP_FROM, bca_interval, is_tied, sign_flip_p

NORMAL = np.random.default_rng(7).normal(1.0, 2.0, 40).tolist()
FEW = st.lists(st.sampled_from([0.0, 0.1, 0.3, 1.0, 1e-9, 97.2]), min_size=2, max_size=25)


def test_the_bootstrap_interval_of_normal_values_is_close_to_their_t_interval() -> None:
    interval = bca_interval(NORMAL)
    expected = stats.t.interval(0.95, 39, np.mean(NORMAL), stats.sem(NORMAL))
    assert interval == pytest.approx(expected, abs=0.1)
    assert interval == bca_interval(NORMAL), "the same values give the same interval"


def test_the_bootstrap_interval_of_skewed_values_is_longer_on_the_side_of_the_tail() -> None:
    skewed = np.random.default_rng(7).exponential(1.0, BCA_FROM).tolist()
    low, high = bca_interval(skewed)
    assert high - np.mean(skewed) > np.mean(skewed) - low > 0


@given(FEW)
@settings(max_examples=15, deadline=None)
def test_with_any_ties_the_bootstrap_interval_is_inside_the_values_without_a_warning(
    values: list[float],
) -> None:
    low, high = bca_interval(values)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_equal_values_have_an_interval_without_width() -> None:
    assert bca_interval([0.3, 0.3, 0.3]) == pytest.approx((0.3, 0.3))
    assert bca_interval([0.1 + 0.2, 0.3, 0.3]) == pytest.approx((0.3, 0.3)), "equal except for rounding"
    assert bca_interval([0.0, 0.0]) == (0.0, 0.0)


def test_n_values_of_one_sign_have_p_of_two_in_two_to_the_n() -> None:
    assert sign_flip_p([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]) == pytest.approx(2 / 256)
    assert sign_flip_p([-3.0] * SIGN_FLIP_FROM) == pytest.approx(2 ** (1 - SIGN_FLIP_FROM))


@given(st.lists(st.integers(-9, 9).map(float), min_size=2, max_size=8))
@settings(max_examples=20, deadline=None)
def test_the_exact_p_is_the_share_of_flips_that_are_as_extreme(values: list[float]) -> None:
    flips = itertools.product((-1, 1), repeat=len(values))
    sums = [sum(sign * value for sign, value in zip(signs, values, strict=True)) for signs in flips]
    expected = sum(abs(total) >= abs(sum(values)) for total in sums) / len(sums)
    assert sign_flip_p(values) == pytest.approx(expected)


def test_with_many_values_flips_are_drawn_and_p_is_near_that_of_the_t_test() -> None:
    values = np.random.default_rng(3).normal(0.3, 1.0, 18).tolist()
    p = sign_flip_p(values)
    assert p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.01)
    assert p == sign_flip_p(values), "the same values give the same p"


def test_without_differences_p_is_1() -> None:
    assert sign_flip_p([0.0] * 10) == 1.0


def test_points_are_tied_if_the_paired_interval_includes_0() -> None:
    best = {0: 70.0, 1: 71.0, 2: 72.0}
    worse = {seed: score - 1 - seed / 100 for seed, score in best.items()}
    mixed = {0: 69.0, 1: 72.0, 2: 71.5}  # 1, -1, 0.5
    others = {"worse": worse, "mixed": mixed, "same": best, "one seed": {0: 1.0}, "other seeds": {9: 1.0}}
    assert [name for name in others if is_tied(best, others[name])] == ["mixed", "same", "one seed", "other seeds"]


def test_ties_end_where_the_t_interval_excludes_0() -> None:
    # differences 1 +- s with three seeds: 0 is included from s = 1 * sqrt(3) / 4.3027 = 0.4025 on
    for spread, expected in ((0.40, False), (0.41, True)):
        other = {0: -1.0, 1: -1.0 - spread, 2: -1.0 + spread}
        assert is_tied({0: 0.0, 1: 0.0, 2: 0.0}, other) == expected
