"""bench/top.py: what a replayed search is made of, and that its truth is the surface's."""

import sys

import numpy as np
import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # the benches are no package

import top as bench

from support.surfaces import Surface, read_surfaces


@pytest.fixture(scope="module")
def surface() -> Surface:
    return read_surfaces([])[0]


def test_nothing_is_left_of_the_effect_at_scale_0_and_all_at_1(surface: Surface) -> None:
    recorded = 100 * surface.last
    assert bench._scaled(surface, 1.0) == pytest.approx(recorded)
    flat = bench._scaled(surface, 0.0)
    assert np.ptp(flat.mean(axis=0)) == pytest.approx(0.0, abs=1e-9)
    residual = recorded - recorded.mean(axis=0)
    assert flat - flat.mean(axis=0) == pytest.approx(residual), "the noise is that of the recorded runs"


def test_a_search_repeats_its_best_points_with_another_seed(surface: Surface) -> None:
    runs = bench._searched(surface, bench._scaled(surface, 1.0), 3, np.random.default_rng(0))
    assert len(runs) == 3 * (bench.POINTS + bench.CONFIRMED)
    assert {run.seed for run in runs} == set(range(6))
    first = [run for run in runs if run.seed == 0]
    again = [run for run in runs if run.seed == 1]
    best = sorted(first, key=lambda run: run.score)[-bench.CONFIRMED :]
    assert [(run.x, run.y) for run in again] == [(run.x, run.y) for run in best]


def test_all_of_a_flat_surface_is_as_good_as_its_best_point(surface: Surface) -> None:
    scaled = bench._scaled(surface, 0.0)
    found = bench.top(bench._searched(surface, scaled, 5, np.random.default_rng(0)))
    assert bench._true_share(surface, scaled, found) == 1.0
