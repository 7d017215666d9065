"""The progress of a sweep: by the expected seconds of its tasks, then by their measured seconds."""

import csv
from dataclasses import replace
from itertools import pairwise

import pytest

from storage.tables import TaskRecord
from sweeps.distill.presets import MINUTES, PRESETS, preset
from sweeps.plan.plan import expected_core_seconds, expected_seconds, make_plan
from sweeps.query.status import eta
from sweeps.spec.model import Spec, override
from tests.support.custom import specs
from tests.support.old_storages import DATA
from tests.support.sweeps.task_records import task_record

TINY = preset("tiny")


def _tasks(spec: Spec = TINY) -> list[TaskRecord]:
    """Return every task of a sweep, waiting."""
    plan = make_plan(spec)
    stages = {phase.name: phase.stage for phase in plan.phases}
    return [
        task_record(
            task.key, number, stage=stages[task.phase], phase=task.phase, state="waiting", payload=dict(task.payload)
        )
        for number, task in enumerate(plan.tasks)
    ]


def test_if_the_trainer_does_not_say_how_long_a_run_takes_nothing_is_guessed_before_one_has_ended() -> None:
    spec = specs.spec({"train": "train.py:train"})
    tasks = _tasks(spec)
    assert (eta(spec, tasks, 1).fraction, eta(spec, tasks, 1).seconds_left) == (0.0, None)
    begun = [replace(tasks[0], state="running"), *tasks[1:]]
    assert eta(spec, begun, 1).seconds_left is None
    first = replace(tasks[0], state="done", started_at=100.0, finished_at=160.0)
    assert eta(spec, [first, *tasks[1:]], 1).seconds_left == pytest.approx(60 * len(tasks[1:]))
    assert eta(spec, [first, *tasks[1:]], 2).seconds_left == pytest.approx(30 * len(tasks[1:]))


def _done(tasks: list[TaskRecord], *, slower: float = 1.0, stages: tuple[str, ...]) -> list[TaskRecord]:
    """Finish the tasks of some stages, each in a multiple of its expected seconds."""
    return [
        replace(
            task,
            state="done",
            started_at=0.0,
            finished_at=slower * expected_seconds(TINY, task.stage, task.payload.get("role")),
        )
        if task.stage in stages
        else task
        for task in tasks
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_the_expected_time_of_a_spec_is_the_sum_over_its_plan(name: str) -> None:
    spec = preset(name)
    each = [expected_seconds(spec, task.stage, task.payload.get("role")) for task in _tasks(spec)]
    assert expected_core_seconds(spec) == pytest.approx(sum(each))
    if name in MINUTES:
        assert sum(each) == pytest.approx(2 * 60 * MINUTES[name]), "as measured, on two cores"


def test_more_images_and_more_epochs_take_longer() -> None:
    assert expected_core_seconds(override(TINY, {"source.epochs": 40})) > 2 * expected_core_seconds(TINY)
    assert expected_core_seconds(override(TINY, {"seed": 1})) == expected_core_seconds(TINY)


def test_before_anything_has_finished_the_time_left_is_that_of_the_spec() -> None:
    whole = expected_core_seconds(TINY)
    assert eta(TINY, _tasks(), 1).seconds_left == pytest.approx(whole)
    assert eta(TINY, _tasks(), 2).seconds_left == pytest.approx(whole / 2)
    assert eta(TINY, _tasks(), 0).seconds_left is None
    assert eta(TINY, _tasks(), 1).fraction == 0


def test_a_stage_counts_by_its_seconds_not_by_its_tasks() -> None:
    estimate = eta(TINY, _done(_tasks(), stages=("teachers", "baselines")), 1)
    assert estimate.fraction > 0.3, "three of 78 tasks, but long ones"
    assert estimate.shares["teachers"] + estimate.shares["baselines"] == pytest.approx(estimate.fraction)
    assert sum(estimate.shares.values()) == pytest.approx(1)


def _slowness(tasks: list[TaskRecord]) -> float:
    """Return the factor by which the remaining tasks are expected to exceed the spec."""
    left = [task for task in tasks if task.state == "waiting"]
    return (eta(TINY, tasks, 1).seconds_left or 0.0) / sum(
        expected_seconds(TINY, task.stage, task.payload.get("role")) for task in left
    )


def test_measured_times_count_more_with_more_finished_tasks() -> None:
    stages = ("search", "native", "confirm")
    few, many = (_slowness(_done(_tasks(), slower=3.0, stages=stages[:number])) for number in (1, 3))
    assert 1.2 < few < many < 3.0, "measured times outweigh the spec more and more"
    teachers = _slowness(_done(_done(_tasks(), slower=3.0, stages=stages), stages=("teachers", "baselines")))
    assert 1.5 < teachers < many, "times of another kind of task count less for students"


def _recorded(name: str) -> list[TaskRecord]:
    with (DATA / "progress" / f"{name}.csv").open(encoding="utf-8") as file:
        return [
            replace(
                task_record(f"task#{number}", number, stage=row["stage"], payload={"role": row["role"] or None}),
                started_at=float(row["started"]),
                finished_at=float(row["finished"]),
            )
            for number, row in enumerate(csv.DictReader(file))
        ]


def _at(tasks: list[TaskRecord], second: float) -> list[TaskRecord]:
    """Return the tasks as they were at that second."""
    states = [
        "done" if (task.finished_at or 0) <= second else "running" if (task.started_at or 0) <= second else "waiting"
        for task in tasks
    ]
    return [replace(task, state=state) for task, state in zip(tasks, states, strict=True)]


@pytest.mark.parametrize("name", ["shared", "halted"])
def test_in_recorded_sweeps_the_fraction_never_falls_and_the_time_left_does_not_jump(name: str) -> None:
    tasks, quick = _recorded(name), preset("quick")
    end = max(task.finished_at or 0.0 for task in tasks)
    looks = [eta(quick, _at(tasks, end * percent / 100), 2) for percent in range(100)]
    assert all(before.fraction <= after.fraction for before, after in pairwise(looks))
    left = [look.seconds_left or 0.0 for look in looks]
    assert max(after - before for before, after in pairwise(left)) < end / 2
    assert max(after - before for before, after in pairwise(left[30:])) < end / 5
    assert (eta(quick, tasks, 2).fraction, eta(quick, tasks, 2).seconds_left) == (1.0, 0.0)


def test_the_last_task_is_not_divided_among_workers() -> None:
    others = [task for task in _tasks() if task.key != "measure#accuracy"]
    tasks = _done(others, stages=("teachers", "search", "confirm", "native", "transfer", "baselines"))
    by_one, by_eight = (eta(TINY, tasks, workers).seconds_left for workers in (1, 8))
    assert by_one == by_eight == pytest.approx(expected_seconds(TINY, "measure", None))


def test_the_fraction_is_1_only_once_every_task_has_ended() -> None:
    ended = [replace(task, state="failed" if number % 2 else "done") for number, task in enumerate(_tasks())]
    for number, task in enumerate(ended):
        for state in ("waiting", "running"):
            left = [*ended[:number], replace(task, state=state), *ended[number + 1 :]]
            assert eta(TINY, left, 1).fraction < 1
    assert eta(TINY, ended, 1).fraction == 1


def test_failed_and_skipped_tasks_take_no_more_time() -> None:
    ended = [replace(task, state="failed" if task.stage == "teachers" else "skipped") for task in _tasks()]
    estimate = eta(TINY, ended, 0)
    assert (estimate.fraction, estimate.seconds_left) == (1.0, 0.0)
