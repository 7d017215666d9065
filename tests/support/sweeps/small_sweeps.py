"""A sweep with every stage and few tasks, and real worker processes on it. Imports no pytest."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from typing import TypeVar

import sqlalchemy

from storage.failpoints import VARIABLE
from storage.records import queries
from storage.tables import TaskRecord
from storage.url import resolve
from sweeps.plan import trials
from sweeps.query.listing import open_sweep
from sweeps.spec.model import Spec, override
from sweeps.usecases.create import create_sweep
from sweeps.workers.reach import Reach, Service
from sweeps.workers.worker import run_worker
from tests.support.sweeps.presets import before
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.trials_in_memory import made_once

T = TypeVar("T")

SMALL = override(
    before("tiny"),
    {
        "search.trials": 4,
        "confirm.top": 1,
        "confirm.seeds": 1,
        "transfer.seeds": 1,
        "transfer.source_arms": ["best", "scratch"],
        "transfer.target_arms": ["best", "native"],
        "lease.interval_s": 0.2,
        "lease.grace_s": 0.8,
    },
)

# A child of the fork server has everything imported: it starts in milliseconds instead of seconds, which
# matters for tests that start dozens. It is still a separate process.
FORK = multiprocessing.get_context("forkserver")
PRELOADED = [  # including modules that a worker imports late
    __name__, "alembic.command", "numpy.random", "optuna.samplers", "optuna.storages._rdb.models", "psycopg",
    "sqlalchemy.dialects.sqlite", "storage.studies.studies",
]  # fmt: skip
FORK.set_forkserver_preload(PRELOADED)


def created(url: str, spec: Spec = SMALL, *, name: str = "s") -> sqlalchemy.URL:
    database = resolve(url)

    def create(at: sqlalchemy.URL) -> None:
        assert create_sweep(at, name, spec).new

    made_once(("created", name, spec.model_dump_json()), database, create)
    return database


def tasks_of(engine: sqlalchemy.Engine, name: str = "s") -> list[TaskRecord]:
    return queries.task_records(engine, queries.find_sweep(engine, name).id)


@contextmanager
def drawn_at_the_end(url: sqlalchemy.URL, name: str = "s") -> Iterator[None]:
    """Mirror the trials of all ended attempts at the end of the block, as a launch does."""
    try:
        yield
    finally:
        draw(url, name)


def draw(url: sqlalchemy.URL, name: str = "s") -> int:
    """Mirror the trials of all ended attempts; return how many."""
    with open_sweep(url, name, write=True) as (engine, sweep):
        return trials.complete(engine, sweep)


def start_worker(url: str, *, crash_at: str = "", seconds: float = 0.0, name: str = "s", log: str = "") -> BaseProcess:
    """Start a worker process with a runner that takes `seconds` per task; log: a file for its stderr."""
    process = FORK.Process(target=_work, args=(url, name, crash_at, seconds, log), daemon=True)
    process.start()
    return process


def _work(url: str, name: str, crash_at: str, seconds: float, log: str) -> None:
    if log:
        os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), 2)
    if crash_at:
        os.environ[VARIABLE] = crash_at
    raise SystemExit(run_worker(reach_of(url), name, run=partial(quadratic, seconds=seconds)))


def reach_of(url: str) -> Reach:
    """Return the storage at a URL, or the service there with the token of the tests."""
    return Service(url, "worker-token-0123456789") if url.startswith("http") else resolve(url)


def wait_until(reached: Callable[[], T], failure: str, seconds: float = 60, *, every_s: float = 0.02) -> T:
    """Return the first truthy value of `reached`; fail with `failure` when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := reached()):
        assert time.monotonic() < deadline, failure
        time.sleep(every_s)
    return value
