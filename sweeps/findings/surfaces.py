"""What each search found."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sweeps.distill.space import search_space
from sweeps.findings.load import StoredSweep
from sweeps.plan import selection
from sweeps.plan.jobs import ConfirmTask, DoneTask, SearchTask, StudentOutcome
from sweeps.plan.phases import best_of, confirm_phase, search_phase, searches
from sweeps.plan.selection import Confirmed
from sweeps.stats import resampling
from sweeps.stats.estimates import percent
from sweeps.stats.response import Run, Top, top
from sweeps.stats.verdict import FEWEST_SEARCHES
from sweeps.trainers.protocol import Point

FEWEST_TRIALS = 10
"""With fewer trials of a search, its parameters have no importances."""

Confirm: TypeAlias = DoneTask[ConfirmTask, StudentOutcome]
Search: TypeAlias = DoneTask[SearchTask, StudentOutcome]


@dataclass(frozen=True)
class SearchTrial:
    """One trial of a search. accuracy: validation, percent. number: from 0. shared: of the Sobol half."""

    point: Point
    accuracy: float
    number: int
    shared: bool


@dataclass(frozen=True, kw_only=True)
class Surface:
    """The searches on one dataset.

    trials, best, tied, optimism: of the first search. best: the point that was confirmed, None before. tied: confirmed
    candidates, best aside, that the confirm seeds cannot tell from it. optimism: how much the best search trial fell
    when it was retrained on fresh seeds, accuracy points. others: the trials of further searches of the first teacher.
    top: of all of them together, in accuracy points; None until there are enough searches, and where more than T and
    alpha is searched. importances: then, the share of the variance that each parameter explains, the largest first;
    empty with fewer than FEWEST_TRIALS trials. further: whether more than T and alpha is searched.
    """

    role: str
    dataset: str
    trials: tuple[SearchTrial, ...]
    best: Point | None
    tied: tuple[Point, ...]
    optimism: float | None
    others: tuple[SearchTrial, ...]
    top: Top | None
    importances: tuple[tuple[str, float], ...] = ()
    further: bool = False


def surfaces(stored: StoredSweep, confirmed: Mapping[str, Confirmed]) -> tuple[Surface, ...]:
    """Return the search of the source, then the native ones of the targets; `confirmed` as `confirmed_points` gives."""
    return tuple(_surface(stored, role, confirmed.get(role)) for role in stored.spec.roles)


def confirmed_points(stored: StoredSweep) -> dict[str, Confirmed]:
    """Return what was confirmed for the first teacher and search, by role; roles without it are left out."""
    by_role = {role: stored.confirmed(best_of(role)) for role in stored.spec.roles}
    return {role: confirmed for role, confirmed in by_role.items() if confirmed is not None}


def _surface(stored: StoredSweep, role: str, confirmed: Confirmed | None) -> Surface:
    search = _trials(stored, role, "")
    confirm = _by_rank(selection.confirmed_for(best_of(role), stored.finished(ConfirmTask, StudentOutcome)))
    accuracies = {rank: {task.payload.repeat: percent(task.score) for task in tasks} for rank, tasks in confirm.items()}
    tied: list[str] = []
    if confirmed is not None and confirmed.best.rank in accuracies:
        best = confirmed.best.rank
        others = {str(rank): values for rank, values in accuracies.items() if rank != best}
        tied = resampling.tied(accuracies[best], others)
    optimism = None
    if search and accuracies.get(0):
        incumbent = max(search, key=lambda task: (task.score, -task.record.id))
        optimism = resampling.optimism(percent(incumbent.score), list(accuracies[0].values()))
    return Surface(
        role=role,
        dataset=stored.spec.role(role).dataset,
        trials=_shown(search),
        best=None if confirmed is None else confirmed.best.point,
        tied=tuple(confirm[int(rank)][0].outcome.point for rank in tied),
        optimism=optimism,
        others=tuple(trial for group in searches(stored.spec)[1:] for trial in _shown(_trials(stored, role, group))),
        top=_top(stored, role),
        importances=_importances(stored, role),
        further=bool(stored.spec.search.space),
    )


def _importances(stored: StoredSweep, role: str) -> tuple[tuple[str, float], ...]:
    if not stored.spec.search.space:
        return ()
    trials = [task for group in searches(stored.spec) for task in _trials(stored, role, group)]
    if len(trials) < FEWEST_TRIALS:
        return ()
    from storage.studies.sampler import Past, importances  # here: Optuna and its forest take seconds

    history = [Past(task.outcome.point.as_dict(), task.score) for task in trials]
    return tuple(importances(search_space(stored.spec), history).items())


def _trials(stored: StoredSweep, role: str, group: str) -> list[Search]:
    return stored.finished(SearchTask, StudentOutcome, phase=search_phase(role, group))


def _shown(search: Sequence[Search]) -> tuple[SearchTrial, ...]:
    return tuple(
        SearchTrial(task.outcome.point, percent(task.score), number, task.payload.sobol is not None)
        for number, task in enumerate(search)
    )


def _top(stored: StoredSweep, role: str) -> Top | None:
    """Fit all searches of the first teacher, with their confirms; None until enough of them are through."""
    closed = [group for group in searches(stored.spec) if confirm_phase(role, group) in stored.closed]
    # over T and alpha alone the other parameters would be noise
    if len(closed) < FEWEST_SEARCHES or stored.spec.search.space:
        return None
    runs: list[Search | Confirm] = []
    confirms = stored.finished(ConfirmTask, StudentOutcome)
    for group in closed:
        runs += [*_trials(stored, role, group), *selection.confirmed_for(best_of(role, group), confirms)]
    (t_low, t_high), (a_low, a_high) = stored.spec.search.temperature, stored.spec.search.alpha
    return top(
        [
            Run(
                x=_place(math.log(task.outcome.point.temperature), math.log(t_low), math.log(t_high)),
                y=_place(task.outcome.point.alpha, a_low, a_high),
                score=percent(task.score),
                seed=task.payload.seed,
            )
            for task in runs
        ]
    )


def _place(value: float, low: float, high: float) -> float:
    """Return where a value lies in a range, in [0, 1]; the middle of a range without width."""
    return (value - low) / (high - low) if high > low else 0.5


def _by_rank(confirm: Sequence[Confirm]) -> dict[int, list[Confirm]]:
    return {tasks[0].payload.rank: tasks for tasks in selection.by_point(confirm).values()}
