"""What ends a worker: an endless step, a signal, the end of the process that holds it. Real processes."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import sqlalchemy

from storage.db.engine import open_engine
from storage.queue import tasks, workers
from storage.records import queries
from storage.records.queries import attempts_of
from storage.url import resolve
from sweeps.query.listing import open_sweep
from sweeps.spec.model import override
from sweeps.trainers.protocol import Steps
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.heartbeat import ENDS, GRACE_S, HUNG, PARENT_PIPE_VARIABLE, Heartbeat
from sweeps.workers.worker import run_worker
from tests.support.launches import environment
from tests.support.sweeps.small_sweeps import FORK, SMALL, created, start_worker, tasks_of, wait_until

LONGER_S = GRACE_S + 3


def attempt(url: str, how: str) -> None:
    """Run an attempt that is cancelled during a step; how: "ends", or anything else for an endless step."""
    with open_sweep(resolve(url), "s", write=True) as (engine, sweep):
        claim = tasks.claim(engine, sweep.id, worker="w", host="h", pid=os.getpid(), lease_s=60)
        assert claim is not None
        steps = Steps()
        backend = DatabaseBackend(engine, sweep, spec=override(SMALL, {"lease.interval_s": 0.2}))
        with Heartbeat(backend, claim, steps, deadline_s=600) as heart:
            workers.cancel(engine, sweep.id)
            assert heart.lost.wait(20)
            Path(f"{resolve(url).database}.lost").touch()
            with steps.watched():
                time.sleep(2.5 if how == "ends" else 600)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of a storage with a sweep."""
    return str(created(f"sqlite:///{tmp_path}/s.db"))


def _started(url: str, how: str) -> BaseProcess:
    process = FORK.Process(target=attempt, args=(url, how), daemon=True)
    process.start()
    wait_until(Path(f"{resolve(url).database}.lost").exists, "its lease is not lost")
    return process


def _code(process: BaseProcess, seconds: float = 20) -> int | None:
    process.join(seconds)
    return process.exitcode


def test_an_endless_step_ends_its_process(url: str) -> None:
    assert _code(_started(url, "never"), LONGER_S + 30) == HUNG


@pytest.mark.slow
def test_a_frozen_process_still_gets_its_full_time(url: str) -> None:
    process = _started(url, "ends")
    assert process.pid
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(LONGER_S)
    os.kill(process.pid, signal.SIGCONT)
    assert _code(process, LONGER_S + 30) == 0


def _work_in_one_long_step(url: str) -> None:
    """Run a step that reads no flag, like a minute inside a compiled model."""
    raise SystemExit(run_worker(resolve(url), "s", run=lambda *_: time.sleep(60)))


def _at_work(engine: sqlalchemy.Engine, *, long_step: bool) -> BaseProcess:
    """Start a worker and wait until it has a task."""
    url = engine.url.render_as_string(hide_password=False)
    if long_step:
        process: BaseProcess = FORK.Process(target=_work_in_one_long_step, args=(url,), daemon=True)
        process.start()
    else:
        process = start_worker(url, seconds=60)
    wait_until(lambda: any(t.state == "running" for t in tasks_of(engine)), f"no task: {process.exitcode}")
    return process


def _send(process: BaseProcess, number: int) -> None:
    assert process.pid
    os.kill(process.pid, number)


@pytest.fixture
def engine(tmp_path: Path) -> sqlalchemy.Engine:
    # The lease outlasts the test, so a task that is free again was returned.
    url = created(f"sqlite:///{tmp_path}/s.db", override(SMALL, {"lease.interval_s": 10, "lease.grace_s": 50}))
    return open_engine(url)


@pytest.mark.parametrize("long_step", [False, True])
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_during_or_between_steps_returns_the_task_within_5_seconds(
    engine: sqlalchemy.Engine, sent: int, code: int, long_step: bool
) -> None:
    process = _at_work(engine, long_step=long_step)
    started = time.monotonic()
    _send(process, sent)
    assert _code(process) == code
    assert time.monotonic() - started < 5
    _nothing_counted(engine)


def test_a_second_ctrl_c_leaves_at_once(engine: sqlalchemy.Engine) -> None:
    process = _at_work(engine, long_step=True)
    _send(process, signal.SIGINT)
    time.sleep(0.5)
    assert process.is_alive(), "the first one waits for the step"
    started = time.monotonic()
    _send(process, signal.SIGINT)
    assert _code(process) == 130
    assert time.monotonic() - started < 1
    assert {task.state for task in tasks_of(engine)} == {"waiting", "running"}, "its lease has to lapse"


def test_a_second_sigterm_changes_nothing(engine: sqlalchemy.Engine) -> None:
    """Slurm signals the shell of a job, which passes it on, and every process of the job as well."""
    process = _at_work(engine, long_step=True)
    for _ in range(5):
        _send(process, signal.SIGTERM)
    assert _code(process) == 143
    _nothing_counted(engine)


def test_a_signal_while_the_database_is_locked_still_ends_the_worker_within_5_seconds(
    engine: sqlalchemy.Engine,
) -> None:
    process = _at_work(engine, long_step=False)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # no other process can write, so the task cannot be returned
        started = time.monotonic()
        _send(process, signal.SIGTERM)
        assert _code(process) == 143
        assert time.monotonic() - started < 6


def _nothing_counted(engine: sqlalchemy.Engine) -> None:
    assert {task.state for task in tasks_of(engine)} == {"waiting"}
    assert queries.running_tasks(engine, queries.find_sweep(engine, "s").id) == []
    engine.dispose()


BUSY = "while True:\n    steps()\n    time.sleep(0.01)"


def test_a_held_worker_ends_when_its_standard_input_closes(tmp_path: Path) -> None:
    """A worker that is not held ignores a closed standard input: test_end_to_end.py."""
    url = created(f"sqlite:///{tmp_path}/s.db", SMALL)
    env = environment(tmp_path / "home", url, BUSY) | {PARENT_PIPE_VARIABLE: ENDS}
    command = [sys.executable, "-m", "sweeps.cli", "worker", "s"]
    engine = open_engine(url)
    sweep = queries.find_sweep(engine, "s").id
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as worker:
        try:
            (task,) = wait_until(lambda: queries.running_tasks(engine, sweep), "it took no task")
            assert worker.stdin
            worker.stdin.close()
            assert worker.wait(30) == 143
        finally:
            worker.kill()
    attempts = attempts_of(engine, sweep, task.key)
    assert attempts is not None
    assert [each.error_class for each in attempts] == [None], "it counts as a failure"
    assert not queries.running_tasks(engine, sweep)
    engine.dispose()
