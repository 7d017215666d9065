"""A mean over searches and their seeds: against scipy, by hand, and by simulation of both levels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweeps.stats.estimates import Estimate, estimate
from sweeps.stats.verdict import FEWEST_SEARCHES, Nested, nested
from tests.support.present import present

SEARCH_SD, SEED_SD, MEAN = 0.5, 0.4, 1.0
DRAWS, SEARCHES, SEEDS = 400, 5, 4

several = st.lists(st.lists(st.floats(-50, 50), min_size=2, max_size=9), min_size=FEWEST_SEARCHES, max_size=7)


def nested_of(searches: list[list[float]]) -> Nested:
    return present(nested(searches))


@settings(max_examples=40, deadline=None)
@given(several)
def test_the_interval_is_that_of_t_over_searches_with_the_larger_variance(searches: list[list[float]]) -> None:
    result = nested_of(searches)
    means = [float(np.mean(values)) for values in searches]
    assert (result.searches, result.estimate.n) == (len(searches), len(searches)), "the searches count, not their seeds"
    assert result.estimate.mean == pytest.approx(np.mean(means), abs=1e-9)
    apart, seeds = np.var(means, ddof=1), np.mean([np.var(values, ddof=1) / len(values) for values in searches])
    half = stats.t.ppf(0.975, len(means) - 1) * math.sqrt(max(apart, seeds) / len(means))
    assert result.estimate.low == pytest.approx(np.mean(means) - half, abs=1e-9)
    assert result.estimate.high == pytest.approx(np.mean(means) + half, abs=1e-9)
    by_seeds, by_search = present(result.by_seeds), present(result.by_search)
    assert min(by_seeds, by_search) >= 0
    assert by_seeds**2 + by_search**2 == pytest.approx(half**2, rel=1e-6, abs=1e-9), (
        "the squares of the parts add up to that of the whole"
    )


def test_the_parts_by_hand() -> None:
    # means 2, 3, 7 with a variance of 7; each search has a variance of 2 between its two seeds
    result = nested_of([[1.0, 3.0], [2.0, 4.0], [6.0, 8.0]])
    t = stats.t.ppf(0.975, 2)
    assert result.by_seeds == pytest.approx(t * math.sqrt(3 * (2 / 2) / 3**2))
    assert result.by_search == pytest.approx(t * math.sqrt(7 / 3 - 1 / 3))
    # the means are equal by chance, so the spread of the seeds sets the interval
    searches = [[1.0, 3.0], [0.0, 4.0], [2.0, 2.0]]
    alike = nested_of(searches)
    assert (alike.by_seeds, alike.by_search) == (pytest.approx(t * math.sqrt((1 + 4) / 3**2)), 0.0)
    assert alike.estimate.high == pytest.approx(2.0 + (alike.by_seeds or 0.0))
    # rule 1 takes the observed spread of the means
    assert nested(searches, clipped=True) == Nested(Estimate(2.0, 2.0, 2.0, 3), 3, 0.0, 0.0)
    # if the seeds of each search agree, all spread is between searches
    apart = nested_of([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])
    assert apart.by_seeds == 0.0
    assert apart.estimate.high == pytest.approx(apart.estimate.mean + (apart.by_search or 0.0))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.floats(-50, 50), min_size=2, max_size=9), min_size=1, max_size=FEWEST_SEARCHES - 1))
def test_with_fewer_than_three_searches_the_seeds_of_the_first_count(searches: list[list[float]]) -> None:
    result = nested_of(searches)
    assert result.estimate == estimate(searches[0])
    assert (result.searches, result.by_search) == (1, None)
    assert result.by_seeds == pytest.approx(present(result.estimate.high) - result.estimate.mean, abs=1e-9)


def test_a_search_without_values_does_not_count_and_is_not_replaced() -> None:
    first, second, third = [1.0, 2.0], [3.0, 5.0], [2.0, 2.5]
    assert nested([first, [], second, third]) == nested([first, second, third])
    assert nested([first, [], second]) == nested([first])
    assert nested([[], second, third]) is None, "the first search has no values"
    assert nested([[], []]) is None
    assert nested([]) is None


def test_a_search_with_one_seed_leaves_the_parts_unknown_and_the_interval_unchanged() -> None:
    result = nested_of([[1.0], [2.0, 4.0], [6.0, 8.0]])
    assert result.estimate == estimate([1.0, 3.0, 7.0])
    assert (result.searches, result.by_seeds, result.by_search) == (3, None, None)
    assert nested([[1.0]]) == Nested(Estimate(1.0, None, None, 1), 1, None, None)


@pytest.fixture(scope="module")
def drawn() -> list[list[list[float]]]:
    """Draw regrets of DRAWS sweeps: each search has its own mean, each seed a deviation from that."""
    rng = np.random.default_rng(7)
    means = MEAN + rng.normal(0, SEARCH_SD, (DRAWS, SEARCHES, 1))
    values: list[list[list[float]]] = (means + rng.normal(0, SEED_SD, (DRAWS, SEARCHES, SEEDS))).tolist()
    return values


def holds(of_searches: Nested) -> bool:
    return present(of_searches.estimate.low) <= MEAN <= present(of_searches.estimate.high)


def test_the_interval_over_searches_has_its_nominal_coverage(drawn: list[list[list[float]]]) -> None:
    assert 0.93 <= np.mean([holds(nested_of(searches)) for searches in drawn]) <= 0.97
    alone = np.mean([holds(nested_of(searches[:1])) for searches in drawn])
    assert alone < 0.85, "the seeds of one search miss the spread between searches"


def test_the_parts_are_the_contributions_of_seeds_and_searches(drawn: list[list[list[float]]]) -> None:
    t = stats.t.ppf(0.975, SEARCHES - 1)
    results = [nested_of(searches) for searches in drawn]
    by_seeds, by_search = (
        np.mean([(getattr(result, part) / t) ** 2 for result in results]) for part in ("by_seeds", "by_search")
    )
    assert by_seeds == pytest.approx(SEED_SD**2 / SEEDS / SEARCHES, rel=0.1)
    assert by_search == pytest.approx(SEARCH_SD**2 / SEARCHES, rel=0.1)
