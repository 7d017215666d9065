"""The trainings of transfer: what every comparison of arms is made of."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from storage.tables import TASK_AWAITED
from sweeps.analysis.units import percent
from sweeps.plan.outcomes import StudentOutcome
from sweeps.spec.arms import AUTOKERAS_ARM, CONTROLS
from sweeps.stats.estimates import Paired, paired

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


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One training of a search, or of what confirms it, planned or finished.

    stage: "search" or "confirm". repeat: of a confirm, None in a search, whose trials have one seed. The others: as of
    a Training.
    """

    stage: str
    role: str
    dataset: str
    group: str
    repeat: int | None
    seed: int
    state: str
    error_class: str | None
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


def compared(trainings: Iterable[Training], role: str, first: str, second: str, group: str = "") -> Paired | None:
    """Return first - second in points, paired by repeat; None without a repeat that both have."""
    mine = [one for one in trainings if (one.role, one.group) == (role, group)]
    found = paired(accuracies(mine, role, first, group), accuracies(mine, role, second, group))
    identities = [set(filter(None, map(identity, of_arm(mine, role, arm, group)))) for arm in (first, second)]
    return None if found is None else Paired.of(found, len(set.intersection(*identities)))


def identity(one: Training) -> tuple[Hashable, ...] | None:
    """Return what two arms have in common if they share a training: seed, point and loss; None where nothing is known.

    The result of such a training is the same to the last bit, on one kind of processor.
    """
    if one.outcome is None or one.arm in (*CONTROLS, AUTOKERAS_ARM):  # these teach otherwise, or another network
        return None
    return one.seed, one.outcome.point, one.outcome.loss


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
