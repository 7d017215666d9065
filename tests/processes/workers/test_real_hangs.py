"""Hangs in a real training: the sweep ends without help, reports what hung, and leaves no process."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from storage.records import queries
from storage.records.queries import RunningRecord
from sweeps.plan.audit import audit
from sweeps.query.listing import open_sweep
from sweeps.spec.model import override
from tests.support.launches import start_launch
from tests.support.paths import REPOSITORY
from tests.support.processes import command_of, descendants, is_alive
from tests.support.sweeps.small_sweeps import SMALL, created, tasks_of

pytestmark = pytest.mark.slow

END_S = 500  # a sweep that has not ended by then never ends
HANGS_S = 20  # a limit: importing TensorFlow and compiling take 8 on an idle core

# One epoch on a hundred images. A slow machine may time out more than once, so retries have no cap.
MICRO = override(
    SMALL,
    {f"{role}.{name}": value for role in ("source", "target") for name, value in {"images": 100, "epochs": 1}.items()}
    | {
        "source.teacher_epochs": 1,
        "target.teacher_epochs": 1,
        "search.trials": 1,
        "baselines.methods": [],
        "retry.timeout": 0,
        "lease.interval_s": 1,
        "lease.grace_s": 9,
    },
)

# A file next to the module is a pending hang; the process that meets it removes it, so each happens once.
OWN = """
import ctypes
import os
import signal
import time
from pathlib import Path

import keras
import tensorflow as tf


def due(name):
    try:
        (Path(__file__).parent / name).unlink()
    except FileNotFoundError:
        return False
    return True


def wait(x):
    if len(x) == 32 and due("a step sleeps"):  # a batch of the training
        while True:
            time.sleep(60)
    if len(x) == 32 and due("a step keeps the interpreter"):
        ctypes.PyDLL(None).sleep(3600)
    return x


@keras.saving.register_keras_serializable()
class Waits(keras.layers.Layer):
    def call(self, x):
        return tf.ensure_shape(tf.py_function(wait, [x], tf.float32), x.shape)


def dense(shape, classes, *own):
    layers = [keras.layers.Flatten(), keras.layers.Rescaling(1 / 255), *own, keras.layers.Dense(classes)]
    return keras.Sequential([keras.Input(shape), *layers])


def waits(shape, classes):
    return dense(shape, classes, Waits())


def greedy(shape, classes):
    if due("a builder forks and prints"):
        print("x" * 1_000_000)
        os.fork()
    elif due("a builder lacks memory"):
        raise MemoryError
    elif due("a builder is killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    return dense(shape, classes)
"""

# Every Python process of a test leaves a file with its process number.
LEAVE_PID = "import os, pathlib\n(pathlib.Path({folder!r}) / str(os.getpid())).touch()\n"


class Home:
    """A folder with the user's module and the process numbers of everything that ran in it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.url = f"sqlite:///{folder}/s.db"
        self._folder, self._pids = folder, folder / "pids"
        self._pids.mkdir()
        (folder / "own_hangs.py").write_text(OWN)
        (folder / "sitecustomize.py").write_text(LEAVE_PID.format(folder=str(self._pids)))
        monkeypatch.syspath_prepend(folder)
        self._env = os.environ | {
            "KD_SWEEPS_STORAGE": self.url,
            "XDG_STATE_HOME": str(folder / "state"),
            "PYTHONPATH": os.pathsep.join(map(str, (folder, REPOSITORY))),
        }

    def created(self, changes: Mapping[str, Any]) -> None:
        created(self.url, override(MICRO, dict(changes)))

    def launched(self, *hangs: str, meanwhile: Callable[[], None] = lambda: None) -> str:
        """Launch one worker with these hangs pending; return the output once no process is left."""
        for name in hangs:
            (self._folder / name).touch()
        with _ended(start_launch(self._env, workers=1)) as process:
            deadline = time.monotonic() + END_S
            while process.poll() is None:
                assert time.monotonic() < deadline, "the launch does not end"
                meanwhile()
                time.sleep(0.1)
            out = process.communicate()[0]
        assert not [name for name in hangs if (self._folder / name).exists()], out
        deadline = time.monotonic() + 10  # children end within a second of their parents
        while children := [file.name for file in self._pids.iterdir() if is_alive(int(file.name))]:
            assert time.monotonic() < deadline, f"left behind: {children}\n{out}"
            time.sleep(0.1)
        return out

    def attempts(self, failed: tuple[str, ...] = ()) -> dict[str, list[tuple[str, str | None]]]:
        """Audit the sweep; return the attempts of tasks with more than one."""
        with open_sweep(self.url, "s") as (engine, sweep):
            books = audit(engine, sweep)
            assert (books.violations, books.warnings) == ([], [])
            every = tasks_of(engine)
            assert {task.key for task in every if task.state != "done"} == set(failed)
            by_task = {task.key: queries.attempts_of(engine, sweep.id, task.key) or [] for task in every}
            self.reasons = {row.reason for attempts in by_task.values() for row in attempts if row.reason}
            return {
                key: [(attempt.state, attempt.error_class) for attempt in attempts]
                for key, attempts in by_task.items()
                if len(attempts) > 1
            }

    def at_work(self) -> list[RunningRecord]:
        with open_sweep(self.url, "s") as (engine, sweep):
            return queries.running_tasks(engine, sweep.id)


@contextmanager
def _ended(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    try:
        yield process
    finally:
        if process.poll() is None:
            for pid in (*descendants(process.pid), process.pid):
                os.kill(pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    return Home(tmp_path, monkeypatch)


def test_an_endless_step_is_ended_whether_it_sleeps_or_holds_the_interpreter(home: Home) -> None:
    home.created({"source.student": "own_hangs:waits", "limits.search": HANGS_S})
    out = home.launched("a step sleeps", "a step keeps the interpreter")
    (attempts,) = home.attempts().values()
    assert attempts[0] == ("failed", "timeout")
    assert ("lost", "lost worker") in attempts
    assert attempts[-1] == ("done", None)
    assert f"no step for {HANGS_S} s (limits.search)" in home.reasons
    assert "stopped itself because its task hung; its task is back in the queue; starting another" in out
    assert "is frozen; killing it" in out


def test_a_frozen_child_is_ended_when_its_worker_dies_and_a_frozen_autokeras_fails_at_its_cap(home: Home) -> None:
    limits = {"limits.teachers": HANGS_S, "limits.baselines": 3, "retry.timeout": 4}
    home.created({"baselines.methods": ["autokeras"], **limits})
    keys: list[str] = []

    def freeze() -> None:
        for task in home.at_work():
            children = [pid for pid in descendants(task.pid) if b"multiprocessing-fork" in command_of(pid)]
            is_due = task.stage == "baselines" or (task.stage == "teachers" and task.key not in keys)
            if not children or not is_due:
                continue
            keys.append(task.key)
            for pid in children:
                os.kill(pid, signal.SIGSTOP)
            if task.stage == "teachers" and len(keys) == 2:
                os.kill(task.pid, signal.SIGKILL)

    out = home.launched(meanwhile=freeze)
    (baseline,) = {key for key in keys if key.startswith("baselines")}
    attempts = home.attempts(failed=(baseline,))
    assert attempts.pop(baseline) == [("failed", "timeout")] * 4
    first, second = (attempts[key] for key in dict.fromkeys(keys) if key != baseline)
    assert (first[0], first[-1]) == (("failed", "timeout"), ("done", None))
    assert (second[0], second[-1]) == (("lost", "lost worker"), ("done", None))
    assert "no step for 3 s (limits.baselines)" in home.reasons
    assert f"no step for {HANGS_S} s (limits.teachers)" in home.reasons
    assert "finished. Next: " in out  # a missing comparison does not fail the sweep


def test_a_builder_that_forks_prints_lacks_memory_or_is_killed_is_named_and_the_sweep_continues(home: Home) -> None:
    home.created({"source.student": "own_hangs:greedy", "retry.error": 0})
    out = home.launched("a builder forks and prints", "a builder lacks memory", "a builder is killed")
    (attempts,) = home.attempts().values()
    assert attempts == [("failed", "error"), ("lost", "lost worker"), ("done", None)]
    assert "ModelError: model 'own_hangs:greedy' does not work with images of (28, 28, 1): MemoryError" in home.reasons
    killed = out.partition("was killed by signal 9; its task is back in the queue; starting another")[2]
    assert "source: training the student own_hangs:greedy" in killed.splitlines()[1]
