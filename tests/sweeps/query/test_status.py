"""Status: counts, workers whose lease is good or has lapsed, the guess of the time left, what to type next."""

from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.cli.answers import describe_status
from sweeps.plan.tasks import STAGES
from sweeps.query.bits import Bits
from sweeps.query.opening import open_sweep
from sweeps.query.status import StageCount, Status, Working, seconds_left, status
from sweeps.spec.presets import preset
from tests.support.sweeps.planted_sweeps import worked
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.task_records import task_record

WORKING = Working(worker="w", host="h", task="search#1", attempt=2, lease_left_s=12.0)
STATUS = Status(
    sweep="s",
    state="active",
    stages={stage: StageCount(done=1) for stage in STAGES},
    workers=(WORKING,),
    seconds_left=150.0,
    problems=(),
    bits=Bits("0123456789ab", ("f00",)),
)


def test_status_shows_the_running_worker_and_guesses_the_time_left(tmp_path: Path) -> None:
    url = worked(f"sqlite:///{tmp_path}/a.db", preset("tiny"), quadratic, stop_at="native.search#2")
    with open_sweep(url, "s") as (engine, sweep):
        found = status(engine, sweep)
    # The worker left without a word, as if killed: its lease still runs.
    assert [(one.task, one.alive) for one in found.workers] == [("native.search#2", True)]
    assert found.seconds_left is not None
    assert found.seconds_left > 0
    assert "time left: about" in describe_status(found)
    assert list(found.as_json()) == [
        "sweep",
        "state",
        "stages",
        "workers",
        "seconds_left",
        "problems",
        "answer_hash",
        "numerics",
    ]
    assert found.as_json()["stages"]["search"]["done"] == found.stages["search"].done == 8


@pytest.mark.parametrize(
    ("changes", "last"),
    [
        ({}, "time left: about 2 min"),
        ({"seconds_left": None}, "time left: unknown yet"),
        ({"seconds_left": 0.0}, "finished; next: kd-sweeps report s"),
        ({"workers": ()}, "no worker is running; next: kd-sweeps launch s"),
        (
            {"workers": (replace(WORKING, lease_left_s=-3.0),)},
            "no worker is running; next: kd-sweeps launch s (it takes over what is left)",
        ),
        ({"state": "paused"}, "the sweep is paused; to go on: kd-sweeps resume s, then kd-sweeps launch s"),
    ],
)
def test_the_last_line_says_what_comes_next(changes: dict[str, object], last: str) -> None:
    assert describe_status(replace(STATUS, **changes)).splitlines()[-1] == last  # type: ignore[arg-type]


def test_a_problem_is_shown_with_what_to_type() -> None:
    lines = describe_status(replace(STATUS, problems=("baselines failed: no weights",))).splitlines()
    assert "baselines failed: no weights" in lines
    assert "to try that again: kd-sweeps retry s, then kd-sweeps launch s" in lines
    assert "worker w: search#1 attempt 2, lease 12 s" in lines


def test_the_time_left_is_unknown_before_a_student_is_done_and_zero_at_the_end() -> None:
    done = task_record("search#0", 0)
    waiting = [task_record(f"search#{number}", number, state="waiting") for number in (1, 2)]
    assert seconds_left([done, *waiting], 2) == 1.0  # one second each, shared by two workers
    assert seconds_left(waiting, 2) is None
    assert seconds_left([done, *waiting], 0) is None
    assert seconds_left([done], 0) == 0.0
