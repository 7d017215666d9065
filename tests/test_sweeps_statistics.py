"""Intervals against scipy, and paired differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sweeps.statistics import estimate, paired, t_quantile


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
