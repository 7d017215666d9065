"""SIGTERM and Ctrl-C on real worker processes: the task is given back in time, whatever the step is doing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy

from storage.db.engine import open_engine
from storage.records import queries
from sweeps.spec.model import override
from tests.support.paths import REPOSITORY, SUPPORT
from tests.support.sweeps.small_sweeps import SMALL, created, tasks_of, wait_until

pytestmark = pytest.mark.processes

# A step that reads no flag, as one call into a compiled model of a minute would.
LONG_STEP = """
import sys, time
from storage.url import resolve
from sweeps.workers.worker import run_worker
sys.exit(run_worker(resolve(sys.argv[1]), "s", run=lambda *_: time.sleep(60)))
"""


def _worker(url: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _with_a_running_task(process: subprocess.Popen[bytes], engine: sqlalchemy.Engine) -> None:
    wait_until(lambda: any(t.state == "running" for t in tasks_of(engine)), f"no task: exit code {process.poll()}")


@pytest.fixture
def engine(tmp_path: Path) -> sqlalchemy.Engine:
    # A lease that does not lapse meanwhile: what is free again was given back.
    url = created(f"sqlite:///{tmp_path}/s.db", override(SMALL, {"lease.interval_s": 10, "lease.grace_s": 50}))
    return open_engine(url)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_between_steps_gives_the_task_back_within_5_seconds(
    engine: sqlalchemy.Engine, sent: int, code: int
) -> None:
    url = engine.url.render_as_string(hide_password=False)
    process = _worker(url, str(SUPPORT / "sweeps" / "quadratic_worker.py"), url, "s", "60")
    _with_a_running_task(process, engine)
    started = time.monotonic()
    process.send_signal(sent)
    assert process.wait(20) == code
    assert time.monotonic() - started < 5
    _nothing_counted(engine)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_in_the_middle_of_a_long_step_gives_the_task_back_within_5_seconds(
    engine: sqlalchemy.Engine, sent: int, code: int
) -> None:
    url = engine.url.render_as_string(hide_password=False)
    process = _worker(url, "-c", LONG_STEP, url)
    _with_a_running_task(process, engine)
    started = time.monotonic()
    process.send_signal(sent)
    assert process.wait(20) == code
    assert time.monotonic() - started < 5
    _nothing_counted(engine)


def test_a_second_ctrl_c_leaves_at_once(engine: sqlalchemy.Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)
    process = _worker(url, "-c", LONG_STEP, url)
    _with_a_running_task(process, engine)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None, "the first one waits for the step"
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert time.monotonic() - started < 1
    assert {task.state for task in tasks_of(engine)} == {"waiting", "running"}, "its lease has to lapse"


def test_a_second_sigterm_is_the_first_one_once_more(engine: sqlalchemy.Engine) -> None:
    """Slurm signals the shell of a job, which passes it on, and every process of the job as well."""
    url = engine.url.render_as_string(hide_password=False)
    process = _worker(url, "-c", LONG_STEP, url)
    _with_a_running_task(process, engine)
    for _ in range(5):
        process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    _nothing_counted(engine)


def test_a_signal_while_the_database_is_locked_still_ends_the_worker_within_5_seconds(
    engine: sqlalchemy.Engine,
) -> None:
    url = engine.url.render_as_string(hide_password=False)
    process = _worker(url, str(SUPPORT / "sweeps" / "quadratic_worker.py"), url, "s", "60")
    _with_a_running_task(process, engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # nobody can write: the task cannot be given back
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
        assert time.monotonic() - started < 6


def _nothing_counted(engine: sqlalchemy.Engine) -> None:
    assert {task.state for task in tasks_of(engine)} == {"waiting"}
    assert queries.running_tasks(engine, queries.find_sweep(engine, "s").id) == []
    engine.dispose()
