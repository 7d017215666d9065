"""Pruners and samplers replayed on hand-made surfaces whose answers are known."""

import importlib.util
import math
import sys
from pathlib import Path
from xml.etree import ElementTree

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

from support import sampler_replays
from support.pruner_replays import PRUNERS, Replay, Verdict, replay, spearman, top_cells
from support.sampler_replays import BUDGETS, PRODUCT, SEARCHES, Regrets, product_search, regrets, sobol_search
from support.surfaces import Surface, write_surface
from sweeps.plan.tasks import sobol_points
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
    found = replay(STEADY, PRUNERS[pruner], selection=selection, order=order)
    assert (found.regret, found.top_pruned) == (0, 0)
    assert found.share == found.epochs / (CELLS * 8)
    assert (found.share == 1) if pruner == "none" else (found.share <= 1)


@pytest.mark.parametrize("pruner", [HALVING, "successive halving, to 1/2"])
def test_halving_prunes_the_best_where_the_first_epoch_ranks_the_other_way_round(pruner: str) -> None:
    found = replay(REVERSED, PRUNERS[pruner], selection=0, order=range(CELLS))
    assert found.top_pruned == 1
    assert found.epochs == 8 + (CELLS - 1)  # the first cell to the end, one epoch of every other
    assert found.regret == pytest.approx(9.0)  # points: it chose 0.80 where 0.89 was to be had


def test_regret_is_measured_on_the_seeds_that_did_not_choose() -> None:
    last = np.array([[[0.5, 0.9]], [[0.8, 0.4]], [[0.6, 0.5]]])  # seed 0 prefers the second cell, the others the first
    surface = surface_of(np.stack([last, last], axis=-1))
    found = replay(surface, PRUNERS["none"], selection=0, order=[0, 1])
    assert found.regret == pytest.approx(100 * ((0.8 + 0.6) / 2 - (0.4 + 0.5) / 2))
    found = replay(surface, PRUNERS["none"], selection=1, order=[0, 1])
    assert found.regret == pytest.approx(100 * ((0.9 + 0.5) / 2 - (0.5 + 0.6) / 2))


def test_a_pruner_is_asked_after_every_epoch_but_the_last() -> None:
    steps: list[int | None] = []

    class Notes(NopPruner):
        def prune(self, study: Study, trial: FrozenTrial) -> bool:
            steps.append(trial.last_step)
            return False

    replay(STEADY, lambda epochs: Notes(), selection=0, order=[3, 4])
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
    found = Replay(epochs=40, share=share, regret=0.1, top_pruned=top_pruned)
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


def test_the_product_begins_with_its_sobol_half_and_goes_on_with_tpe() -> None:
    spec = preset("quick")
    trials = product_search(spec, 11, lambda temperature, alpha: alpha - temperature)
    points = [Point(trial.temperature, trial.alpha) for trial in trials]
    assert len(trials) == 11
    assert points[:6] == sobol_points(spec, 6)
    assert points[6:] != sobol_points(spec, 11)[6:]
    assert all(trial.score == trial.alpha - trial.temperature for trial in trials)
    assert trials == product_search(spec, 11, lambda temperature, alpha: alpha - temperature)


def test_no_sampler_has_regret_on_a_flat_surface() -> None:
    flat = surface_of(np.full((2, 3, 3, 2), 0.5))
    for name in ("Sobol", "TPE", "random", PRODUCT):
        assert set(regrets(flat, SEARCHES[name], replay=1).values()) == {0.0}


def test_more_trials_never_choose_worse_where_every_seed_agrees() -> None:
    slope = surface_of(np.repeat((np.arange(12.0).reshape(4, 3) / 100)[None, :, :, None], 2, axis=0).repeat(2, axis=-1))
    found = [regrets(slope, sobol_search, replay=number) for number in range(4)]
    for one in found:
        assert list(one) == list(BUDGETS)
        assert list(one.values()) == sorted(one.values(), reverse=True)
        assert min(one.values()) >= 0


def test_another_sampler_must_be_lower_beyond_its_interval_on_every_surface() -> None:
    def spread(*around: float) -> Regrets:
        return Regrets({budget: [mean - 0.01, mean, mean + 0.01] for budget, mean in zip(BUDGETS, around, strict=True)})

    default = spread(0.4, 0.3, 0.2, 0.1)
    same = dict.fromkeys(SEARCHES, default)
    better = same | {"TPE": Regrets({b: [v - 0.05, v - 0.06, v - 0.05] for b, (_, v, _) in default.points.items()})}
    mixed = same | {"TPE": spread(0.3, 0.3, 0.2, 0.2)}  # lower with few trials, higher with many
    absent = better | {"TPE": Regrets({}, unavailable="needs torch")}

    def said(*by_surface: dict[str, Regrets]) -> str:
        return samplers.conclusion([(STEADY, regrets) for regrets in by_surface])

    assert said(same).startswith("**The default stays Sobol + TPE")
    assert said(better).startswith("**The default should become TPE")
    assert said(better, same).startswith("**The default stays Sobol + TPE")
    assert said(mixed).startswith("**The default stays Sobol + TPE")
    assert said(absent).startswith("**The default stays Sobol + TPE")


def test_the_page_has_a_line_per_sampler_and_the_picture_a_line_per_sampler_that_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_replays, "BUDGETS", (4, 12))
    monkeypatch.setattr(samplers, "BUDGETS", (4, 12))
    surface = recorded(tmp_path / "surface-steady.csv", STEADY, "mnist")
    page = tmp_path / "samplers.md"
    run(samplers, monkeypatch, str(surface), "--replays", "2", "--out", str(page))
    text = page.read_text()
    assert "| sampler | 4 trials | 12 trials |" in text
    assert all(f"\n| {name} | " in text for name in SEARCHES)
    with_gp = importlib.util.find_spec("torch") is not None
    assert ("unavailable: needs torch" in text) is not with_gp
    picture = ElementTree.parse(tmp_path / "samplers.svg").getroot()
    names = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert [name for name in SEARCHES if name in names] == [name for name in SEARCHES if with_gp or name != "GP"]
