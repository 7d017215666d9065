"""What a search found on a dataset, and whether there was an optimum to find: held against the seeds of its confirm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sweeps.analysis.stored import StoredSweep
from sweeps.analysis.units import percent
from sweeps.plan import selection
from sweeps.plan.names import best_of, search_phase
from sweeps.plan.outcomes import DoneTask, StudentOutcome
from sweeps.plan.payloads import ConfirmTask, SearchTask
from sweeps.plan.selection import Confirmed
from sweeps.spec.point import Point
from sweeps.stats import variance

Confirm: TypeAlias = DoneTask[ConfirmTask, StudentOutcome]


@dataclass(frozen=True)
class SearchTrial:
    """One trial of a search. accuracy: validation, percent. number: from 0. shared: of the Sobol half."""

    point: Point
    accuracy: float
    number: int
    shared: bool


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A search and its confirm on one dataset.

    best: the point that was confirmed, None before. tied: confirmed candidates, best aside, that the confirm seeds
    cannot tell from it. icc: intraclass correlation of single runs at evenly spread points, in [0, 1], None where
    confirm is too small to tell. optimism: how much the best search trial fell when it was retrained on fresh seeds,
    accuracy points.
    """

    role: str
    dataset: str
    trials: tuple[SearchTrial, ...]
    best: Point | None
    tied: tuple[Point, ...]
    icc: float | None
    optimism: float | None

    @property
    def identified(self) -> bool | None:
        """Whether an optimum stands out of the noise; None where that cannot be told."""
        return None if self.icc is None else self.icc >= variance.IDENTIFIED_FROM


def surfaces(stored: StoredSweep, confirmed: Mapping[str, Confirmed]) -> tuple[Surface, ...]:
    """Return the search of the source, then the native ones of the targets; `confirmed` as `confirmed_points` gives."""
    return tuple(_surface(stored, role, confirmed.get(role)) for role in stored.spec.roles)


def confirmed_points(stored: StoredSweep) -> dict[str, Confirmed]:
    """Return what was confirmed for the first teacher and search, by role; roles without it are left out."""
    found = {role: stored.confirmed(best_of(role)) for role in stored.spec.roles}
    return {role: confirmed for role, confirmed in found.items() if confirmed is not None}


def _surface(stored: StoredSweep, role: str, confirmed: Confirmed | None) -> Surface:
    search = stored.finished(SearchTask, StudentOutcome, phase=search_phase(role))
    confirm = _by_rank(selection.confirmed_for(best_of(role), stored.finished(ConfirmTask, StudentOutcome)))
    accuracies = {rank: {one.payload.repeat: percent(one.score) for one in tasks} for rank, tasks in confirm.items()}
    trials = tuple(
        SearchTrial(one.outcome.point, percent(one.score), number, one.payload.sobol is not None)
        for number, one in enumerate(search)
    )
    noise = variance.noise_variance(list(accuracies.values()))
    shared = [trial.accuracy for trial in trials if trial.shared]
    tied: list[str] = []
    if confirmed is not None and confirmed.best.rank in accuracies:
        best = confirmed.best.rank
        others = {str(rank): values for rank, values in accuracies.items() if rank != best}
        tied = variance.tied(accuracies[best], others)
    optimism = None
    if search and accuracies.get(0):
        incumbent = max(search, key=lambda one: (one.score, -one.record.id))
        optimism = variance.optimism(percent(incumbent.score), list(accuracies[0].values()))
    return Surface(
        role=role,
        dataset=stored.spec.role(role).dataset,
        trials=trials,
        best=None if confirmed is None else confirmed.best.point,
        tied=tuple(confirm[int(rank)][0].outcome.point for rank in tied),
        icc=None if noise is None else variance.intraclass_correlation(shared, noise),
        optimism=optimism,
    )


def _by_rank(confirm: Sequence[Confirm]) -> dict[int, list[Confirm]]:
    return {tasks[0].payload.rank: tasks for tasks in selection.by_point(confirm).values()}
