"""The controls: whether something else than the teacher's logits explains the gain of best."""

from dataclasses import dataclass

from sweeps.analysis.stored import StoredSweep
from sweeps.analysis.trainings import accuracies, awaited
from sweeps.stats.estimates import Estimate, paired
from sweeps.stats.verdict import KEPT


@dataclass(frozen=True, kw_only=True)
class Control:
    """One control on one dataset, test accuracy points.

    gain: control - no teacher. beyond: best - control. best: best - no teacher, which is to be explained. No teacher is
    `Spec.without_teacher`: scratch, or scratch-tuned.
    """

    arm: str
    role: str
    dataset: str
    gain: Estimate
    beyond: Estimate
    best: Estimate

    @property
    def explains(self) -> bool:
        """Whether at least half of best's gain is the control's, too: proven, not merely not refuted.

        Best gains over no teacher, the control gains, and what best is beyond it is below half of best's gain, with the
        upper bound of its 95 % interval.
        """
        small = self.beyond.high is not None and self.beyond.high < KEPT * self.best.mean
        return _above_zero(self.best) and _above_zero(self.gain) and small


def controls(stored: StoredSweep) -> tuple[Control, ...]:
    """Return the controls that ran, on every dataset; nothing where no teacher or best is missing."""
    found = []
    for role in stored.spec.roles:
        if awaited(stored.trainings, role):
            continue
        arms = "best", stored.spec.without_teacher(role)
        best, scratch = (accuracies(stored.trainings, role, arm) for arm in arms)
        for arm in stored.spec.transfer.controls(role):
            ran = accuracies(stored.trainings, role, arm)
            gain, beyond, whole = paired(ran, scratch), paired(best, ran), paired(best, scratch)
            if gain is not None and beyond is not None and whole is not None:
                dataset = stored.spec.role(role).dataset
                found.append(Control(arm=arm, role=role, dataset=dataset, gain=gain, beyond=beyond, best=whole))
    return tuple(found)


def _above_zero(value: Estimate) -> bool:
    return value.low is not None and value.low > 0
