"""Workers killed, frozen and left alone: whatever happens, every planned task is done once and the audit is clean."""

import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from storage.db.engine import open_engine
from storage.tables import TaskRecord
from storage.url import resolve
from tests.support.faults.crews import NAME, Crew, Nursery, Programs, program
from tests.support.faults.storms import Storm, count, new_storm, storm, storm_spec
from tests.support.sweeps.small_sweeps import tasks_of, wait_until

pytestmark = pytest.mark.processes

FEW = {"search.trials": 4, "confirm.top": 1, "confirm.seeds": 1, "transfer.seeds": 1}  # 24 tasks


def survived(url: str, crew: Crew, *, workers: int, seed: int) -> Storm:
    """A storm that ended as it has to."""
    with contextlib.closing(crew):
        ended = storm(url, crew, workers=workers, seed=seed)
    print(f"\n{url.split(':')[0]}, seed {seed}: {ended}")
    assert set(ended.course.exits) <= {0, -signal.SIGKILL}, "a worker gave up"
    assert ended.count.clean, ended.count
    return ended


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_a_storm_of_kills_over_200_tasks_loses_and_doubles_nothing(storage_url: str, seed: int) -> None:
    new_storm(storage_url)
    ended = survived(storage_url, Nursery(storage_url), workers=8, seed=seed)
    assert ended.count.done == 200
    assert ended.kills >= 20
    # "saved": at its task. The steps between are over in milliseconds; test_crashes.py dies at each of them.
    assert {"starting", "saved", "between tasks"} <= set(ended.during), "the kills met only part of a worker's life"


@pytest.mark.slow
def test_nor_does_a_storm_of_separate_programs(storage_url: str) -> None:
    new_storm(storage_url)
    ended = survived(storage_url, Programs(program(storage_url)), workers=8, seed=1)
    assert ended.kills >= 3


# One worker, looked at closely


@pytest.fixture
def watched(storage_url: str) -> Iterator[Engine]:
    """A sweep of 24 tasks, and an engine to look at it. Leases are renewed after 1 s and lapse after 1.5 s."""
    new_storm(storage_url, storm_spec(**FEW, **{"lease.interval_s": 1.0, "lease.grace_s": 0.5}))
    engine = open_engine(resolve(storage_url), read_only=True)
    yield engine
    engine.dispose()


Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(storage_url: str, tmp_path: Path) -> Iterator[Start]:
    """Start a worker program of its own, with so many seconds per task; its log is in tmp_path/PID."""
    started = []

    def start(task_s: float) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(program(storage_url, task_s=task_s), stderr=log))
        return started[-1]

    with (tmp_path / "log").open("wb") as log:
        yield start
        for process in started:
            process.kill()
            process.wait()


def at_work(engine: Engine, process: subprocess.Popen[bytes], stage: str = "") -> TaskRecord:
    """The task that the process holds, as soon as it runs one of that stage."""
    found: list[TaskRecord] = []

    def holds_one() -> bool:
        assert process.poll() is None, "it ended"
        found[:] = [
            task
            for task in tasks_of(engine, NAME)
            if task.state == "running" and task.trial_number is not None and task.stage.startswith(stage)
        ]
        return bool(found)

    wait_until(holds_one, "nothing runs")
    return found[0]


def task_of(engine: Engine, key: str) -> TaskRecord:
    return next(task for task in tasks_of(engine, NAME) if task.key == key)


@pytest.mark.slow_on("sqlite")
def test_a_worker_frozen_until_another_did_its_task_drops_its_own_result_and_goes_on(
    storage_url: str, watched: Engine, start: Start, tmp_path: Path
) -> None:
    frozen = start(0.3)
    held = at_work(watched, frozen)
    frozen.send_signal(signal.SIGSTOP)
    other = start(0.1)
    wait_until(lambda: task_of(watched, held.key).state == "done", "nobody took the task over")
    frozen.send_signal(signal.SIGCONT)
    assert (frozen.wait(60), other.wait(60)) == (0, 0)
    assert f"{held.key} attempt 1 was taken by another worker" in (tmp_path / "log").read_text()
    again = task_of(watched, held.key)
    assert (again.attempt, held.worker != again.worker) == (2, True)
    assert [task for task in tasks_of(watched, NAME) if task.worker == held.worker], "it did nothing afterwards"
    found = count(storage_url)
    assert found.clean, found
