"""Small sweeps for the storage tests, and the functions of their child processes. Imports no pytest or Optuna."""

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from sqlalchemy import Connection, Engine, update

from storage import tables
from storage.db.engine import create_lock, create_tables, open_engine
from storage.db.transaction import database_now, write
from storage.errors import RevisionRefused
from storage.queue import plans, tasks
from storage.queue.phases import parse_dependencies, parse_lag
from storage.queue.plans import PhasePlan, TaskPlan, insert_sweep
from storage.queue.tasks import Ending, given_back
from storage.records import artifacts, queries
from storage.tables import TaskRecord
from storage.url import resolve

Needs = dict[str, tuple[tuple[str, ...], int, int]]  # phase -> needs, minimum, number of tasks


@contextmanager
def new_storage(url: str) -> Iterator[Engine]:
    """Create an empty storage with our tables; disposed at the end."""
    resolved = resolve(url)
    with create_lock(resolved):
        engine = open_engine(resolved, must_exist=False)
        create_tables(engine)
    yield engine
    engine.dispose()


def new_sweep(engine: Engine, phases: Needs | None = None, *, name: str = "s", number: int = 3) -> int:
    """Create a sweep of the given phases, or of one phase "search" with `number` tasks; return its id."""
    phases = phases or {"search": ((), 1, number)}
    insert_sweep(
        engine,
        name=name,
        identity=name,
        spec={"name": name},
        fingerprint="f",
        provenance={},
        phases=[
            PhasePlan(
                name=phase,
                stage=phase.split(":")[0],
                needs=tuple(parse_dependencies(needs)),
                lag=parse_lag(needs),
                minimum=minimum,
            )
            for phase, (needs, minimum, _) in phases.items()
        ],
        tasks=[
            TaskPlan(key=f"{phase}#{n}", phase=phase, payload={"n": n})
            for phase, (_, _, count) in phases.items()
            for n in range(count)
        ],
    )
    return queries.find_sweep(engine, name).id


def claimed(engine: Engine, sweep_id: int, *, worker: str = "w", lease_s: float = 60.0) -> TaskRecord:
    """Return the next claim, which must exist."""
    claim = tasks.claim(engine, sweep_id, worker=worker, host="h", pid=os.getpid(), lease_s=lease_s)
    assert claim is not None
    return claim


def finished(engine: Engine, claim: TaskRecord, *, score: float | None = 0.5) -> bool:
    """Finish a claim; return whether its result was stored."""
    return tasks.finish(engine, claim, outcome={"score": score}, score=score)


def extend(
    engine: Engine, sweep_id: int, phase: str, *, revision: int, number: int = 1, while_open: Collection[str] = ()
) -> None:
    """Plan more tasks of a phase, after `revision`."""
    plans.extend(
        engine,
        sweep_id,
        revision=revision,
        spec={"v": revision + 1},
        fingerprint=f"f{revision + 1}",
        why="more",
        tasks=[TaskPlan(key=f"{phase}#more{revision}.{n}", phase=phase, payload={"n": n}) for n in range(number)],
        while_open=while_open,
    )


def lapse(engine: Engine, claim: TaskRecord) -> None:
    """Set the end of the claim's lease to a second ago."""
    attempts = tables.attempts
    with write(engine) as connection:
        connection.execute(
            update(attempts)
            .where(attempts.c.task_id == claim.id, attempts.c.number == claim.attempt)
            .values(lease_until=database_now() - 1)
        )


def states(engine: Engine, sweep_id: int) -> dict[str, str]:
    return {phase.name: phase.state for phase in queries.phase_records(engine, sweep_id)}


def overlap(module: ModuleType, first: Callable[[], object], second: Callable[[], object]) -> None:
    """Start `second` when `first`, of that module, has written everything and committed nothing."""
    written, second_waits = threading.Event(), threading.Event()

    @contextmanager
    def write_slowly(engine: Engine) -> Iterator[Connection]:
        with write(engine) as connection:
            yield connection
            if not written.is_set():
                written.set()
                assert second_waits.wait(30)

    module.write = write_slowly  # type: ignore[attr-defined]
    try:
        with ThreadPoolExecutor(2) as threads:
            first_run = threads.submit(first)
            assert written.wait(30)
            second_run = threads.submit(second)
            time.sleep(0.1)  # by now it waits for a lock, or has passed without one
            second_waits.set()
            first_run.result(30)
            second_run.result(30)
    finally:
        module.write = write  # type: ignore[attr-defined]


# Functions of child processes


@contextmanager
def _opened(url: str, at: float) -> Iterator[Engine]:
    """Open a storage and wait for the time `at`, so that several processes act simultaneously."""
    engine = open_engine(resolve(url))
    time.sleep(max(0.0, at - time.time()))
    yield engine
    engine.dispose()


def create_first(url: str, at: float) -> list[str]:
    """Create storage and sweep at the time `at`; return the sweeps that exist then."""
    time.sleep(max(0.0, at - time.time()))
    with new_storage(url) as engine:
        with create_lock(resolve(url)):
            new_sweep(engine)
        return [sweep.name for sweep in queries.list_sweeps(engine)]


def claim_and_finish_all(url: str, sweep_id: int, worker: str) -> list[str]:
    """Return the keys of all tasks that this process did, in order."""
    engine = open_engine(resolve(url))
    keys = []
    while claim := tasks.claim(engine, sweep_id, worker=worker, host="h", pid=os.getpid(), lease_s=60.0):
        assert finished(engine, claim)
        keys.append(claim.key)
    engine.dispose()
    return keys


def finish_at(url: str, claim: TaskRecord, at: float) -> bool:
    """Finish a task at the time `at`."""
    with _opened(url, at) as engine:
        return finished(engine, claim)


def work_with_failures(url: str, sweep_id: int, worker: str, stop: str) -> list[tuple[str, str, bool]]:
    """Claim and end tasks until the file `stop` exists and no task is left: (key, ending, whether it was stored).

    The first attempt at every third task fails for good, so that there is always something to retry.
    """
    engine = open_engine(resolve(url))
    endings = []
    while not (Path(stop).exists() and queries.outlook(engine, sweep_id).unended == 0):
        claim = tasks.claim(engine, sweep_id, worker=worker, host="h", pid=os.getpid(), lease_s=60.0)
        if claim is None:
            time.sleep(0.01)
        elif claim.attempt == 1 and claim.payload["n"] % 3 == 0:
            stored = tasks.end(engine, claim, Ending("failed", "nan", "NaN"), cap=1)
            endings.append((claim.key, "failed", stored))
        elif claim.attempt == 1 and claim.payload["n"] % 7 == 0:
            endings.append((claim.key, "released", tasks.end(engine, claim, given_back())))
        else:
            endings.append((claim.key, "done", finished(engine, claim)))
    engine.dispose()
    return endings


def extend_at(url: str, sweep_id: int, phase: str, at: float) -> str:
    """Add a task to an open phase at the time `at`; return its key, or why it was refused."""
    with _opened(url, at) as engine:
        try:
            extend(engine, sweep_id, phase, revision=1, while_open=[phase])
        except RevisionRefused as error:
            return str(error)
    return f"{phase}#more1.0"


def put_blob(url: str, data: bytes, at: float) -> str:
    """Store `data` at the time `at`."""
    with _opened(url, at) as engine:
        return artifacts.put(engine, data)
