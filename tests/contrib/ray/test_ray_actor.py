"""What an actor does on its node, in this process and without Ray: it keeps one real worker."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.db.engine import open_engine
from storage.records import queries
from storage.url import plain
from sweeps.contrib.ray.driver import StartWorker, WorkerActor, WorkerStarted
from sweeps.launch.local import WORKER_VARIABLE
from tests.support.launches import environment
from tests.support.processes import descendants, is_alive
from tests.support.sweeps.small_sweeps import SMALL, created, wait_until

pytestmark = pytest.mark.processes

# One task in a worker with a child of its own that hears nobody; it says which device it sees, last and all at once.
BUSY = """
import subprocess
subprocess.Popen(["sleep", "600"])
(HOME / "seen").write_text(f"{os.environ['CUDA_VISIBLE_DEVICES']} {os.environ.get('KD_SWEEPS_GPU')}")
os.replace(HOME / "seen", HOME / "device")
while not (HOME / "go on").exists():
    steps()
    time.sleep(0.01)
"""


@contextmanager
def kept(
    home: Path, monkeypatch: pytest.MonkeyPatch, *, gpu: bool = False
) -> "Iterator[tuple[WorkerActor, WorkerStarted, int]]":
    """A worker that is at its first task, where it runs, and its process."""
    url = created(f"sqlite:///{home}/s.db", SMALL)
    for name, value in environment(home, url, BUSY).items():  # of the node
        if os.environ.get(name) != value:
            monkeypatch.setenv(name, value)
    keeper = WorkerActor()
    variables = {"KD_SWEEPS_STORAGE": plain(url), WORKER_VARIABLE: "w"}
    began = keeper.start(StartWorker("s", "w", variables, gpu=gpu))
    engine = open_engine(url)
    try:
        sweep = queries.find_sweep(engine, "s").id
        wait_until(lambda: bool(queries.running_tasks(engine, sweep)), "it took no task")
        (task,) = queries.running_tasks(engine, sweep)
        wait_until(lambda: (home / "device").exists(), "it did not begin")
        yield keeper, began, task.pid
    finally:
        engine.dispose()
        keeper.kill()


def test_an_actor_says_how_its_worker_ended_and_what_it_logged_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kept(tmp_path, monkeypatch) as (keeper, began, _):
        assert keeper.wait(0.1) is None, "it is at work"
        (tmp_path / "go on").touch()
        found = keeper.wait(60)
    assert found is not None
    assert found.code == 0
    assert found.log is not None
    assert "nothing is left to do" in found.log
    assert Path(began.log_file).read_text() == found.log
    assert os.stat(began.log_file).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_worker_although_ray_blocks_ctrl_c(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # as in everything that Ray starts
    try:
        with kept(tmp_path, monkeypatch) as (keeper, _, pid):
            children = descendants(pid)
            keeper.send(number)
            found = keeper.wait(60)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    assert found is not None
    assert found.code == 143
    assert found.log is not None
    assert "given back" in found.log
    assert children
    wait_until(lambda: not any(map(is_alive, children)), "what it started lives on")


def test_a_worker_that_is_killed_takes_with_it_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with kept(tmp_path, monkeypatch) as (keeper, _, pid):
        family = {pid, *descendants(pid)}
        assert len(family) > 1
        keeper.kill()
        wait_until(lambda: not any(map(is_alive, family)), "somebody lives on")
        found = keeper.wait(0)
        assert found is not None
        assert found.code == -9


@pytest.mark.parametrize(("gpu", "device"), [(True, "3 3"), (False, " None")])
def test_a_worker_sees_the_device_that_ray_gave_its_actor_or_none(
    gpu: bool, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with kept(tmp_path, monkeypatch, gpu=gpu):
        assert (tmp_path / "device").read_text() == device


def test_where_no_log_can_be_written_the_actor_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nothing")
    began = WorkerActor().start(StartWorker("s", "w", {}))
    assert "cannot write logs into /proc/nothing" in began.trouble


def test_an_order_that_is_printed_shows_no_url() -> None:
    assert "secret" not in repr(StartWorker("s", "w", {"KD_SWEEPS_STORAGE": "postgresql://u:secret@h/d"}))
