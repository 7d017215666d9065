"""Verdict and regret of each target; repeats."""

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean

from storage.tables import TASK_AWAITED
from sweeps.findings.load import Look, StoredSweep, compared, is_incomplete, lacks_untreated, scaled_scores
from sweeps.plan.phases import Phase
from sweeps.spec.tables import Group
from sweeps.stats.estimates import Estimate, Paired, estimate
from sweeps.stats.verdict import Nested, Verdict, decide, nested, regrets
from sweeps.trainers.protocol import Point


@dataclass(frozen=True, kw_only=True)
class TargetVerdict:
    """The answer for one target.

    regret: native - best, in the unit that is shown, over searches and seeds of the first teacher; None while trainings
    are missing. same: of how many of those searches, or seeds, native and best are one training. by_search: the mean of
    each of those searches, the first one first. verdict: decided over searches where there are enough of them, else
    over seeds; None while trainings are missing. `done` of `planned` are there, `left` may still come: those that wait,
    run, or were cancelled. looks: those begun so far. prepares: of what all of it has one, such as "teacher"; "":
    nothing.
    """

    role: str
    dataset: str
    regret: Nested | None
    same: int
    by_search: tuple[float, ...]
    verdict: Verdict | None
    done: int
    left: int
    planned: int
    looks: tuple[Look, ...]
    prepares: str

    @property
    def lost(self) -> Paired | None:
        """The regret, with how many of its searches, or seeds, compare one training with itself."""
        return None if self.regret is None else Paired.of(self.regret.estimate, self.same)

    @property
    def unit(self) -> str:
        """What the verdict counts: "search" or "seed"."""
        return "search" if self.regret is not None and self.regret.searches > 1 else "seed"

    @property
    def units(self) -> str:
        return "searches" if self.unit == "search" else "seeds"


def verdicts(stored: StoredSweep) -> tuple[TargetVerdict, ...]:
    """Return one for each target; that of the first one is the answer to the primary question."""
    return tuple(_verdict(stored, role) for role in stored.spec.targets)


def _verdict(stored: StoredSweep, role: str) -> TargetVerdict:
    transfer, mine = stored.spec.transfer, stored.spec.searches
    trainings = (job for job in stored.trainings if job.work.role == role and job.work.group in mine)
    states = [job.row.state for job in trainings]
    left = sum(state in TASK_AWAITED for state in states)
    decided, regret, same = None, None, 0
    by_search: tuple[float, ...] = ()
    if not left:  # a verdict before the last seed is in would be one more look
        arms = [_arms(stored, role, group) for group in mine]
        values = list(map(regrets, arms))
        regret, by_search = nested(values, clipped=transfer.rule != 2), tuple(map(fmean, filter(None, values)))
        pairs = [compared(stored.spec, stored.trainings, role, "native", "best", group) for group in mine]
        alike = [pair.same for pair in pairs if pair is not None]
        if regret is not None:
            same = sum(map(bool, alike)) if regret.searches > 1 else regret.estimate.n if alike[0] else 0
        level = transfer.level(max(len(stored.looks), 1))
        if transfer.rule > 2:  # as the advice: what is said of all targets shares the level
            level /= len(stored.spec.targets)
        if not lacks_untreated(stored.spec, stored.trainings, role):
            decided = decide(
                arms, margin=transfer.margin, level=level, rule=transfer.rule, margin_share=transfer.margin_share
            )
    return TargetVerdict(
        role=role,
        dataset=stored.spec.role(role).dataset,
        regret=regret,
        same=same,
        by_search=by_search,
        verdict=decided,
        done=states.count("done"),
        left=left,
        planned=len(states),
        looks=stored.looks,
        prepares=stored.spec.kind.features.prepares,
    )


def _arms(stored: StoredSweep, role: str, group: Group) -> dict[str, dict[int, float]]:
    """Return the test score of each arm of a group, as it is shown, by repeat; the untreated one as "scratch"."""
    spec = stored.spec
    untreated = spec.counted_from(role)
    arms = {arm: scaled_scores(stored.spec, stored.trainings, role, arm, group) for arm in spec.arms(role, group)}
    # Last: an arm scratch beside it is another one.
    return arms | ({"scratch": arms[untreated]} if untreated in arms else {})


@dataclass(frozen=True)
class GroupRegret:
    """The regret on a target with one teacher and one search, in that unit, over the seeds of that search.

    best, native: the points that the search found on the source and on the target.
    """

    group: str
    teacher: str
    best: Point
    native: Point
    regret: Paired


@dataclass(frozen=True, kw_only=True)
class RepeatRegrets:
    """The regret of every teacher and search on one target; one entry without an outer level.

    over_teachers: with its t interval over teachers, the searches of each averaged: n = teachers.
    """

    role: str
    dataset: str
    groups: tuple[GroupRegret, ...]
    over_teachers: Estimate | None


def outer(stored: StoredSweep, role: str) -> RepeatRegrets:
    groups: list[GroupRegret] = []
    by_teacher: dict[str, list[float]] = defaultdict(list)
    for group in () if is_incomplete(stored.trainings, role) else stored.spec.groups:
        regret = compared(stored.spec, stored.trainings, role, "native", "best", group)
        source, target = (stored.confirmed(Phase.confirm(part, group)) for part in ("source", role))
        if regret is not None and source is not None and target is not None:
            names = group.tag or "t0s0", group.preparation or "t0"
            groups.append(GroupRegret(*names, best=source.best.point, native=target.best.point, regret=regret))
            by_teacher[group.preparation].append(regret.mean)
    return RepeatRegrets(
        role=role,
        dataset=stored.spec.role(role).dataset,
        groups=tuple(groups),
        over_teachers=estimate([fmean(values) for values in by_teacher.values()]),
    )
