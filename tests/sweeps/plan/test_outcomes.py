"""Outcomes: what is stored of a result, and a type in which the result exists."""

from typing import Any

import pytest

from storage.errors import RecordBroken
from sweeps.plan.jobs import (
    BaselineOutcome,
    ConfirmTask,
    MeasureOutcome,
    SearchTask,
    StudentOutcome,
    TeacherOutcome,
    TransferTask,
    done_task,
    done_tasks,
    read_outcome,
    read_payload,
)
from sweeps.trainers.protocol import Point
from tests.support.sweeps.task_records import task_record

TRAINED = {"val_accuracy": 0.9, "parameters": 20_490, "train_s": 2.0, "cpu_s": 1.5}
STUDENT = TRAINED | {"temperature": 4.0, "alpha": 0.25}
SEARCH = {"role": "source", "seed": 3, "sampler_seed": 1}
TRANSFER = {"role": "source", "seed": 5, "arm": "best", "repeat": 0}


@pytest.mark.parametrize(
    ("stage", "payload", "values", "kind"),
    [
        ("teachers", {"role": "source", "seed": 1}, TRAINED | {"model": "cnn-small"}, TeacherOutcome),
        ("search", SEARCH, STUDENT, StudentOutcome),
        ("transfer", TRANSFER, STUDENT | {"test_accuracy": 0.8, "arm": "best"}, StudentOutcome),
        (
            "baselines",
            {"role": "target", "method": "autokeras", "seed": 6},
            TRAINED | {"method": "autokeras", "capped": True, "curve": [[3.0, 0.6]]},
            BaselineOutcome,
        ),
        ("measure", {}, {"models": {"teachers#source": {"latency_ms_p50": 0.4, "bytes": 100}}}, MeasureOutcome),
    ],
)
def test_the_payload_tells_the_kind_and_only_what_was_given_is_stored(
    stage: str, payload: dict[str, Any], values: dict[str, Any], kind: type
) -> None:
    found = read_outcome(read_payload(stage, payload), values)
    assert type(found) is kind
    assert found.as_json() == values


def test_a_done_task_has_a_score_and_a_point() -> None:
    task = done_task(task_record("search#4", 4, payload=SEARCH, outcome=STUDENT | {"trial": {}}, score=0.9))
    assert task.score == 0.9
    assert isinstance(task.outcome, StudentOutcome)
    assert task.outcome.point == Point(4.0, 0.25)
    assert task.outcome.test_accuracy is None


def test_done_tasks_are_those_of_one_kind_that_are_done() -> None:
    records = [
        task_record("search#0", 0, payload=SEARCH, state="running"),
        task_record("search#1", 1, payload=SEARCH, outcome=STUDENT, score=0.9),
        task_record("transfer#source.best.0", 2, stage="transfer", payload=TRANSFER, outcome=STUDENT, score=0.8),
    ]
    assert [task.record.key for task in done_tasks(records, SearchTask, StudentOutcome)] == ["search#1"]
    assert [task.payload.arm for task in done_tasks(records, TransferTask, StudentOutcome)] == ["best"]
    assert done_tasks(records, ConfirmTask, StudentOutcome) == []


@pytest.mark.parametrize(
    ("outcome", "score", "problem"),
    [
        (None, 0.9, "it is missing"),
        ({}, 0.9, "val_accuracy is missing"),
        (STUDENT | {"alpha": "much"}, 0.9, "alpha is 'much'"),
        (STUDENT, None, "its score is missing"),
    ],
)
def test_a_damaged_outcome_is_one_line_that_names_the_task_and_the_field(
    outcome: dict[str, Any] | None, score: float | None, problem: str
) -> None:
    with pytest.raises(RecordBroken) as caught:
        done_task(task_record("search#4", payload=SEARCH, outcome=outcome, score=score))
    text = str(caught.value)
    assert text.startswith("the stored outcome of search#4 was edited: ")
    assert problem in text
    assert "\n" not in text


def test_a_task_that_is_not_done_has_no_result() -> None:
    with pytest.raises(ValueError, match="search#4 is waiting, not done"):
        done_task(task_record("search#4", state="waiting", payload=SEARCH))
