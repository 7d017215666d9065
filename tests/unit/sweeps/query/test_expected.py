"""How far a sweep is: by the expected seconds of its tasks, then by what its tasks really took."""

from dataclasses import replace

import pytest

from storage.tables import TaskRecord
from sweeps.distill.presets import MINUTES, PRESETS, preset
from sweeps.plan.plan import expected_core_seconds, expected_seconds, make_plan
from sweeps.query.status import eta
from sweeps.spec.model import Spec, override
from tests.support.sweeps.task_records import task_record

TINY = preset("tiny")


def _tasks(spec: Spec = TINY) -> list[TaskRecord]:
    """Every task of a sweep, waiting."""
    plan = make_plan(spec)
    stages = {phase.name: phase.stage for phase in plan.phases}
    return [
        task_record(
            task.key, number, stage=stages[task.phase], phase=task.phase, state="waiting", payload=dict(task.payload)
        )
        for number, task in enumerate(plan.tasks)
    ]


def _done(tasks: list[TaskRecord], *, slower: float = 1.0, stages: tuple[str, ...]) -> list[TaskRecord]:
    """The tasks, those of some stages done in so many times the seconds that were expected."""
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
def test_what_the_spec_expects_is_the_sum_over_its_plan(name: str) -> None:
    spec = preset(name)
    each = [expected_seconds(spec, task.stage, task.payload.get("role")) for task in _tasks(spec)]
    assert expected_core_seconds(spec) == pytest.approx(sum(each))
    if name in MINUTES:
        assert sum(each) == pytest.approx(2 * 60 * MINUTES[name]), "as measured, on two cores"


def test_more_images_and_more_epochs_take_longer() -> None:
    assert expected_core_seconds(override(TINY, {"source.epochs": 40})) > 2 * expected_core_seconds(TINY)
    assert expected_core_seconds(override(TINY, {"seed": 1})) == expected_core_seconds(TINY)


def test_before_anything_has_finished_the_preset_tells_how_long_it_takes() -> None:
    whole = expected_core_seconds(TINY)
    assert eta(TINY, _tasks(), 1).seconds_left == pytest.approx(whole)
    assert eta(TINY, _tasks(), 2).seconds_left == pytest.approx(whole / 2)
    assert eta(TINY, _tasks(), 0).seconds_left is None
    assert eta(TINY, _tasks(), 1).fraction == 0


def test_a_stage_counts_by_its_seconds_and_not_by_its_tasks() -> None:
    found = eta(TINY, _done(_tasks(), stages=("teachers", "baselines")), 1)
    assert found.fraction > 0.3, "three tasks of 78, but long ones"
    assert found.shares["teachers"] + found.shares["baselines"] == pytest.approx(found.fraction)
    assert sum(found.shares.values()) == pytest.approx(1)


def test_what_has_finished_says_how_slow_its_own_kind_is_and_stands_in_for_the_others() -> None:
    students = _done(_tasks(), slower=3.0, stages=("search",))
    left = [task for task in students if task.state == "waiting"]
    expected = sum(expected_seconds(TINY, task.stage, task.payload.get("role")) for task in left)
    assert eta(TINY, students, 1).seconds_left == pytest.approx(3 * expected)
    teachers = _done(students, slower=1.0, stages=("teachers",))
    rest = [task for task in teachers if task.state == "waiting" and task.stage in ("confirm", "native", "transfer")]
    known = 3 * sum(expected_seconds(TINY, task.stage, task.payload["role"]) for task in rest)
    assert eta(TINY, rest + [t for t in teachers if t.state == "done"], 1).seconds_left == pytest.approx(known)


def test_the_last_long_task_is_not_shared_among_workers() -> None:
    others = [task for task in _tasks() if task.key != "measure#accuracy"]
    tasks = _done(others, stages=("teachers", "search", "confirm", "native", "transfer", "baselines"))
    one, many = (eta(TINY, tasks, workers).seconds_left for workers in (1, 8))
    assert one == many == pytest.approx(expected_seconds(TINY, "measure", None))


def test_what_failed_or_was_skipped_is_not_waited_for() -> None:
    ended = [replace(task, state="failed" if task.stage == "teachers" else "skipped") for task in _tasks()]
    found = eta(TINY, ended, 0)
    assert (found.fraction, found.seconds_left) == (1.0, 0.0)
