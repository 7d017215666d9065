"""Advice rows of bench/null.py: simulated losses, counts, and that the NumPy version agrees with `advise`."""

import math
import sys
from collections import Counter

import numpy as np
import pytest

from tests.support.paths import REPOSITORY
from tests.support.present import present

sys.path.insert(0, str(REPOSITORY / "bench"))  # bench/ is not a package

from support.advice import CHEAPER, Row, advised, claims, count, page, rows
from support.strategies import Drawn, Stage, Wanted
from sweeps.distill.presets import preset
from sweeps.stats.advice import advise

SWEEPS, SEARCHES = 60, 8


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage("mnist", "cifar10", sweeps=SWEEPS, searches=SEARCHES, seed=1)


def shares(drawn: Drawn) -> list[float]:
    """Return the true losses of default and elsewhere, as shares of the gain."""
    return [float(drawn.lost(name).mean() / drawn.lost("untreated").mean()) for name in CHEAPER]


def test_the_design_is_that_of_a_short_search_with_three_seeds(stage: Stage) -> None:
    spec = preset("quick")
    assert (spec.search.trials, spec.confirm.rounds, spec.transfer.seeds) == (6, ((2, 1),), 3)
    assert (spec.outer.searches, spec.further.transfer.seeds) == (8, 3)
    drawn = stage.draw(Wanted(), share=0.2)
    assert {use: values.shape for use, values in drawn.runs.items()} == dict.fromkeys(
        ("here", "elsewhere", "default", "untreated"), (SWEEPS, SEARCHES, 3)
    )
    assert 2 < drawn.lost("untreated").mean() < 3.5
    # Equal points share their trainings; some searches choose the default.
    alike = drawn.true["here"] == drawn.true["elsewhere"]
    assert 0.15 < alike.mean() < 0.45
    assert (drawn.runs["here"][alike] == drawn.runs["elsewhere"][alike]).all()
    assert 0.05 < (drawn.true["here"] == drawn.true["default"]).mean() < 0.5


@pytest.mark.parametrize("margins", [0.5, 1.0, 3.0])
def test_the_true_losses_are_the_requested_ones_and_never_less(stage: Stage, margins: float) -> None:
    drawn = stage.draw(Wanted(default=margins, elsewhere=margins), share=0.2)
    assert shares(drawn) == pytest.approx([0.2 * margins] * 2, abs=0.02)
    assert shares(drawn)[0] >= 0.2 * margins
    assert shares(drawn)[1] >= 0.2 * margins


def test_the_true_gain_is_the_requested_one(stage: Stage) -> None:
    small = stage.draw(Wanted(default=1.0, elsewhere=1.0, gain=0.5), share=0.2)
    assert small.lost("untreated").mean() == pytest.approx(0.5)
    assert shares(small) == pytest.approx([0.2, 0.2], abs=0.02)


def test_a_recipe_that_validation_chose_is_the_same_in_all_searches_of_a_sweep(stage: Stage) -> None:
    best, chosen = (stage.draw(Wanted(recipes=recipes), share=0.2) for recipes in (False, True))
    below = best.true["untreated"] - chosen.true["untreated"]
    assert np.ptp(below, axis=1) == pytest.approx(0.0)
    assert 0.5 < (below[:, 0] == 0).mean() < 1, "validation mostly chooses the best recipe"


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("searches", [2, 3, 8])
@pytest.mark.parametrize("one_dataset", [False, True])
def test_numpy_and_advise_give_the_same_answer(stage: Stage, searches: int, margin: float, one_dataset: bool) -> None:
    uses: Counter[str] = Counter()
    for wanted in (
        Wanted(margin=margin),
        Wanted(gain=0.5, margin=margin),
        Wanted(default=1.5, elsewhere=3.0, gain=0.25),
    ):
        drawn = stage.draw(wanted, share=0.2).first(searches)
        how = {"looks": 3, "look": 2, "targets": 2}
        by_numpy = advised(drawn, margin=margin, one_dataset=one_dataset, **how)
        for number in range(0, SWEEPS, 3):
            runs = [
                {
                    use: dict(enumerate(values[number, search].tolist()))
                    for use, values in drawn.runs.items()
                    if not (one_dataset and use == "elsewhere")
                }
                for search in range(searches)
            ]
            share = 0.0 if margin else 0.2
            choice = present(advise(runs, margin=margin, margin_share=share, **how))
            assert (by_numpy.use[number], by_numpy.settled[number]) == (choice.use, choice.settled)
            names = [strategy.name for strategy in choice.strategies[:-1]]
            assert names == [name for name in CHEAPER if name in by_numpy.intervals]
            for strategy in choice.strategies[:-1]:
                low, high = (limits[number] for limits in by_numpy.intervals[strategy.name])
                if strategy.share is None:
                    assert math.isnan(low)
                else:
                    assert (low, high) == pytest.approx((strategy.share.low, strategy.share.high))
            uses[choice.use] += 1
    assert len(uses) >= (1 if searches == 2 else 3), "several different answers are compared"


def test_advice_is_wrong_if_the_strategy_truly_loses_more_than_the_margin(stage: Stage) -> None:
    good = count(Row(name="good", wanted=Wanted(default=0.0, elsewhere=0.0)), sweeps=SWEEPS, stage=stage)
    assert (good.wrong, good.cheapest) == (0, good.uses["default"])
    assert good.uses["default"] > 0.8 * SWEEPS
    edge = count(Row(name="edge", wanted=Wanted(default=1.0, margin=3.0)), sweeps=SWEEPS, stage=stage)
    assert edge.wrong == edge.uses["default"]
    targets = count(Row(name="targets", wanted=Wanted(elsewhere=1.0), targets=3), sweeps=SWEEPS, stage=stage)
    assert targets.wrong >= targets.uses["elsewhere"], "an error on any target counts"
    none = count(Row(name="none", wanted=Wanted(gain=0.0)), sweeps=SWEEPS, stage=stage)
    assert none.uses["untreated"] == none.cheapest > 0.9 * SWEEPS
    looks, first = (count(Row(name="", searches=looks), sweeps=SWEEPS, stage=stage) for looks in ((3, 8), (3,)))
    assert sum(looks.uses.values()) == SWEEPS
    assert looks.uses["default"] > first.uses["default"], "undecided sweeps get more searches"
    verdicts = claims([good, none])
    assert [len(counted) for counted in verdicts.values()] == [2, 1, 2]
    assert "0.0 [0.0, 6.0]" in page([good])


def test_row_names_are_unique_and_no_row_has_more_than_16_searches() -> None:
    names = [row.name for row in rows()]
    assert len(names) == len(set(names)) == 45
    assert max(max(row.looks) for row in rows()) == 16
