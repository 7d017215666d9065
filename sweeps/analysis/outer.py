"""Other teachers, other searches: the regret of each, and its interval over teachers."""

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean

from sweeps.analysis.stored import StoredSweep
from sweeps.analysis.trainings import awaited, compared
from sweeps.plan.names import best_of, groups, teacher_of
from sweeps.spec.point import Point
from sweeps.stats.estimates import Estimate, Paired, estimate


@dataclass(frozen=True, kw_only=True)
class GroupRegret:
    """The regret on a target with one teacher and one search, points, over the seeds of that search.

    best, native: the points that the search found on the source and on the target.
    """

    group: str
    teacher: str
    best: Point
    native: Point
    regret: Paired


@dataclass(frozen=True, kw_only=True)
class OuterRegrets:
    """The regret of every teacher and search on one target; one entry without an outer level.

    over_teachers: with its t interval over teachers, the searches of each averaged: n = teachers.
    """

    role: str
    dataset: str
    groups: tuple[GroupRegret, ...]
    over_teachers: Estimate | None


def outer(stored: StoredSweep) -> tuple[OuterRegrets, ...]:
    """Return the regrets of each target."""
    return tuple(_outer(stored, role) for role in stored.spec.targets)


def _outer(stored: StoredSweep, role: str) -> OuterRegrets:
    found = [] if awaited(stored.trainings, role) else _groups(stored, role)
    regrets: dict[str, list[float]] = defaultdict(list)
    for one in found:
        regrets[one.teacher].append(one.regret.mean)
    return OuterRegrets(
        role=role,
        dataset=stored.spec.role(role).dataset,
        groups=tuple(found),
        over_teachers=estimate([fmean(values) for values in regrets.values()]),
    )


def _groups(stored: StoredSweep, role: str) -> list[GroupRegret]:
    found = []
    for group in groups(stored.spec):
        regret = compared(stored.trainings, role, "native", "best", group)
        source, target = (stored.confirmed(best_of(one, group)) for one in ("source", role))
        if regret is not None and source is not None and target is not None:
            found.append(
                GroupRegret(
                    group=group or "t0s0",
                    teacher=teacher_of(group) or "t0",
                    best=source.best.point,
                    native=target.best.point,
                    regret=regret,
                )
            )
    return found
