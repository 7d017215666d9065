"""Shares of variance by hand and from simulated searches; ties; the winner's curse."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.stats.variance import intraclass_correlation, noise_variance, optimism, tied


def by_seed(table: Iterable[Iterable[float]]) -> list[dict[int, float]]:
    """A whole table, a row per candidate and a column per seed, as scores by seed."""
    return [dict(enumerate(row)) for row in table]


def test_the_noise_of_a_two_way_table_by_hand() -> None:
    # rows 2 and 5, columns 2.5 and 4.5, all 3.5: 1 - 2 - 2.5 + 3.5 = 0, and so on
    lifted = noise_variance(by_seed([[1.0, 3.0], [4.0, 6.0]]))
    assert lifted == pytest.approx(0.0), "a seed that lifts both candidates is no noise"
    # rows 2 and 4, columns 2 and 4, all 3: four residuals of 1 in size, one degree of freedom
    assert noise_variance(by_seed([[2.0, 2.0], [2.0, 6.0]])) == pytest.approx(4.0)


@given(st.tuples(st.integers(2, 5), st.integers(2, 5)), st.floats(-50, 50), st.integers(0, 99))
def test_neither_a_better_candidate_nor_a_lucky_seed_changes_the_noise(
    shape: tuple[int, int], shift: float, seed: int
) -> None:
    table = np.random.default_rng(seed).normal(size=shape)
    moved = table.copy()
    moved[seed % shape[0]] += shift
    moved[:, seed % shape[1]] -= 2 * shift
    assert noise_variance(by_seed(moved)) == pytest.approx(noise_variance(by_seed(table)))


def test_the_noise_is_the_residual_mean_square_of_the_two_way_layout() -> None:
    table = np.random.default_rng(4).normal(size=(4, 6))
    total = ((table - table.mean()) ** 2).sum()
    rows = 6 * ((table.mean(axis=1) - table.mean()) ** 2).sum()
    columns = 4 * ((table.mean(axis=0) - table.mean()) ** 2).sum()
    assert noise_variance(by_seed(table)) == pytest.approx((total - rows - columns) / 15)


@given(st.integers(0, 999))
def test_a_table_with_gaps_has_the_residuals_of_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table, there = rng.normal(size=(6, 5)), rng.random((6, 5)) < 0.6
    runs = [{j: float(table[i, j]) for j in range(5) if there[i, j]} for i in range(6)]
    cells = np.argwhere(there)
    design = np.zeros((len(cells), 11))
    for line, (i, j) in enumerate(cells):
        design[line, [i, 6 + j]] = 1
    scores = table[there]
    fit, _, rank, _ = np.linalg.lstsq(design, scores, rcond=None)
    degrees = len(scores) - rank
    expected = ((scores - design @ fit) ** 2).sum() / degrees if degrees > 0 else None
    found = noise_variance(runs)
    assert (found is None) == (expected is None)
    if expected is not None:
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_the_rounds_of_a_halving_leave_six_degrees_of_freedom() -> None:
    rng = np.random.default_rng(8)
    seeds = {0: 1, 1: 1, 2: 1, 3: 3, 4: 5, 5: 5}  # of each of six candidates: rounds [6, 1], [3, 2], [2, 2]
    drawn = [noise_variance([{j: rng.normal() for j in range(n)} for n in seeds.values()]) for _ in range(2000)]
    assert np.mean([one for one in drawn if one is not None]) == pytest.approx(1.0, abs=0.05)
    assert np.var([one for one in drawn if one is not None]) == pytest.approx(2 / 6, rel=0.15)


@pytest.mark.parametrize("table", [[], [[1.0, 2.0]], [[1.0], [2.0]], [[], []]])
def test_fewer_than_two_candidates_or_two_seeds_leave_the_noise_unknown(table: list[list[float]]) -> None:
    assert noise_variance(by_seed(table)) is None


def test_the_intraclass_correlation_by_hand() -> None:
    scores = [1.0, 2.0, 3.0, 4.0, 5.0]  # variance 2.5
    assert intraclass_correlation(scores, 0.5) == pytest.approx(0.8)
    assert intraclass_correlation(scores, 0.0) == 1.0
    assert intraclass_correlation(scores, 7.0) == 0.0, "more noise than variance: none of it is (T, alpha)"
    assert intraclass_correlation([3.0, 3.0, 3.0], 0.0) == 0.0
    assert intraclass_correlation([1.0, 2.0], 0.1) is None


def test_it_is_the_correlation_that_a_second_run_of_every_point_shows() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(0, 1.5, 4000)
    first, second = (truth + rng.normal(0, 1.0, 4000) for _ in range(2))
    icc = intraclass_correlation(first.tolist(), 1.0)
    assert icc == pytest.approx(1.5**2 / (1.5**2 + 1), abs=0.03)
    assert icc == pytest.approx(np.corrcoef(first, second)[0, 1], abs=0.03)


def test_optimism_is_what_the_search_promised_above_fresh_seeds() -> None:
    assert optimism(70.0, [68.0, 69.0]) == 1.5


def test_those_whose_paired_interval_includes_0_are_tied() -> None:
    best = {0: 70.0, 1: 71.0, 2: 72.0}
    worse = {seed: score - 1 - seed / 100 for seed, score in best.items()}
    mixed = {0: 69.0, 1: 72.0, 2: 71.5}  # 1, -1, 0.5
    assert tied(
        best, {"worse": worse, "mixed": mixed, "same": best, "one seed": {0: 1.0}, "other seeds": {9: 1.0}}
    ) == [
        "mixed",
        "same",
        "one seed",
        "other seeds",
    ]
    assert tied(best, {}) == []


def test_the_edge_of_the_tie_is_the_t_interval() -> None:
    # differences 1 +- s with three seeds: 0 is included from s = 1 * sqrt(3) / 4.3027 = 0.4025 on
    for spread, expected in ((0.40, []), (0.41, ["other"])):
        other = {0: -1.0, 1: -1.0 - spread, 2: -1.0 + spread}
        assert tied({0: 0.0, 1: 0.0, 2: 0.0}, {"other": other}) == expected
