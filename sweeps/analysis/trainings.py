"""The trainings of transfer: what every comparison of arms is made of."""

from collections.abc import Iterable
from dataclasses import dataclass

from storage.db.schema import TASK_AWAITED
from sweeps.analysis.units import percent
from sweeps.plan.outcomes import StudentOutcome

DIVERGED = "nan"  # the error class of a training whose loss was no longer finite


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training of transfer, planned or finished.

    group: the teacher and search of an outer level, "" is the first. state: as in the storage, such as "done".
    reason, error_class: why it failed or was skipped. score: what it is ranked by, a fraction in [0, 1]; score and
    outcome are None where it has not finished.
    """

    role: str
    dataset: str
    arm: str
    group: str
    repeat: int
    seed: int
    state: str
    reason: str | None
    error_class: str | None
    score: float | None
    outcome: StudentOutcome | None


def of_arm(trainings: Iterable[Training], role: str, arm: str, group: str = "") -> list[Training]:
    """Return the trainings of an arm on the dataset of a role, by repeat."""
    return [one for one in trainings if (one.role, one.arm, one.group) == (role, arm, group)]


def on_test(trainings: Iterable[Training], role: str, arm: str, group: str = "") -> dict[int, float]:
    """Return the test accuracy of an arm, a fraction, by repeat.

    A training that diverged counts as 0: it gave no model. Left out, it would make its arm look better than it is.
    """
    found = {}
    for one in of_arm(trainings, role, arm, group):
        if one.state == "failed" and one.error_class == DIVERGED:
            found[one.repeat] = 0.0
        elif one.outcome is not None and one.outcome.test_accuracy is not None:
            found[one.repeat] = one.outcome.test_accuracy
    return found


def accuracies(trainings: Iterable[Training], role: str, arm: str, group: str = "") -> dict[int, float]:
    """Return the same in percent: what the paired differences are made of."""
    return {repeat: percent(value) for repeat, value in on_test(trainings, role, arm, group).items()}


def awaited(trainings: Iterable[Training], role: str) -> bool:
    """Return whether a look at the test of a role has begun or is to come, and is not complete.

    Until then nothing that the test says is shown: who sees half of a look may stop where he likes it. A cancelled
    training may still come.
    """
    return any(one.state in TASK_AWAITED for one in trainings if one.role == role)


def left(trainings: Iterable[Training], role: str) -> int:
    """Return how many trainings of a role may still come: those that wait, run, or were cancelled."""
    return sum(one.state in TASK_AWAITED for one in trainings if one.role == role)


def validations(trainings: Iterable[Training], role: str, arm: str) -> list[float]:
    """Return the validation accuracy in percent of the finished trainings of an arm, by repeat."""
    return [percent(one.score) for one in of_arm(trainings, role, arm) if one.score is not None]
