"""Searches over the cells of a recorded surface with Optuna's own pruners, and what they cost and found."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeAlias

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import RandomSampler
from optuna.trial import TrialState
from scipy.stats import rankdata

from support.surfaces import Array, Surface
from sweeps.plan.seeds import derive
from sweeps.stats.estimates import Estimate, estimate

LEAST_FACTOR = 2.0  # fewer student-epochs
REGRET_MARGIN = {"mnist": 0.05}  # points
ANY_OTHER_MARGIN = 0.20
MOST_FALSELY_PRUNED = 0.02
TOP = 0.1  # of the cells

MakePruner: TypeAlias = Callable[[int], BasePruner]
"""A new pruner for trainings of so many epochs."""

# Optuna's defaults, and two that leave a training more time. A step is the number of epochs done, from 1.
PRUNERS: Mapping[str, MakePruner] = {
    "none": lambda epochs: NopPruner(),
    "median": lambda epochs: MedianPruner(),
    "median, from half of the epochs": lambda epochs: MedianPruner(n_warmup_steps=math.ceil(epochs / 2)),
    "successive halving, to 1/4": lambda epochs: SuccessiveHalvingPruner(min_resource=1, reduction_factor=4),
    "successive halving, to 1/2": lambda epochs: SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    "Hyperband": lambda epochs: HyperbandPruner(min_resource=1, max_resource=epochs),
}


@dataclass(frozen=True)
class Replay:
    """What one search over all cells cost and found.

    Attributes:
        epochs: student-epochs spent.
        share: of those that a search without pruning spends, in (0, 1].
        regret: points that the chosen cell lies below the best one on the seeds that did not choose it, >= 0.
        top_pruned: share of the truly best tenth of the cells that was pruned, in [0, 1].
    """

    epochs: int
    share: float
    regret: float
    top_pruned: float


def replay(
    surface: Surface, make_pruner: MakePruner, *, selection: int, order: Sequence[int], name: str = "replay"
) -> Replay:
    """One search with the scores of the seed `selection`.

    Args:
        order: the cells as they are visited, each once; cell i is (temperature i // a, alpha i % a).
        name: of the study; Hyperband draws the bracket of a trial from it.
    """
    scores = surface.scores[selection].reshape(-1, surface.epochs)
    fresh = surface.fresh(selection).ravel()
    study = optuna.create_study(
        study_name=name,
        direction="maximize",
        sampler=RandomSampler(seed=0),  # nothing is sampled: the cells are given
        pruner=make_pruner(surface.epochs),
    )
    spent, pruned = 0, set()
    for cell in order:
        trial = study.ask()
        for done in range(1, surface.epochs + 1):
            trial.report(float(scores[cell, done - 1]), done)
            # Not asked after the last epoch: there is nothing left to save.
            if done < surface.epochs and trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                pruned.add(cell)
                break
        else:
            study.tell(trial, float(scores[cell, -1]))
        spent += done
    chosen = order[study.best_trial.number]
    top = top_cells(fresh)
    return Replay(
        epochs=spent,
        share=spent / (len(order) * surface.epochs),
        regret=100 * float(fresh.max() - fresh[chosen]),
        top_pruned=len(top & pruned) / len(top),
    )


def top_cells(fresh: Array) -> set[int]:
    """The best tenth of the cells, and those as good as the last of them."""
    limit = np.sort(fresh)[-math.ceil(TOP * len(fresh))]
    return set(np.flatnonzero(fresh >= limit).tolist())


def spearman(first: Array, second: Array) -> float:
    """Rank correlation, in [-1, 1], equal values sharing their mean rank; NaN if one of them is constant."""
    ranks = [rankdata(values.ravel()) for values in (first, second)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return math.nan
    return float(np.corrcoef(*ranks)[0, 1])


@dataclass(frozen=True)
class Verdict:
    """What the replays of one pruner on one surface say.

    Attributes:
        replays: one or more.
        more_regret: points above the search without pruning, paired by replay.
        margin: points that it may lie above.
    """

    replays: Sequence[Replay]
    more_regret: Estimate
    margin: float

    @property
    def factor(self) -> float:
        """How many times fewer student-epochs than without pruning, >= 1."""
        return 1 / fmean(replay.share for replay in self.replays)

    @property
    def regret(self) -> float:
        """Points below the best cell, on the seeds that did not choose."""
        return fmean(replay.regret for replay in self.replays)

    @property
    def top_pruned(self) -> float:
        """Share of the truly best tenth that was pruned."""
        return fmean(replay.top_pruned for replay in self.replays)

    @property
    def fails(self) -> list[str]:
        """What speaks against it; empty if it pays."""
        high = self.more_regret.high
        reasons = {
            "saves too little": self.factor < LEAST_FACTOR,
            "regret": high is None or high > self.margin,
            "prunes the best": self.top_pruned > MOST_FALSELY_PRUNED,
        }
        return [reason for reason, holds in reasons.items() if holds]


def compare(surface: Surface, *, replays: int) -> dict[str, Verdict]:
    """Every pruner on the same replays: the seeds take turns in choosing, the orders are drawn anew."""
    cells = surface.last[0].size
    done: dict[str, list[Replay]] = {name: [] for name in PRUNERS}
    for number in range(replays):
        order = np.random.default_rng(derive(0, "pruning", number)).permutation(cells).tolist()
        selection = number % surface.seeds
        for name, make in PRUNERS.items():
            done[name].append(replay(surface, make, selection=selection, order=order, name=f"replay-{number}"))
    margin = REGRET_MARGIN.get(surface.header["dataset"], ANY_OTHER_MARGIN)
    verdicts = {}
    for name, found in done.items():
        more = estimate([a.regret - b.regret for a, b in zip(found, done["none"], strict=True)])
        assert more is not None
        verdicts[name] = Verdict(found, more, margin)
    return verdicts
