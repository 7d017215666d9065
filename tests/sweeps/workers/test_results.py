"""The outcome of a training: everything is stored, a few values are columns of the dashboard."""

from kd.config import BaselineResult, TrainResult
from sweeps.distill.session import outcome_of, training_of
from sweeps.plan.jobs import BaselineOutcome, BaselineTask, ConfirmTask, StudentOutcome, TransferTask

RESULT = TrainResult(
    val_accuracy=0.9, epoch_val_accuracy=(0.7, 0.9), parameters=10, train_images=64, train_s=2.0, cpu_s=1.5, seed=3
)
FITTED = BaselineResult(
    val_accuracy=0.8,
    parameters=20,
    train_images=64,
    train_s=4.0,
    cpu_s=3.0,
    seed=5,
    model=b"",
    detail="frozen features",
    capped=False,
)


def test_only_what_was_measured_is_a_column_that_comes_with_the_result() -> None:
    task = TransferTask(role="source", seed=3, arm="best", repeat=2)
    values = StudentOutcome(
        **training_of(RESULT), temperature=4.0, alpha=0.5, dataset="digits", test_accuracy=0.85, detail="keras-student"
    )
    params = {"temperature": 4.0, "alpha": 0.5, "arm": "best", "dataset": "digits"}
    outcome = outcome_of(task, params, values)
    assert outcome.attrs == {
        "test_accuracy": 0.85,
        "parameters": 10,
        "train_s": 2.0,
    }
    assert (outcome.score, outcome.epoch_values) == (0.9, (0.7, 0.9))


def test_what_was_not_given_is_neither_shown_nor_stored() -> None:
    task = ConfirmTask(role="source", seed=3, ranks="search.ranks", rank=1, repeat=0)
    outcome = outcome_of(task, {}, StudentOutcome(**training_of(RESULT), temperature=4.0, alpha=0.5))
    assert outcome.attrs == {"parameters": 10, "train_s": 2.0}
    stored = outcome.values.as_json()
    assert "test_accuracy" not in stored
    assert stored["epoch_val_accuracy"] == [0.7, 0.9]


def test_a_baseline_has_no_epochs() -> None:
    task = BaselineTask(role="target", seed=5, method="mobilenet")
    outcome = outcome_of(task, {"method": "mobilenet"}, BaselineOutcome(**training_of(FITTED), detail=FITTED.detail))
    assert outcome.epoch_values == ()
    assert "epoch_val_accuracy" not in outcome.values.as_json()
    assert outcome.attrs["detail"] == "frozen features"
