"""When two arms share a training: the same point, loss and seed. Their difference is then no evidence."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from sweeps.findings.load import Training, compared
from sweeps.plan.jobs import Job, StudentOutcome, TransferTask
from sweeps.plan.phases import transfer_key
from sweeps.spec.model import Spec, override
from sweeps.stats.estimates import Paired
from tests.support.sweeps.presets import before
from tests.support.sweeps.task_records import task_record

TINY = before("tiny")


@dataclass(frozen=True)
class Compared:
    spec: Spec
    trainings: Sequence[Training]


def trained(arm: str, repeat: int, *, seed: int | None = None, tested: float = 0.5, **changes: object) -> Training:
    """Return a finished training on the target."""
    values = {"temperature": 4.0, "alpha": 0.3, "loss": "kd", "test_accuracy": tested} | changes
    outcome = StudentOutcome.model_validate({"val_accuracy": 0.5, "parameters": 1, "train_s": 1, "cpu_s": 1} | values)
    work = TransferTask(role="target", arm=arm, repeat=repeat, seed=100 + repeat if seed is None else seed)
    return Job(task_record(transfer_key("target", arm, repeat), stage="transfer", score=0.5), work, outcome)


def of(*others: Training) -> Paired:
    """Return how much better best is than the others, on two seeds."""
    arm = others[0].work.arm
    difference = compared(Compared(TINY, [trained("best", 0), trained("best", 1), *others]), "target", "best", arm)
    assert difference is not None
    return difference


def test_an_arm_at_the_same_point_with_the_same_seeds_is_the_same_training_with_any_result() -> None:
    assert of(trained("native", 0), trained("native", 1)) == Paired(0.0, 0.0, 0.0, 2, same=2)
    assert of(trained("native", 0, tested=0.51), trained("native", 1)).same == 2, "another processor rounds differently"


@pytest.mark.parametrize(
    "changes", [{"temperature": 4.1}, {"alpha": 0.31}, {"more": {"learning_rate": 0.1}}, {"seed": 7}]
)
def test_another_point_or_seed_is_another_training_even_with_an_equal_result(changes: dict[str, object]) -> None:
    difference = of(trained("native", 0, **changes), trained("native", 1))  # type: ignore[arg-type]  # seed is an int
    assert (difference.mean, difference.n, difference.same) == (0.0, 2, 1)


def test_an_arm_with_the_loss_kd_is_another_training_in_a_sweep_of_another_loss() -> None:
    trainings = [trained("best", 0), trained("default-keras", 0)]
    for loss, same in (("kd", 1), ("dkd", 0)):
        spec = override(TINY, {"training.distillation": loss})
        difference = compared(Compared(spec, trainings), "target", "best", "default-keras")
        assert difference is not None
        assert difference.same == same


@pytest.mark.parametrize("arm", ["class-mean", "shuffled-within-class", "autokeras"])
def test_an_arm_taught_differently_at_that_point_is_another_training(arm: str) -> None:
    assert of(trained(arm, 0), trained(arm, 1)).same == 0


def test_an_unfinished_training_does_not_count() -> None:
    training = trained("native", 1)
    waiting = replace(training, row=replace(training.row, state="waiting", score=None), outcome=None)
    assert (of(trained("native", 0), waiting).n, of(trained("native", 0), waiting).same) == (1, 1)
    assert compared(Compared(TINY, [trained("best", 0)]), "target", "best", "native") is None
