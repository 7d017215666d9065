"""The task table under real processes at once: no task twice, no ending missed, no dead worker's task lost."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest
from sqlalchemy import Engine
from storage_sweeps import (
    claim_and_be_killed,
    claim_and_finish_all,
    claimed,
    create_first,
    finish_at,
    finished,
    new_storage,
    new_sweep,
    put_blob,
    states,
)

from storage import blobs, records, tasks
from storage.reaping import reap, reap_worker

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def engine(storage_url: str) -> Iterator[Engine]:
    with new_storage(storage_url) as engine:
        yield engine


@pytest.fixture(scope="module")
def eight() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(8, mp_context=SPAWN) as pool:
        yield pool


def test_eight_processes_claim_400_tasks_without_a_duplicate(
    engine: Engine, storage_url: str, eight: ProcessPoolExecutor
) -> None:
    sweep = new_sweep(engine, {"search": ((), 400, 400), "confirm": (("search",), 0, 0)})
    jobs = [eight.submit(claim_and_finish_all, storage_url, sweep, f"w{n}") for n in range(8)]
    got = [job.result() for job in jobs]
    counts = Counter(key for keys in got for key in keys)
    assert counts == Counter(f"search#{n}" for n in range(400))
    assert [len(keys) for keys in got if keys] != [400], "one process did everything: nothing was tested"
    assert states(engine, sweep) == {"search": "closed", "confirm": "closed"}
    assert {task.attempt for task in records.task_records(engine, sweep)} == {1}


def test_five_first_starts_at_once_make_one_sweep(storage_url: str, eight: ProcessPoolExecutor) -> None:
    at = time.time() + 0.2
    starts = [eight.submit(create_first, storage_url, at) for _ in range(5)]
    assert [start.result() for start in starts] == [["s"]] * 5


def test_two_tasks_that_finish_last_at_one_moment_end_their_phase_once(
    engine: Engine, storage_url: str, eight: ProcessPoolExecutor
) -> None:
    for round_ in range(3):
        phases = {"a": ((), 1, 1), "b": ((), 1, 2), "c": (("a", "b"), 1, 1), "d": (("c",), 0, 0)}
        sweep = new_sweep(engine, phases, name=f"s{round_}")
        claims = [claimed(engine, sweep) for _ in range(3)]
        at = time.time() + 0.4
        jobs = [eight.submit(finish_at, storage_url, claim, at) for claim in claims]
        assert all(job.result() for job in jobs)
        assert states(engine, sweep) == {"a": "closed", "b": "closed", "c": "open", "d": "blocked"}
        assert claimed(engine, sweep).key == "c#0"


def test_the_task_of_a_process_killed_with_9_is_taken_back_and_done(engine: Engine, storage_url: str) -> None:
    sweep = new_sweep(engine, number=1)
    killed = SPAWN.Process(target=claim_and_be_killed, args=(storage_url, sweep, "doomed"))
    killed.start()
    killed.join()
    assert killed.exitcode == -9
    (left,) = records.running(engine, sweep)
    assert (left.worker, left.pid) == ("doomed", killed.pid)
    assert tasks.claim(engine, sweep, worker="w", host="h", pid=1, lease_s=60) is None, "its lease is still good"
    assert reap(engine, sweep, cap=2) == []
    assert reap_worker(engine, "doomed", cap=2) == [("search#0", 1, "doomed")]
    again = claimed(engine, sweep)
    assert again.attempt == 2
    assert finished(engine, again)
    assert states(engine, sweep) == {"search": "closed"}


def test_one_blob_put_by_eight_processes_at_once_is_one_row(
    engine: Engine, storage_url: str, eight: ProcessPoolExecutor
) -> None:
    data = bytes(range(256)) * 2000
    at = time.time() + 0.4
    digests = {job.result() for job in [eight.submit(put_blob, storage_url, data, at) for _ in range(8)]}
    assert len(digests) == 1
    assert blobs.get(engine, digests.pop()) == data
