"""The actor of a node, in this process and without Ray, with one real worker."""

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
from tests.support.processes import descendants, wait_until_gone
from tests.support.sweeps.small_sweeps import SMALL, created, wait_until

pytestmark = pytest.mark.processes

# One task in a worker with a child process that ignores signals. It reports its device last, in a file that is whole.
BUSY = """
import subprocess
subprocess.Popen(["sleep", "600"])
(HOME / "seen").write_text(f"{os.environ['CUDA_VISIBLE_DEVICES']} {os.environ.get('KD_SWEEPS_GPU')}")
os.replace(HOME / "seen", HOME / "device")
while not (HOME / "continue").exists():
    steps()
    time.sleep(0.01)
"""


@contextmanager
def kept(
    home: Path, monkeypatch: pytest.MonkeyPatch, *, gpu: bool = False
) -> "Iterator[tuple[WorkerActor, WorkerStarted, int]]":
    """Yield an actor whose worker is at its first task, the report of its start, and its process number."""
    url = created(f"sqlite:///{home}/s.db", SMALL)
    for name, value in environment(home, url, BUSY).items():  # of the node
        if os.environ.get(name) != value:
            monkeypatch.setenv(name, value)
    keeper = WorkerActor()
    variables = {"KD_SWEEPS_STORAGE": plain(url), WORKER_VARIABLE: "w"}
    began = keeper.start(StartWorker("s", "w", "s.0", variables, gpu=gpu))
    engine = open_engine(url)
    try:
        sweep = queries.find_sweep(engine, "s").id
        (task,) = wait_until(lambda: queries.running_tasks(engine, sweep), "the worker took no task")
        wait_until(lambda: (home / "device").exists(), "the task did not begin")
        yield keeper, began, task.pid
    finally:
        engine.dispose()
        keeper.kill()


def test_a_worker_sees_its_actors_device_and_the_actor_reports_exit_code_and_last_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with kept(tmp_path, monkeypatch, gpu=True) as (keeper, began, _):
        assert (tmp_path / "device").read_text() == "3 3"
        assert keeper.wait(0.1) is None, "it still runs"
        (tmp_path / "continue").touch()
        ended = keeper.wait(60)
    assert ended is not None
    assert ended.code == 0
    assert ended.log is not None
    assert "no task is left" in ended.log
    assert Path(began.log_file).read_text() == ended.log
    assert os.stat(began.log_file).st_mode & 0o777 == 0o600


def test_a_signal_reaches_the_worker_although_ray_blocks_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # as in everything that Ray starts
    try:
        with kept(tmp_path, monkeypatch) as (keeper, _, pid):
            children = descendants(pid)
            keeper.send(signal.SIGINT)
            ended = keeper.wait(60)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    assert ended is not None
    assert ended.code == 143
    assert ended.log is not None
    assert "released" in ended.log
    assert children
    wait_until_gone(*children)


def test_a_worker_without_a_device_sees_none_and_its_children_die_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with kept(tmp_path, monkeypatch) as (keeper, _, pid):
        assert (tmp_path / "device").read_text() == " None"
        family = {pid, *descendants(pid)}
        assert len(family) > 1
        keeper.kill()
        wait_until_gone(*family)
        ended = keeper.wait(0)
        assert ended is not None
        assert ended.code == -9


def test_an_actor_that_cannot_write_its_log_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nothing")
    began = WorkerActor().start(StartWorker("s", "w", "s.0", {}))
    assert "cannot write logs into /proc/nothing" in began.trouble


def test_a_printed_command_for_an_actor_shows_no_url() -> None:
    assert "secret" not in repr(StartWorker("s", "w", "s.0", {"KD_SWEEPS_STORAGE": "postgresql://u:secret@h/d"}))
