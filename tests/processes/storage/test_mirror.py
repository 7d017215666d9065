"""A real mirror dies as by kill -9 at any of its steps, or is stopped while another takes over."""

import os
import signal
import time
from multiprocessing.process import BaseProcess
from unittest import mock

import pytest

from storage.db.engine import open_engine
from storage.errors import StorageError
from storage.failpoints import POINTS, VARIABLE
from storage.records import queries
from storage.studies import mirror as mirrors
from storage.studies.mirror import backlog
from storage.url import resolve
from sweeps.plan.trials import opened_mirror
from tests.support.faults.storms import count
from tests.support.sweeps.small_sweeps import FORK, created, draw, start_worker, wait_until

SILENT_S = 1  # instead of 30


def start_mirror(url: str, *, crash_at: str = "", stop_at: str = "") -> BaseProcess:
    """Start a process that mirrors continuously, and dies or stops itself at a step."""
    process = FORK.Process(target=_mirror, args=(url, crash_at, stop_at), daemon=True)
    process.start()
    return process


def _mirror(url: str, crash_at: str, stop_at: str) -> None:
    os.environ[VARIABLE] = crash_at
    passed: list[str] = []

    def stop(point: str) -> None:
        passed.append(point)
        if point == stop_at and passed.count(point) == 2:
            os.kill(os.getpid(), signal.SIGSTOP)

    with mock.patch.object(mirrors, "_SILENT_S", SILENT_S), opened_mirror(resolve(url)) as mirror:
        if stop_at:
            for module in ("studies", "mirror"):
                mock.patch(f"storage.studies.{module}.failpoint", stop).start()
        sweep = queries.find_sweep(mirror.engine, "s")
        while True:
            try:
                if mirror.look(sweep, begun_s=0.0) is None:
                    mirror.close()
            except StorageError:
                mirror.close()
            time.sleep(0.02)


def end(*processes: BaseProcess) -> None:
    for process in processes:
        process.kill()
        process.join()


@pytest.mark.parametrize("point", POINTS["mirror"])
def test_a_mirror_killed_at_any_point_leaves_one_trial_of_each_attempt(storage_url: str, point: str) -> None:
    url = created(storage_url)
    doomed = start_mirror(storage_url, crash_at=f"{point}:2")
    worker = start_worker(storage_url, seconds=0.3)  # long enough to be seen running
    doomed.join(120)
    assert doomed.exitcode == -signal.SIGKILL
    successor = start_mirror(storage_url)
    worker.join(120)
    assert worker.exitcode == 0
    end(successor)
    draw(url)
    books = count(storage_url, name="s")
    assert books.clean, books
    assert books.attempts == books.complete


@pytest.mark.parametrize("point", ["drawing", "drawn", "attributes"])
def test_a_mirror_resumed_after_another_took_over_doubles_no_trial(storage_url: str, point: str) -> None:
    url = created(storage_url)
    stopped = start_mirror(storage_url, stop_at=point)
    worker = start_worker(storage_url, seconds=0.3)  # long enough to be seen running
    worker.join(120)
    assert worker.exitcode == 0
    wait_until(lambda: _is_stopped(stopped), "it did not reach that point")
    other = start_mirror(storage_url)
    engine = open_engine(url, read_only=True)
    sweep = queries.find_sweep(engine, "s")
    if url.get_backend_name() == "postgresql":
        wait_until(lambda: not backlog(engine, sweep.id).count, "no other worker took over")
    else:  # a stopped process keeps its file lock
        time.sleep(1)
        assert backlog(engine, sweep.id).count
    os.kill(stopped.pid or 0, signal.SIGCONT)
    wait_until(lambda: not backlog(engine, sweep.id).count, "no worker resumed")
    time.sleep(0.5)  # time for writes of the resumed mirror
    end(stopped, other)
    engine.dispose()
    books = count(storage_url, name="s")
    assert books.clean, books
    assert books.attempts == books.complete


def _is_stopped(process: BaseProcess) -> bool:
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"
