"""A heartbeat ends the process of a task that shall end and does not, and of no other."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.queue import tasks, workers
from storage.url import resolve
from sweeps.query.listing import open_sweep
from sweeps.trainers.protocol import Steps
from sweeps.workers.heartbeat import _REACT_S, STUCK, Heartbeat
from tests.support.paths import REPOSITORY
from tests.support.sweeps.small_sweeps import created

pytestmark = pytest.mark.processes

LONGER_S = _REACT_S + 3


def attempt(url: str, how: str) -> None:
    """One attempt, cancelled while it waits, while it is in a step that ends, or in one that never does."""
    with open_sweep(resolve(url), "s", write=True) as (engine, sweep):
        claim = tasks.claim(engine, sweep.id, worker="w", host="h", pid=os.getpid(), lease_s=60)
        assert claim is not None
        steps = Steps()
        with Heartbeat(engine, claim, steps, interval_s=0.2, lease_s=60, deadline_s=600) as heart:
            workers.cancel(engine, sweep.id)
            assert heart.lost.wait(20)
            print("lost", flush=True)
            if how == "waits":
                time.sleep(LONGER_S)
            else:
                with steps.watched():
                    time.sleep(2.5 if how == "ends" else 600)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A sweep of its own."""
    return str(created(f"sqlite:///{tmp_path}/s.db"))


def _started(url: str, how: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, url, how], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "lost\n"
    return process


def _code(process: "subprocess.Popen[str]") -> int:
    with process:
        return process.wait(LONGER_S + 30)


def test_a_step_that_never_ends_takes_its_process_with_it(url: str) -> None:
    assert _code(_started(url, "never")) == STUCK


@pytest.mark.slow
def test_what_waits_for_something_else_is_left_to_end_by_itself(url: str) -> None:
    assert _code(_started(url, "waits")) == 0


@pytest.mark.slow
def test_who_was_frozen_meanwhile_still_has_its_time(url: str) -> None:
    process = _started(url, "ends")
    process.send_signal(signal.SIGSTOP)
    time.sleep(LONGER_S)
    process.send_signal(signal.SIGCONT)
    assert _code(process) == 0


if __name__ == "__main__":
    attempt(*sys.argv[1:])
