"""The controls: whether something else than the teacher's logits explains the gain of best."""

from dataclasses import dataclass

from sweeps.analysis.stored import StoredSweep
from sweeps.analysis.trainings import accuracies
from sweeps.stats.estimates import Estimate, paired


@dataclass(frozen=True, kw_only=True)
class Control:
    """One control on one dataset, test accuracy points.

    gain: control - scratch. beyond: best - control. best: best - scratch, which is to be explained.
    """

    arm: str
    role: str
    dataset: str
    gain: Estimate
    beyond: Estimate
    best: Estimate

    @property
    def explains(self) -> bool:
        """Whether best gains, the control gains as well, and best cannot be told from it: the gain is the control's."""
        return _above_zero(self.best) and _above_zero(self.gain) and not _above_zero(self.beyond)


def controls(stored: StoredSweep) -> tuple[Control, ...]:
    """Return the controls that ran, on every dataset; nothing where scratch or best is missing."""
    found = []
    for role in stored.spec.roles:
        best, scratch = (accuracies(stored.trainings, role, arm) for arm in ("best", "scratch"))
        for arm in stored.spec.transfer.controls(role):
            ran = accuracies(stored.trainings, role, arm)
            gain, beyond, whole = paired(ran, scratch), paired(best, ran), paired(best, scratch)
            if gain is not None and beyond is not None and whole is not None:
                dataset = stored.spec.role(role).dataset
                found.append(Control(arm=arm, role=role, dataset=dataset, gain=gain, beyond=beyond, best=whole))
    return tuple(found)


def _above_zero(value: Estimate) -> bool:
    return value.low is not None and value.low > 0
