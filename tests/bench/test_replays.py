"""Pruners and samplers replayed on hand-made surfaces whose answers are known."""

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna import Study
from optuna.pruners import NopPruner
from optuna.trial import FrozenTrial
from scipy import stats

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # the benches are no package

import pruning
import samplers

from support import pruner_replays
from support.pruner_replays import PRUNERS, Verdict, spearman, top_cells
from support.sampler_replays import CONFIRMS, FLOOR, SAMPLERS, TRUTH, Confirm, Replay, Sampler, replay
from support.surfaces import Surface, write_surface
from sweeps.plan.stage_tasks import sobol_points
from sweeps.spec.model import override
from sweeps.spec.point import Point
from sweeps.spec.presets import preset
from sweeps.stats.estimates import Estimate
from tests.support.small_surfaces import curves, surface_of

CELLS = 10
LAST = np.linspace(0.80, 0.89, CELLS).reshape(5, 2)  # the last cell is the best
STEADY = surface_of(curves(LAST - 0.3, LAST))
REVERSED = surface_of(curves(0.5 - LAST / 10, LAST))  # who is worst after the first epoch is best after the last
HALVING = "successive halving, to 1/4"


@pytest.mark.parametrize("pruner", PRUNERS)
@given(order=st.permutations(range(CELLS)), selection=st.integers(0, 2))
@settings(max_examples=15, deadline=None)
def test_no_pruner_chooses_a_worse_cell_where_the_first_epoch_ranks_as_the_last(
    pruner: str, order: list[int], selection: int
) -> None:
    found = pruner_replays.replay(STEADY, PRUNERS[pruner], selection=selection, order=order)
    assert (found.regret, found.top_pruned) == (0, 0)
    assert found.share == found.epochs / (CELLS * 8)
    assert (found.share == 1) if pruner == "none" else (found.share <= 1)


@pytest.mark.parametrize("pruner", [HALVING, "successive halving, to 1/2"])
def test_halving_prunes_the_best_where_the_first_epoch_ranks_the_other_way_round(pruner: str) -> None:
    found = pruner_replays.replay(REVERSED, PRUNERS[pruner], selection=0, order=range(CELLS))
    assert found.top_pruned == 1
    assert found.epochs == 8 + (CELLS - 1)  # the first cell to the end, one epoch of every other
    assert found.regret == pytest.approx(9.0)  # points: it chose 0.80 where 0.89 was to be had


def test_regret_is_measured_on_the_seeds_that_did_not_choose() -> None:
    last = np.array([[[0.5, 0.9]], [[0.8, 0.4]], [[0.6, 0.5]]])  # seed 0 prefers the second cell, the others the first
    surface = surface_of(np.stack([last, last], axis=-1))
    found = pruner_replays.replay(surface, PRUNERS["none"], selection=0, order=[0, 1])
    assert found.regret == pytest.approx(100 * ((0.8 + 0.6) / 2 - (0.4 + 0.5) / 2))
    found = pruner_replays.replay(surface, PRUNERS["none"], selection=1, order=[0, 1])
    assert found.regret == pytest.approx(100 * ((0.9 + 0.5) / 2 - (0.5 + 0.6) / 2))


def test_a_pruner_is_asked_after_every_epoch_but_the_last() -> None:
    steps: list[int | None] = []

    class Notes(NopPruner):
        def prune(self, study: Study, trial: FrozenTrial) -> bool:
            steps.append(trial.last_step)
            return False

    pruner_replays.replay(STEADY, lambda epochs: Notes(), selection=0, order=[3, 4])
    assert steps == [*range(1, 8), *range(1, 8)]


@pytest.mark.parametrize(
    ("share", "top_pruned", "high", "fails"),
    [
        (0.5, 0.02, 0.05, []),
        (0.51, 0.02, 0.05, ["saves too little"]),
        (0.5, 0.03, 0.05, ["prunes the best"]),
        (0.5, 0.02, 0.051, ["regret"]),
        (0.5, 0.02, None, ["regret"]),  # one replay has no interval: it proves nothing
    ],
)
def test_a_pruner_pays_up_to_the_limits(share: float, top_pruned: float, high: float | None, fails: list[str]) -> None:
    found = pruner_replays.Replay(epochs=40, share=share, regret=0.1, top_pruned=top_pruned)
    assert Verdict([found], Estimate(0.0, 0.0, high, 1), margin=0.05).fails == fails


def test_the_best_tenth_is_rounded_up_and_has_the_equals_of_its_last() -> None:
    assert top_cells(np.arange(80.0)) == set(range(72, 80))
    assert top_cells(np.arange(11.0)) == {9, 10}
    assert top_cells(np.array([0.1, 0.9, 0.9, 0.5])) == {1, 2}


def test_spearman_against_hand_and_scipy() -> None:
    assert spearman(np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 4, 3, 5])) == pytest.approx(1 - 6 * 4 / (5 * 24))
    assert spearman(np.array([1.0, 2, 3]), np.array([9.0, 5, 1])) == -1
    first, second = np.random.default_rng(0).integers(0, 6, (2, 40)).astype(float)  # many are equal
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)
    assert math.isnan(spearman(np.ones(4), np.arange(4.0)))


def recorded(path: Path, surface: Surface, dataset: str) -> Path:
    rows = {
        (float(temperature), float(alpha), seed): surface.scores[seed, i, j].tolist()
        for seed in range(surface.seeds)
        for i, temperature in enumerate(surface.temperatures)
        for j, alpha in enumerate(surface.alphas)
    }
    write_surface(path, {"dataset": dataset}, rows)
    return path


def run(bench: object, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.py", *arguments])
    assert bench.main() == 0  # type: ignore[attr-defined]


def test_a_default_must_pay_on_every_surface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = recorded(tmp_path / "surface-steady.csv", STEADY, "mnist")
    opposite = recorded(tmp_path / "surface-opposite.csv", REVERSED, "cifar10")
    page = tmp_path / "pruning.md"
    run(pruning, monkeypatch, str(steady), "--replays", "6", "--out", str(page))
    alone = page.read_text()
    assert "## Does pruning pay?" in alone
    assert "| 1 | 1.00 | 1.00 |" in alone  # rank correlations of the first epoch
    assert "Margin of the regret: 0.05 points" in alone
    assert "**The default is successive halving" in alone
    run(pruning, monkeypatch, str(steady), str(opposite), "--replays", "6", "--out", str(page))
    both = page.read_text()
    assert "| 1 | -1.00 | -1.00 |" in both
    assert "Margin of the regret: 0.20 points" in both
    assert "**The default is no pruning: no pruner pays on surface-steady.csv and surface-opposite.csv.**" in both
    assert both.count("## Does pruning pay?") == 1


SEEDS = 12
FLAT = surface_of(np.full((SEEDS, 3, 3, 2), 0.5))
# Every seed agrees: the best cell is the last one.
SLOPE = surface_of(np.broadcast_to(np.arange(12.0).reshape(1, 4, 3, 1) / 100, (SEEDS, 4, 3, 2)).copy())


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_a_search_has_the_points_of_a_sweep(sampler: Sampler) -> None:
    spec, asked = preset("quick"), []

    def score(point: Point) -> float:
        asked.append(point)
        return point.alpha - point.temperature

    searched = sampler.search(spec, 11, score)
    planned = override(spec, {"search.sampler": sampler.name, "search.trials": 11}).search.planned
    assert [point for point, _ in searched] == asked
    assert asked[:planned] == sobol_points(spec, planned)
    assert all(value == point.alpha - point.temperature for point, value in searched)
    assert searched == sampler.search(spec, 11, score)


def test_tpe_learns_from_the_scores_before_its_lag() -> None:
    spec = preset("quick")
    up, down = (Sampler("tpe", 4).search(spec, 16, lambda point, s=sign: s * point.alpha) for sign in (1, -1))
    alike = [one == other for (one, _), (other, _) in zip(up, down, strict=True)]
    assert alike[:8] == [True] * 8
    assert not all(alike[8:])


def test_every_round_keeps_the_best_means_and_all_of_it_share_the_seeds() -> None:
    points = [Point(1.0 + number, 0.5) for number in range(5)]
    asked: list[tuple[float, int]] = []

    def score(point: Point, seed: int) -> float:
        asked.append((point.temperature, seed))
        return {1.0: 0.1, 2.0: 0.9, 3.0: 0.5 if seed == 1 else 1.0}.get(point.temperature, 0.0)

    searched = [(point, -point.temperature) for point in points]
    assert Confirm(((3, 1), (2, 2))).choose(searched, score) == Point(2.0, 0.5)  # 0.9 against (0.5 + 1 + 1) / 3
    assert asked == [(1.0, 1), (2.0, 1), (3.0, 1), (2.0, 2), (2.0, 3), (3.0, 2), (3.0, 3)]


def test_every_row_spends_its_budget() -> None:
    for by_budget in CONFIRMS.values():
        for budget, confirm in by_budget.items():
            assert confirm.rounds[0][0] <= budget - confirm.trainings < budget


def test_nobody_has_regret_on_a_flat_surface_and_the_floor_is_0_where_every_seed_agrees() -> None:
    for by_row in replay(FLAT, SAMPLERS[:2], number=1).values():
        assert set(by_row.values()) == {0.0}
    one = Replay(SLOPE, 3)
    assert one.floor() == 0
    assert one.regret(Point(float(SLOPE.temperatures[0]), float(SLOPE.alphas[0]))) == pytest.approx(11.0)


def test_the_seeds_of_the_truth_are_not_seen_by_the_searcher() -> None:
    values = np.repeat(np.arange(SEEDS) / 100, 18).reshape(SEEDS, 3, 3, 2)
    one = Replay(surface_of(values), 5)
    seen = [one.score(Point(1.0, 0.0), seed) for seed in range(SEEDS - TRUTH)]
    assert len({round(100 * value) for value in seen}) == SEEDS - TRUTH
    assert one.truth[0, 0] == pytest.approx((np.arange(SEEDS).sum() / 100 - sum(seen)) / TRUTH)


def test_the_page_has_a_line_for_every_row_and_says_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In this process: processes of a pool would not see the smaller budgets.
    monkeypatch.setattr(samplers, "ProcessPoolExecutor", ThreadPoolExecutor)
    surface = recorded(tmp_path / "surface-slope.csv", SLOPE, "mnist")
    page = tmp_path / "samplers.md"
    run(samplers, monkeypatch, str(surface), "--replays", "2", "--out", str(page))
    text = page.read_text()
    assert "| search | confirm | 29 trainings | 60 trainings | 150 trainings |" in text
    assert f"| {FLOOR} |" in text
    assert all(f"\n| {sampler} | {confirm} | " in text for sampler in SAMPLERS for confirm in CONFIRMS)
    assert "- Sobol with halving: 1.00 [1.00, 1.00]" in text
    assert "\n**The default " in text


def test_a_surface_with_too_few_seeds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    surface = recorded(tmp_path / "surface-steady.csv", STEADY, "mnist")
    monkeypatch.setattr(sys, "argv", ["samplers.py", str(surface)])
    assert samplers.main() == 1
    assert capsys.readouterr().err == "samplers.py: surface-steady.csv: it has 3 seeds, a replay needs 12 or more\n"
