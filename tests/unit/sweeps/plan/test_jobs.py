"""Payloads and outcomes: flat JSON in the database, one type for each kind of task in the code."""

from typing import Any

import pytest

from storage.errors import RecordBroken
from sweeps.distill.presets import preset
from sweeps.hints import explain
from sweeps.plan import jobs
from sweeps.plan.plan import make_plan
from sweeps.spec.model import override
from sweeps.trainers.protocol import Point
from tests.support.points import at
from tests.support.sweeps.task_records import task_record

SEARCH = {"role": "source", "seed": 3, "temperature": 2.5, "alpha": 0.25}
# Of a custom trainer: without T, alpha is a parameter like any other.
NAMED = {"role": "source", "seed": 3, "more": {"alpha": 0.5, "bias": True, "kernel": "rbf"}}
FURTHER = {"role": "target", "seed": 3, "sampler_seed": 9, "group": "t1s0"}
TRANSFER = {"role": "source", "seed": 5, "arm": "best", "repeat": 0}
BASELINE = {"role": "target", "method": "mobilenet", "seed": 6}
CONFIRM = {"role": "target", "seed": 4, "ranks": "native.ranks", "rank": 1, "repeat": 2}

KINDS: list[tuple[str, dict[str, Any], jobs.Payload]] = [
    ("teachers", {"role": "source", "seed": 1}, jobs.TeacherTask(role="source", seed=1)),
    ("search", SEARCH, jobs.SearchTask(role="source", seed=3, sobol=at(2.5, 0.25))),
    ("search", NAMED, jobs.SearchTask(role="source", seed=3, sobol=Point.of(NAMED["more"]))),
    ("native", SEARCH | {"role": "target2"}, jobs.SearchTask(role="target2", seed=3, sobol=at(2.5, 0.25))),
    ("native", FURTHER, jobs.SearchTask(role="target", seed=3, sampler_seed=9, group="t1s0")),
    ("native", CONFIRM, jobs.ConfirmTask(role="target", seed=4, ranks="native.ranks", rank=1, repeat=2)),
    ("confirm", CONFIRM, jobs.ConfirmTask(role="target", seed=4, ranks="native.ranks", rank=1, repeat=2)),
    ("transfer", TRANSFER, jobs.TransferTask(role="source", seed=5, arm="best", repeat=0)),
    ("baselines", BASELINE, jobs.BaselineTask(role="target", method="mobilenet", seed=6)),
    ("measure", {"method": "accuracy"}, jobs.ScoreTask()),
    ("measure", {}, jobs.MeasureTask()),
]


@pytest.mark.parametrize(("stage", "values", "expected"), KINDS)
def test_the_stage_of_a_task_determines_its_kind(stage: str, values: dict[str, Any], expected: jobs.Payload) -> None:
    payload = jobs.read_payload(stage, values)
    assert payload == expected
    assert type(payload) is type(expected)
    assert list(payload.as_json().items()) == list(values.items()), "stored in the same order"


@pytest.mark.parametrize("name", ["tiny", "compare", "full"])
def test_every_payload_of_a_plan_is_read_back_unchanged(name: str) -> None:
    for spec in (preset(name), override(preset(name), {"outer.teachers": 2, "outer.searches": 2})):
        plan = make_plan(spec)
        stages = {phase.name: phase.stage for phase in plan.phases}
        for task in plan.tasks:
            assert jobs.read_payload(stages[task.phase], task.payload).as_json() == task.payload


@pytest.mark.parametrize(
    ("stage", "values", "problem"),
    [
        ("search", {"role": "source", "temperature": 2.5, "alpha": 0.25}, "seed is missing"),
        ("search", {"role": "source", "seed": 3, "temperature": 2.5}, "sobol.alpha is missing"),
        ("search", {"role": "source", "seed": 3}, "either temperature and alpha, or sampler_seed"),
        ("search", SEARCH | {"sampler_seed": 1}, "either temperature and alpha, or sampler_seed"),
        ("search", SEARCH | {"alpha": "much"}, "sobol.alpha is 'much'"),
        ("search", SEARCH | {"more": 7}, "more is 7 (it should be a table of names and numbers)"),
        ("search", SEARCH | {"more": {"learning_rate": [1]}}, "learning_rate is [1]"),
        ("search", SEARCH | {"role": "teacher"}, "role is 'teacher'"),
        ("transfer", {"role": "source", "seed": 5, "arm": "best"}, "repeat is missing"),
        ("measure", {"seed": 1}, "seed is 1"),
        ("measure", {"method": "luck"}, "method is 'luck'"),
        ("teachers", {"role": "source", "seed": 1, "colour": "red"}, "it has an unknown field 'colour'"),
    ],
)
def test_a_damaged_payload_gives_a_one_line_error_with_the_task_and_the_field(
    stage: str, values: dict[str, Any], problem: str
) -> None:
    with pytest.raises(RecordBroken) as error:
        jobs.read_payload(stage, values, key="x#1")
    text = str(error.value)
    assert text.startswith("the stored payload of x#1 was edited: ")
    assert problem in text
    assert "\n" not in text
    assert explain(error.value) == f"{text}; put it back, or create another sweep: kd-sweeps create NAME"


def test_an_unknown_stage_is_refused_with_the_allowed_ones_and_an_unfinished_task_has_no_result() -> None:
    with pytest.raises(RecordBroken, match="got stage 'dreams'; allowed: teachers, search"):
        jobs.read_payload("dreams", {})
    waiting = jobs.read_job(task_record("search#4", state="waiting", payload=PROPOSED))
    assert (waiting.done, waiting.outcome) == (False, None)


TRAINED = {"val_accuracy": 0.9, "parameters": 20_490, "train_s": 2.0, "cpu_s": 1.5}
STUDENT = TRAINED | {"temperature": 4.0, "alpha": 0.25}
PROPOSED = {"role": "source", "seed": 3, "sampler_seed": 1}
AUTOKERAS = TRAINED | {"method": "autokeras", "capped": True, "curve": [[3.0, 0.6]]}


@pytest.mark.parametrize(
    ("stage", "payload", "values", "kind"),
    [
        ("teachers", {"role": "source", "seed": 1}, TRAINED | {"model": "cnn-small"}, jobs.TeacherOutcome),
        ("search", PROPOSED, STUDENT, jobs.StudentOutcome),
        ("transfer", TRANSFER, TRAINED | {"more": {"alpha": 0.5, "bias": True, "kernel": "rbf"}}, jobs.StudentOutcome),
        ("transfer", TRANSFER, STUDENT | {"test_accuracy": 0.8, "arm": "best"}, jobs.StudentOutcome),
        ("baselines", BASELINE | {"method": "autokeras"}, AUTOKERAS, jobs.BaselineOutcome),
        ("measure", {}, {"models": {"teachers#source": {"latency_ms_p50": 0.4, "bytes": 100}}}, jobs.MeasureOutcome),
        (
            "measure",
            {"method": "accuracy"},
            {"models": {"x#1": {"digest": "0a", "test_accuracy": 0.5}}},
            jobs.ScoreOutcome,
        ),
    ],
)
def test_the_payload_determines_the_kind_of_outcome_and_only_given_values_are_stored(
    stage: str, payload: dict[str, Any], values: dict[str, Any], kind: type
) -> None:
    outcome = jobs.read_outcome(jobs.read_payload(stage, payload), values)
    assert type(outcome) is kind
    assert outcome.as_json() == values


def test_a_done_task_has_a_score_and_a_point() -> None:
    task = jobs.read_job(task_record("search#4", 4, payload=PROPOSED, outcome=STUDENT | {"trial": {}}, score=0.9))
    assert task.done
    assert task.score == 0.9
    assert isinstance(task.outcome, jobs.StudentOutcome)
    assert task.outcome.point == at(4.0, 0.25)
    assert task.outcome.test_accuracy is None


def test_read_finished_returns_the_done_tasks_of_one_kind() -> None:
    records = [
        task_record("search#0", 0, payload=PROPOSED, state="running"),
        task_record("search#1", 1, payload=PROPOSED, outcome=STUDENT, score=0.9),
        task_record("transfer#source.best.0", 2, stage="transfer", payload=TRANSFER, outcome=STUDENT, score=0.8),
    ]
    assert [task.key for task in jobs.read_finished(records, jobs.SearchTask, jobs.StudentOutcome)] == ["search#1"]
    assert [task.work.arm for task in jobs.read_finished(records, jobs.TransferTask, jobs.StudentOutcome)] == ["best"]
    assert jobs.read_finished(records, jobs.ConfirmTask, jobs.StudentOutcome) == []


@pytest.mark.parametrize(
    ("outcome", "score", "problem"),
    [
        (None, 0.9, "it is missing"),
        ({}, 0.9, "val_accuracy is missing"),
        (STUDENT | {"alpha": "much"}, 0.9, "alpha is 'much'"),
        (STUDENT, None, "its score is missing"),
    ],
)
def test_a_damaged_outcome_gives_a_one_line_error_with_the_task_and_the_field(
    outcome: dict[str, Any] | None, score: float | None, problem: str
) -> None:
    with pytest.raises(RecordBroken) as error:
        jobs.read_job(task_record("search#4", payload=PROPOSED, outcome=outcome, score=score))
    text = str(error.value)
    assert text.startswith("the stored outcome of search#4 was edited: ")
    assert problem in text
    assert "\n" not in text
