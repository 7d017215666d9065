"""The long CSV: a column for each further parameter, and a line for each training."""

import csv
from dataclasses import replace

from sweeps.query.listing import TrialRow
from sweeps.report.compare import long_csv
from tests.support.sweeps.small_sweeps import SMALL

ROW = TrialRow(
    task="search#0",
    stage="search",
    state="done",
    attempt=1,
    trial=0,
    dataset="digits",
    arm=None,
    temperature=4.0,
    alpha=0.5,
    more={"learning_rate": 0.004},
    score=0.75,
    test_accuracy=None,
    seed=7,
    train_s=1.5,
    cpu_s=1.25,
    worker="w",
    reason=None,
)


def test_further_parameters_have_a_column_each_between_alpha_and_the_accuracies() -> None:
    other = replace(ROW, task="native.confirm@t1s0#1.2", stage="native", dataset="digits-rgb", more={"epochs": 3})
    rows = list(csv.reader(long_csv([("a", SMALL, [ROW]), ("b", SMALL, [other])]).splitlines()))
    assert rows[0][8:] == [
        *("temperature", "alpha", "learning_rate", "epochs", "val_accuracy", "test_accuracy", "train_s", "cpu_s")
    ]
    assert rows[1] == [
        *("a", "search#0", "digits", "source", "search", "", "", "7"),
        *("4.0", "0.5", "0.004", "", "0.75", "", "1.5", "1.25"),
    ]
    assert rows[2][:8] == ["b", "native.confirm@t1s0#1.2", "digits-rgb", "target", "native", "", "2", "7"]
    assert rows[2][10:12] == ["", "3"]


def test_unfinished_tasks_and_tasks_without_training_have_no_line() -> None:
    left_out = [replace(ROW, state=state) for state in ("waiting", "running", "failed", "skipped", "cancelled")]
    left_out.append(replace(ROW, task="measure#0", stage="measure", dataset=None, seed=None))
    assert len(long_csv([("a", SMALL, left_out)]).splitlines()) == 1
