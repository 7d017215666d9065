"""The answer for each target: the regret and the verdict, or how far its trainings have come."""

from dataclasses import dataclass
from statistics import fmean

from storage.tables import TASK_AWAITED
from sweeps.analysis.looks import Look
from sweeps.analysis.stored import StoredSweep
from sweeps.analysis.trainings import accuracies, compared
from sweeps.plan.names import searches
from sweeps.stats.estimates import Paired, differences
from sweeps.stats.nested import Nested, nested
from sweeps.stats.verdict import Verdict, decide


@dataclass(frozen=True, kw_only=True)
class TargetVerdict:
    """The answer for one target.

    regret: native - best, in points, over searches and seeds of the first teacher; None while trainings are missing.
    same: of how many of those searches, or seeds, native and best are one training. by_search: the mean of each of
    those searches, the first one first. verdict: decided over searches where there are enough of them, else over seeds;
    None while trainings are missing. `done` of `planned` are there, `left` may still come: those that wait, run, or
    were cancelled. looks: those begun so far.
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
        """The same, of several."""
        return "searches" if self.unit == "search" else "seeds"


def verdicts(stored: StoredSweep) -> tuple[TargetVerdict, ...]:
    """Return one for each target; that of the first one is the answer to the primary question."""
    return tuple(_verdict(stored, role) for role in stored.spec.targets)


def _verdict(stored: StoredSweep, role: str) -> TargetVerdict:
    transfer = stored.spec.transfer
    mine = searches(stored.spec)
    states = [one.state for one in stored.trainings if one.role == role and one.group in mine]
    left = sum(state in TASK_AWAITED for state in states)
    decided, regret, same = None, None, 0
    by_search: tuple[float, ...] = ()
    if not left:  # a verdict before the last seed is in would be one more look
        arms = [_arms(stored, role, group) for group in mine]
        regrets = [differences(one.get("native", {}), one.get("best", {})) for one in arms]
        regret, by_search = nested(regrets, clipped=transfer.rule == 1), tuple(map(fmean, filter(None, regrets)))
        pairs = [compared(stored.trainings, role, "native", "best", group) for group in mine]
        alike = [one.same for one in pairs if one is not None]
        if regret is not None:
            same = sum(map(bool, alike)) if regret.searches > 1 else regret.estimate.n if alike[0] else 0
        level = transfer.level(max(len(stored.looks), 1))
        decided = decide(arms, margin=transfer.margin, level=level, rule=transfer.rule)
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
    )


def _arms(stored: StoredSweep, role: str, group: str) -> dict[str, dict[int, float]]:
    """Return the test accuracy in percent of each arm of a group, by repeat."""
    arms = stored.spec.arms(role, group)
    return {arm: accuracies(stored.trainings, role, arm, group) for arm in arms}
