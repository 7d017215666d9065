"""The task table under concurrent processes: no task twice, no end missed, no task of a dead worker lost."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from storage.db.transaction import read
from storage.errors import RevisionRefused
from storage.queue import plans, workers
from storage.records import artifacts, queries
from storage.tables import attempts
from tests.support.sweeps.small_sweeps import FORK
from tests.support.sweeps.storage_sweeps import (
    Needs,
    claim_and_finish_all,
    claimed,
    create_first,
    extend,
    extend_at,
    finish_at,
    finished,
    new_sweep,
    put_blob,
    states,
    work_with_failures,
)


@pytest.fixture(scope="module")
def eight() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(8, mp_context=FORK) as pool:
        yield pool


def test_eight_workers_claim_each_of_160_tasks_once(
    engine: Engine, storage_url: str, eight: ProcessPoolExecutor
) -> None:
    sweep = new_sweep(engine, {"search": ((), 160, 160), "confirm": (("search",), 0, 0)})
    jobs = [eight.submit(claim_and_finish_all, storage_url, sweep, f"w{n}") for n in range(8)]
    claims = [job.result() for job in jobs]
    counts = Counter(key for keys in claims for key in keys)
    assert counts == Counter(f"search#{n}" for n in range(160))
    assert [len(keys) for keys in claims if keys] != [160], "one process did everything: nothing was tested"
    assert states(engine, sweep) == {"search": "closed", "confirm": "closed"}
    assert {task.attempt for task in queries.task_records(engine, sweep)} == {1}


def test_five_simultaneous_first_starts_create_one_sweep(storage_url: str, eight: ProcessPoolExecutor) -> None:
    at = time.time() + 0.2
    starts = [eight.submit(create_first, storage_url, at) for _ in range(5)]
    assert [start.result() for start in starts] == [["s"]] * 5


def test_simultaneous_last_tasks_close_their_phase_once(
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


def test_eight_workers_lose_nothing_while_the_sweep_is_paused_and_extended(
    engine: Engine, storage_url: str, eight: ProcessPoolExecutor, tmp_path: Path
) -> None:
    """Pause, resume, cancel, extend and retry; in the end every task is done, once."""
    phases: Needs = {"a": ((), 1, 60), "b": (("a",), 1, 60), "c": (("a?",), 0, 30), "d": (("b", "c?"), 1, 10)}
    sweep, chance, happened, stop = new_sweep(engine, phases), random.Random(0), Counter[str](), tmp_path / "stop"
    jobs = [eight.submit(work_with_failures, storage_url, sweep, f"w{n}", str(stop)) for n in range(8)]
    for _ in range(60):
        action = chance.choice(["pause", "cancel", "extend", "extend", "retry", "retry"])
        revision = queries.find_sweep(engine, "s").revision
        try:
            if action == "extend":
                extend(engine, sweep, chance.choice(list(phases)), revision=revision, number=2)
            elif action == "retry":
                plans.retry(engine, sweep, revision=revision)
            else:
                {"pause": workers.pause, "cancel": workers.cancel}[action](engine, sweep)
                workers.resume(engine, sweep)
            happened[action] += 1
        except RevisionRefused:  # a phase has failed: nothing is added before a retry
            happened["refused"] += 1
        time.sleep(chance.uniform(0, 0.04))
    while queries.outlook(engine, sweep).unended or plans.retry(engine, sweep, revision=1 + happened["extend"]):
        assert not any(job.done() for job in jobs), [job.exception() for job in jobs if job.done()]
        time.sleep(0.05)
    stop.touch()
    endings = [ending for job in jobs for ending in job.result(timeout=60)]
    rows = queries.task_records(engine, sweep)
    assert len(rows) == sum(number for *_, number in phases.values()) + 2 * happened["extend"]
    assert Counter(task.state for task in rows) == {"done": len(rows)}
    stored = Counter(key for key, ending, stored in endings if ending == "done" and stored)
    assert stored == Counter(task.key for task in rows), "each result was stored once"
    assert set(states(engine, sweep).values()) == {"closed"}
    with read(engine) as connection:
        query = select(attempts.c.state, func.count().label("number")).group_by(attempts.c.state)
        ended = {row.state: row.number for row in connection.execute(query)}
    assert (ended["done"], ended.get("running")) == (len(rows), None)
    assert min(happened[action] for action in ("pause", "cancel", "extend", "retry")) > 0, happened
    print(happened, ended)


def test_an_extension_concurrent_with_the_last_finish_is_consistent(
    engine: Engine, storage_url: str, eight: ProcessPoolExecutor
) -> None:
    sweeps = [new_sweep(engine, {"a": ((), 1, 1), "b": (("a",), 1, 1)}, name=f"s{n}") for n in range(12)]
    start = time.time() + 0.5
    jobs = []
    for n, sweep in enumerate(sweeps):
        # From just before to just after the finish, so that each of the two is first at times.
        at, shift = start + 0.1 * n, 0.002 * (n % 6 - 3)
        finish = eight.submit(finish_at, storage_url, claimed(engine, sweep), at)
        jobs.append((sweep, finish, eight.submit(extend_at, storage_url, sweep, "a", at + shift)))
    for sweep, finish, extension in jobs:
        assert finish.result(), "the result is stored in either order"
        answer = extension.result()
        if answer == "a#more1.0":
            assert states(engine, sweep) == {"a": "open", "b": "blocked"}
            assert claimed_and_finished(engine, sweep) == "a#more1.0"
        else:
            assert "has closed" in answer
        assert states(engine, sweep) == {"a": "closed", "b": "open"}
        assert claimed_and_finished(engine, sweep) == "b#0"
        assert {task.state for task in queries.task_records(engine, sweep)} == {"done"}


def claimed_and_finished(engine: Engine, sweep: int) -> str:
    claim = claimed(engine, sweep)
    assert finished(engine, claim)
    return claim.key


def test_a_blob_put_by_eight_processes_at_once_is_one_row(
    engine: Engine, storage_url: str, eight: ProcessPoolExecutor
) -> None:
    data = bytes(range(256)) * 2000
    at = time.time() + 0.4
    digests = {job.result() for job in [eight.submit(put_blob, storage_url, data, at) for _ in range(8)]}
    assert len(digests) == 1
    assert artifacts.get(engine, digests.pop()) == data
