"""Verdict and regret of each target, and of every teacher and search."""

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean

from sweeps.findings.load import Look, StoredSweep, compared, is_incomplete, lacks_untreated, scaled_scores
from sweeps.plan.phases import Phase
from sweeps.spec.tables import Group
from sweeps.stats.estimates import Estimate, Paired, estimate
from sweeps.stats.verdict import Nested, Verdict, decide, nested, regrets
from sweeps.trainers.protocol import Point


@dataclass(frozen=True, kw_only=True)
class TargetVerdict:
    """The verdict for one target, over the searches of the first teacher.

    regret: native - best in the displayed unit; None while trainings are missing. same: number of searches, or seeds,
    in which native and best are one training. by_search: the mean regret of each search. verdict: over searches if
    there are enough, else over seeds; None while trainings are missing. done, planned: numbers of trainings. left:
    those waiting, running or cancelled. looks: those begun. prepares: such as "teacher", of which there is one; or "".
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
        """The regret with the number of its searches, or seeds, that compare a training with itself."""
        return None if self.regret is None else Paired.of(self.regret.estimate, self.same)

    @property
    def unit(self) -> str:
        """The unit of the verdict: "search" or "seed"."""
        return "search" if self.regret is not None and self.regret.searches > 1 else "seed"

    @property
    def units(self) -> str:
        return "searches" if self.unit == "search" else "seeds"


def verdicts(stored: StoredSweep) -> tuple[TargetVerdict, ...]:
    """Return the verdict of each target; the first one answers the primary question."""
    return tuple(_verdict(stored, role) for role in stored.spec.targets)


def _verdict(stored: StoredSweep, role: str) -> TargetVerdict:
    transfer, mine = stored.spec.transfer, stored.spec.searches
    done, left, planned = stored.progress(role)
    decided, regret, same = None, None, 0
    by_search: tuple[float, ...] = ()
    if not left:  # a verdict before the last seed would be another look
        arms = [_arms(stored, role, group) for group in mine]
        values = list(map(regrets, arms))
        regret, by_search = nested(values, clipped=transfer.rule != 2), tuple(map(fmean, filter(None, values)))
        pairs = [compared(stored, role, "native", "best", group) for group in mine]
        alike = [pair.same for pair in pairs if pair is not None]
        if regret is not None:
            same = sum(map(bool, alike)) if regret.searches > 1 else regret.estimate.n if alike[0] else 0
        level = transfer.level(max(len(stored.looks), 1))
        if transfer.rule > 2:  # as in the advice, all targets share the level
            level /= len(stored.spec.targets)
        if not lacks_untreated(stored, role):
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
        done=done,
        left=left,
        planned=planned,
        looks=stored.looks,
        prepares=stored.spec.kind.features.prepares,
    )


def _arms(stored: StoredSweep, role: str, group: Group) -> dict[str, dict[int, float]]:
    """Return the displayed test scores of each arm of a group, by repeat; the untreated arm is "scratch"."""
    spec = stored.spec
    untreated = spec.counted_from(role)
    arms = {arm: scaled_scores(stored, role, arm, group) for arm in spec.arms(role, group)}
    # Last, to replace another arm of that name.
    return arms | ({"scratch": arms[untreated]} if untreated in arms else {})


@dataclass(frozen=True)
class GroupRegret:
    """The regret on a target for one teacher and one search, over the seeds of that search.

    best, native: the points found on the source and on the target.
    """

    group: str
    teacher: str
    best: Point
    native: Point
    regret: Paired


@dataclass(frozen=True, kw_only=True)
class RepeatRegrets:
    """The regret of every teacher and search on one target.

    over_teachers: the mean over teachers, each averaged over its searches, with its t interval.
    """

    role: str
    dataset: str
    groups: tuple[GroupRegret, ...]
    over_teachers: Estimate | None


def outer(stored: StoredSweep, role: str) -> RepeatRegrets:
    groups: list[GroupRegret] = []
    by_teacher: dict[str, list[float]] = defaultdict(list)
    for group in () if is_incomplete(stored.trainings, role) else stored.spec.groups:
        regret = compared(stored, role, "native", "best", group)
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
