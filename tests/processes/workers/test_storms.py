"""Workers killed, frozen and left alone: every planned task is done once and the audit is clean."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from storage.db.engine import open_engine
from storage.tables import TaskRecord
from storage.url import resolve
from tests.support.faults.crews import NAME, Nursery
from tests.support.faults.storms import count, new_storm, storm, storm_spec
from tests.support.sweeps.small_sweeps import draw, tasks_of, wait_until

FEW = {"search.trials": 4, "confirm.top": 1, "confirm.seeds": 1, "transfer.seeds": 1}  # 24 tasks


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_kills_during_200_tasks_lose_and_double_nothing(storage_url: str, seed: int) -> None:
    new_storm(storage_url)
    with contextlib.closing(Nursery(storage_url)) as crew:
        ended = storm(storage_url, crew, workers=8, seed=seed)
    print(f"\n{storage_url.split(':')[0]}, seed {seed}: {ended}")
    assert set(ended.course.exits) <= {0, -signal.SIGKILL}, "a worker gave up"
    assert ended.count.clean, ended.count
    assert ended.count.done == 200
    assert ended.kills >= 20
    # "saved" is during a task. The other steps take milliseconds; test_crashes.py kills at each of them.
    assert {"starting", "saved", "between tasks"} <= set(ended.during), "the kills met only part of a worker's life"


@pytest.mark.slow_on("sqlite")
def test_a_worker_frozen_until_another_did_its_task_drops_its_own_result_and_continues(
    storage_url: str, tmp_path: Path
) -> None:
    """Leases are renewed after 1 s and lapse after 1.5 s."""
    new_storm(storage_url, storm_spec(**FEW, **{"lease.interval_s": 1.0, "lease.grace_s": 0.5}))
    engine = open_engine(resolve(storage_url), read_only=True)
    codes: dict[int, int] = {}

    def now() -> dict[str, TaskRecord]:
        return {task.key: task for task in tasks_of(engine, NAME)}

    def held_ones() -> list[TaskRecord]:
        return [task for task in now().values() if task.state == "running" and task.params is not None]

    def both_ended() -> bool:
        codes.update(crew.ended())
        return len(codes) == 2

    with (tmp_path / "log").open("wb") as log, contextlib.closing(Nursery(storage_url, task_s=0.3, log=log)) as crew:
        frozen = crew.start()
        (held,) = wait_until(held_ones, "nothing runs")
        os.kill(frozen, signal.SIGSTOP)
        other = crew.start()
        wait_until(lambda: now()[held.key].state == "done", "no worker took the task over")
        os.kill(frozen, signal.SIGCONT)
        wait_until(both_ended, "they do not end")
    assert codes == {frozen: 0, other: 0}
    assert f"{held.key} attempt 1 was taken by another worker" in (tmp_path / "log").read_text()
    latest = now()[held.key]
    assert (latest.attempt, held.worker != latest.worker) == (2, True)
    assert [task for task in now().values() if task.worker == held.worker], "the resumed worker did nothing"
    engine.dispose()
    draw(resolve(storage_url), NAME)
    books = count(storage_url)
    assert books.clean, books
