"""The share of the search space that is as good as its best point, against planted surfaces."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pytest
from scipy.stats import qmc

from sweeps.stats import response
from sweeps.stats.response import TOLERANCE, Array, top
from sweeps.stats.top import SIDE, WORDS, Run, Top

Surface: TypeAlias = Callable[[float, float], float]

MATTERS, ALIKE, UNKNOWN = WORDS
SEARCHES, POINTS, CONFIRMED = 5, 8, 3  # as the further searches of preset quick
SEED_SD, OFFSET_SD, NOISE_SD = 0.3, 0.5, 0.2
COARSE = 8  # cells a side: a fit takes an eighth of the time
DRAWS = 8


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(response, "SIDE", COARSE)
    return COARSE


def flat(x: float, y: float) -> float:
    return 70.0


def bowl(x: float, y: float) -> float:
    """Return a surface with its best at (0.4, 0.6), 16 points above the farthest corner."""
    return 70 - 22 * ((x - 0.4) ** 2 + (y - 0.6) ** 2)


def smooth(rng: np.random.Generator, sd: float) -> Surface:
    """Return the effect of a seed: a random function of that sd, with waves about as long as the search space."""
    waves, phases, heights = rng.normal(size=(40, 2)), rng.uniform(0, 2 * math.pi, 40), rng.normal(size=40)
    return lambda x, y: float(sd * math.sqrt(2 / 40) * heights @ np.cos(waves @ np.array([2 * x, 2 * y]) + phases))


def searched(
    surface: Surface, rng: np.random.Generator, *, searches: int = SEARCHES, seed_sd: float = SEED_SD
) -> list[Run]:
    """Run Sobol points with one seed each search, and the best of them again with another seed."""
    runs: list[Run] = []
    for search in range(searches):
        score = [_seed(surface, rng, seed_sd) for _ in range(2)]
        points = [(float(x), float(y)) for x, y in qmc.Sobol(2, scramble=True, rng=rng).random(POINTS)]
        trials = [Run(x, y, score[0](x, y), 2 * search) for x, y in points]
        best = sorted(trials, key=lambda run: -run.score)[:CONFIRMED]
        runs += [*trials, *(Run(run.x, run.y, score[1](run.x, run.y), 2 * search + 1) for run in best)]
    return runs


def _seed(surface: Surface, rng: np.random.Generator, sd: float) -> Surface:
    local, offset = smooth(rng, sd), rng.normal(0, OFFSET_SD)
    return lambda x, y: surface(x, y) + local(x, y) + offset + rng.normal(0, NOISE_SD)


def true_share(surface: Surface, fit: Top) -> float:
    """Return the true share of the search space within the tolerance of the fitted best point."""
    side = len(fit.mean)
    middles = [(cell + 0.5) / side for cell in range(side)]
    truth: Array = np.array([[surface(x, y) for y in middles] for x in middles])
    return float((truth.flat[int(np.argmax(fit.mean))] - truth < fit.tolerance).mean())


@pytest.mark.parametrize("seed_sd", [SEED_SD, 1.0])
def test_if_only_the_seed_matters_the_point_never_does(coarse: int, seed_sd: float) -> None:
    rng = np.random.default_rng(1)
    words = [top(searched(flat, rng, seed_sd=seed_sd)).word for _ in range(DRAWS)]
    assert MATTERS not in words
    assert ALIKE in words, "some draws suffice to decide that it does not matter"


def test_a_strong_surface_matters_and_the_share_is_near_the_truth(coarse: int) -> None:
    rng = np.random.default_rng(12)
    fits = [top(searched(bowl, rng)) for _ in range(DRAWS)]
    assert {fit.word for fit in fits} == {MATTERS}
    truths = [true_share(bowl, fit) for fit in fits]
    assert [fit.share for fit in fits] == pytest.approx(truths, abs=0.05)
    assert all(fit.low - 0.02 <= truth <= fit.high + 0.02 for fit, truth in zip(fits, truths, strict=True))


def test_the_fitted_surface_is_the_planted_one_on_the_displayed_grid() -> None:
    fit = top(searched(bowl, np.random.default_rng(3)))
    mean = np.array(fit.mean)
    assert mean.shape == (SIDE, SIDE)
    middles = (np.arange(SIDE) + 0.5) / SIDE
    truth = np.array([[bowl(x, y) for y in middles] for x in middles])
    assert np.corrcoef(mean.ravel(), truth.ravel())[0, 1] > 0.98
    best = np.unravel_index(int(mean.argmax()), mean.shape)
    assert (middles[best[0]], middles[best[1]]) == pytest.approx((0.4, 0.6), abs=0.1)
    # half the deviation of a run, including the effect of its seed at a point
    assert fit.tolerance == pytest.approx(TOLERANCE * math.hypot(SEED_SD, NOISE_SD), rel=0.4)


def test_more_searches_narrow_the_interval(coarse: int) -> None:
    rng = np.random.default_rng(4)
    slope: Surface = lambda x, y: 70 + 1.2 * x  # noqa: E731
    widths = {}
    for searches in (3, 9):
        fits = [top(searched(slope, rng, searches=searches)) for _ in range(2)]
        widths[searches] = np.mean([fit.high - fit.low for fit in fits])
    assert widths[9] < 0.8 * widths[3]


def test_the_fit_is_reproducible_and_independent_of_the_unit(coarse: int) -> None:
    runs = searched(bowl, np.random.default_rng(5))
    fit = top(runs)
    assert top(runs) == fit
    scaled = top([replace(run, score=100 * run.score) for run in runs])
    assert (scaled.share, scaled.low, scaled.high) == pytest.approx((fit.share, fit.low, fit.high), abs=1e-9)
    assert scaled.tolerance == pytest.approx(100 * fit.tolerance)
    assert np.allclose(scaled.mean, 100 * np.array(fit.mean))
    assert scaled.word == fit.word == MATTERS


def test_an_offset_by_seed_does_not_change_the_fit(coarse: int) -> None:
    runs = searched(bowl, np.random.default_rng(6))
    fit = top(runs)
    moved = top([replace(run, score=run.score + 0.2 * (run.seed % 4)) for run in runs])
    assert moved.share == pytest.approx(fit.share, abs=0.02)
    assert np.array(moved.mean) - np.mean(moved.mean) == pytest.approx(np.array(fit.mean) - np.mean(fit.mean), abs=0.1)


def test_equal_scores_make_every_point_good(coarse: int) -> None:
    runs = [replace(run, score=70.0) for run in searched(flat, np.random.default_rng(7))]
    fit = top(runs)
    assert fit.word != MATTERS
    assert (fit.share, fit.high) == (1.0, 1.0)
    assert np.allclose(fit.mean, 0)


def test_two_points_in_each_of_three_searches_suffice_for_a_fit(coarse: int) -> None:
    runs = [Run(x, 0.5, 70 + x, seed) for seed in range(3) for x in (0.25, 0.75)]
    fit = top(runs)
    assert 0 <= fit.low <= fit.share <= fit.high <= 1
    assert fit.tolerance > 0


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.1, 0.49, MATTERS), (0.1, 0.5, UNKNOWN), (0.5, 0.9, UNKNOWN), (0.51, 0.9, ALIKE), (0.2, 0.9, UNKNOWN)],
)
def test_the_word_follows_from_the_side_of_one_half_on_which_the_interval_is(
    low: float, high: float, word: str
) -> None:
    assert Top(share=(low + high) / 2, low=low, high=high, tolerance=0.1, mean=()).word == word
