"""Payloads: flat JSON in the database, one type for each kind of task here."""

from typing import Any

import pytest

from storage.errors import RecordBroken
from sweeps.distill.presets import preset
from sweeps.hints import explain
from sweeps.plan.jobs import (
    BaselineTask,
    ConfirmTask,
    MeasureTask,
    Payload,
    SearchTask,
    TeacherTask,
    TransferTask,
    read_payload,
)
from sweeps.plan.plan import make_plan
from sweeps.spec.model import override
from sweeps.trainers.protocol import Point

SEARCH = {"role": "source", "seed": 3, "temperature": 2.5, "alpha": 0.25}
CONFIRM = {"role": "target", "seed": 4, "ranks": "native.ranks", "rank": 1, "repeat": 2}

KINDS: list[tuple[str, dict[str, Any], Payload]] = [
    ("teachers", {"role": "source", "seed": 1}, TeacherTask(role="source", seed=1)),
    ("search", SEARCH, SearchTask(role="source", seed=3, sobol=Point(2.5, 0.25))),
    ("native", SEARCH | {"role": "target2"}, SearchTask(role="target2", seed=3, sobol=Point(2.5, 0.25))),
    (
        "native",
        {"role": "target", "seed": 3, "sampler_seed": 9, "group": "t1s0"},
        SearchTask(role="target", seed=3, sampler_seed=9, group="t1s0"),
    ),
    ("native", CONFIRM, ConfirmTask(role="target", seed=4, ranks="native.ranks", rank=1, repeat=2)),
    ("confirm", CONFIRM, ConfirmTask(role="target", seed=4, ranks="native.ranks", rank=1, repeat=2)),
    (
        "transfer",
        {"role": "source", "seed": 5, "arm": "best", "repeat": 0, "group": "t0s1"},
        TransferTask(role="source", seed=5, arm="best", repeat=0, group="t0s1"),
    ),
    (
        "baselines",
        {"role": "target", "method": "mobilenet", "seed": 6},
        BaselineTask(role="target", method="mobilenet", seed=6),
    ),
    ("measure", {}, MeasureTask()),
]


@pytest.mark.parametrize(("stage", "values", "expected"), KINDS)
def test_the_stage_of_a_task_tells_its_kind(stage: str, values: dict[str, Any], expected: Payload) -> None:
    found = read_payload(stage, values)
    assert found == expected
    assert type(found) is type(expected)
    assert list(found.as_json().items()) == list(values.items()), "as it is stored, in the same order"


@pytest.mark.parametrize("name", ["tiny", "compare", "full"])
def test_every_payload_of_a_plan_is_read_as_it_was_written(name: str) -> None:
    for spec in (preset(name), override(preset(name), {"outer.teachers": 2, "outer.searches": 2})):
        plan = make_plan(spec)
        stages = {phase.name: phase.stage for phase in plan.phases}
        for task in plan.tasks:
            assert read_payload(stages[task.phase], task.payload).as_json() == task.payload


@pytest.mark.parametrize(
    ("stage", "values", "problem"),
    [
        ("search", {"role": "source", "temperature": 2.5, "alpha": 0.25}, "seed is missing"),
        ("search", {"role": "source", "seed": 3, "temperature": 2.5}, "sobol.alpha is missing"),
        ("search", {"role": "source", "seed": 3}, "either temperature and alpha, or sampler_seed"),
        ("search", SEARCH | {"sampler_seed": 1}, "either temperature and alpha, or sampler_seed"),
        ("search", SEARCH | {"alpha": "much"}, "sobol.alpha is 'much'"),
        ("search", SEARCH | {"more": 7}, "more is 7 (it should be a table of names and numbers)"),
        ("search", SEARCH | {"more": {"learning_rate": "fast"}}, "'fast'"),
        ("search", SEARCH | {"role": "teacher"}, "role is 'teacher'"),
        ("transfer", {"role": "source", "seed": 5, "arm": "best"}, "repeat is missing"),
        ("measure", {"seed": 1}, "seed is 1"),
        ("teachers", {"role": "source", "seed": 1, "colour": "red"}, "it has an unknown field 'colour'"),
    ],
)
def test_a_damaged_payload_is_one_line_that_names_the_task_and_the_field(
    stage: str, values: dict[str, Any], problem: str
) -> None:
    with pytest.raises(RecordBroken) as caught:
        read_payload(stage, values, key="x#1")
    text = str(caught.value)
    assert text.startswith("the stored payload of x#1 was edited: ")
    assert problem in text
    assert "\n" not in text
    assert explain(caught.value) == f"{text}; put it back, or make another sweep: kd-sweeps create NAME"


def test_an_unknown_stage_is_refused_with_those_there_are() -> None:
    with pytest.raises(RecordBroken, match="got stage 'dreams'; allowed: teachers, search"):
        read_payload("dreams", {})
