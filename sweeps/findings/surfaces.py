"""The points and fitted surface of each search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated

from pydantic import Field

from storage.records.queries import Past
from storage.studies.space import Range
from sweeps.extensions import is_installed
from sweeps.findings.load import StoredSweep
from sweeps.plan import selection
from sweeps.plan.jobs import ConfirmTask, SearchTask, StudentOutcome
from sweeps.plan.phases import Phase
from sweeps.plan.selection import Confirm, Confirmed, Search
from sweeps.spec.model import Spec
from sweeps.spec.tables import FIRST, Group
from sweeps.stats.resampling import is_tied
from sweeps.stats.top import Run, Top
from sweeps.stats.verdict import FEWEST_SEARCHES
from sweeps.trainers.protocol import Point

PLANE = 2  # number of parameters of a fitted surface
FEWEST_TRIALS = 10  # for importances of parameters


Missing = Annotated[str, Field(exclude_if=lambda reason: not reason)]
"""Why something could not be computed, or ""; serialised only if there is a reason."""


@dataclass(frozen=True)
class SearchTrial:
    """One trial of a search.

    accuracy: validation score in the displayed unit, such as percent; higher is better. number: from 0. shared: whether
    it is a Sobol point.
    """

    point: Point
    accuracy: float
    number: int
    shared: bool


@dataclass(frozen=True, kw_only=True)
class Surface:
    """The searches on one dataset; scores are in the displayed unit.

    trials, best, tied, optimism: of the first search. best: the confirmed point, None before. tied: other confirmed
    candidates that do not differ significantly from it. optimism: how much the score of the best trial fell when it was
    retrained with new seeds. others: trials of further searches of the first teacher. top: the fit to all of them; None
    with too few searches, or unless two numbers are searched. importances: otherwise, the share of variance that each
    parameter explains, largest first; empty with fewer than FEWEST_TRIALS trials. top_missing, importances_missing:
    which packages they lack. parameters: names of the searched ones. further: whether they are not just two numbers.
    """

    role: str
    dataset: str
    trials: tuple[SearchTrial, ...]
    best: Point | None
    tied: tuple[Point, ...]
    optimism: float | None
    others: tuple[SearchTrial, ...]
    top: Top | None
    parameters: tuple[str, ...]
    importances: tuple[tuple[str, float], ...] = ()
    further: bool = False
    top_missing: Missing = ""
    importances_missing: Missing = ""


def surfaces(stored: StoredSweep, confirmed: Mapping[str, Confirmed]) -> tuple[Surface, ...]:
    """Return the searches of the source, then those of each target."""
    return tuple(_surface(stored, role, confirmed.get(role)) for role in stored.spec.roles)


def confirmed_points(stored: StoredSweep) -> dict[str, Confirmed]:
    """Return the confirmed point of the first teacher and search, by role that has one."""
    by_role = {role: stored.confirmed(Phase.confirm(role)) for role in stored.spec.roles}
    return {role: confirmed for role, confirmed in by_role.items() if confirmed is not None}


def _surface(stored: StoredSweep, role: str, confirmed: Confirmed | None) -> Surface:
    search = _trials(stored, role, FIRST)
    confirms = selection.confirmed_for(Phase.confirm(role), stored.finished(ConfirmTask, StudentOutcome))
    by_rank = {tasks[0].work.rank: (point, tasks) for point, tasks in selection.by_point(confirms).items()}
    scaled = stored.spec.score.scaled
    scores = {rank: {t.work.repeat: scaled(t.score) for t in tasks} for rank, (_, tasks) in by_rank.items()}
    tied: tuple[Point, ...] = ()
    if confirmed is not None and (winner := scores.get(confirmed.best.rank)) is not None:
        others = {rank: values for rank, values in scores.items() if rank != confirmed.best.rank}
        tied = tuple(by_rank[rank][0] for rank, values in others.items() if is_tied(winner, values))
    optimism = None  # positive on average: the best of many noisy scores is partly lucky (winner's curse)
    if search and 0 in scores:
        optimism = scaled(max(task.score for task in search)) - fmean(scores[0].values())
    fitted, top_missing = _top(stored, role)
    shares, importances_missing = _importances(stored, role)
    return Surface(
        role=role,
        dataset=stored.spec.role(role).dataset,
        trials=_as_trials(stored.spec, search),
        best=None if confirmed is None else confirmed.best.point,
        tied=tied,
        optimism=optimism,
        others=tuple(
            trial
            for group in stored.spec.searches[1:]
            for trial in _as_trials(stored.spec, _trials(stored, role, group))
        ),
        top=fitted,
        parameters=tuple(stored.spec.kind.space(stored.spec)),
        importances=shares,
        further=_has_more(stored.spec),
        top_missing=top_missing,
        importances_missing=importances_missing,
    )


def _importances(stored: StoredSweep, role: str) -> tuple[tuple[tuple[str, float], ...], str]:
    """Return the importances, and which packages they lack."""
    trials = [task for group in stored.spec.searches for task in _trials(stored, role, group)]
    if not _has_more(stored.spec) or len(trials) < FEWEST_TRIALS:
        return (), ""
    if not is_installed("train"):
        return (), "needs kd-sweeps[train]"
    from storage.studies.sampler import importances  # here: Optuna and its forest take seconds

    history = [Past(task.outcome.point.as_dict(), task.score) for task in trials]
    return tuple(importances(stored.spec.kind.space(stored.spec), history).items()), ""


def _trials(stored: StoredSweep, role: str, group: Group) -> list[Search]:
    return stored.finished(SearchTask, StudentOutcome, phase=Phase.search(role, group))


def _as_trials(spec: Spec, search: Sequence[Search]) -> tuple[SearchTrial, ...]:
    return tuple(
        SearchTrial(task.outcome.point, spec.score.scaled(task.score), number, task.work.sobol is not None)
        for number, task in enumerate(search)
    )


def _top(stored: StoredSweep, role: str) -> tuple[Top | None, str]:
    """Fit all searches of the first teacher with their confirms; return the fit and which packages it lacks.

    The fit is None until enough searches have been confirmed.
    """
    closed = [group for group in stored.spec.searches if Phase.confirm(role, group).name in stored.closed]
    axes = ranges(stored.spec)
    # In a fit over two of more parameters the others would be noise.
    if len(closed) < FEWEST_SEARCHES or len(axes) != PLANE or _has_more(stored.spec):
        return None, ""
    if not is_installed("report") and not is_installed("train"):
        return None, "needs kd-sweeps[report]"
    from sweeps.stats.response import top  # here: NumPy is missing from a light install

    runs: list[Search | Confirm] = []
    confirms = stored.finished(ConfirmTask, StudentOutcome)
    for group in closed:
        runs += [*_trials(stored, role, group), *selection.confirmed_for(Phase.confirm(role, group), confirms)]
    trainings = []
    for task in runs:
        x, y = (bounds.fraction(float(task.outcome.point[name])) for name, bounds in axes.items())
        if 0 <= x <= 1 and 0 <= y <= 1:  # an untuned point may lie outside the search space
            trainings.append(Run(x, y, score=stored.spec.score.scaled(task.score), seed=task.work.seed))
    return top(trainings), ""


def ranges(spec: Spec) -> dict[str, Range]:
    """Return the ranges of the searched parameters that are real numbers."""
    return {name: bounds for name, bounds in spec.kind.space(spec).items() if isinstance(bounds, Range)}


def _has_more(spec: Spec) -> bool:
    # Also True for choices, over which there is no surface.
    return not len(spec.kind.space(spec)) == len(ranges(spec)) == PLANE
