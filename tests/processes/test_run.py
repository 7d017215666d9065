"""`Sweep.run` in a separate process: workers, Ctrl-C, the user's modules, and a script without a main guard."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy

from storage.url import resolve
from sweeps import Sweep
from sweeps.errors import SweepError
from sweeps.python.arguments import worker_environment
from sweeps.query.listing import open_sweep
from sweeps.spec.model import override
from sweeps.usecases.create import create_sweep
from tests.support.launches import environment
from tests.support.sweeps.archived_sweeps import records
from tests.support.sweeps.planted_sweeps import failing, work
from tests.support.sweeps.small_sweeps import SMALL, created, wait_until

_RUN = """
import sys
from sweeps import Sweep

try:
    sweep = Sweep.open("s", storage=sys.argv[1]).run(workers=1)
    print("ended", sweep.status.fraction)
except KeyboardInterrupt as error:
    print("interrupted:", error)
print("continues")
"""


def _started(home: Path, url: sqlalchemy.URL, misbehave: str = "pass") -> "subprocess.Popen[str]":
    env = environment(home, url, misbehave)
    command = [sys.executable, "-c", _RUN, str(url)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_even_twice_returns_the_tasks_and_the_process_continues(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/a.db")
    process = _started(tmp_path / "home", url, 'Path(HOME / "at-work").touch(); time.sleep(120)')
    at_work = tmp_path / "home" / "at-work"
    wait_until(lambda: at_work.exists() or process.poll() is not None, "no worker started", 240)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)  # people click twice, and a notebook's kernel must survive it
    out, err = process.communicate(timeout=60)
    assert out == "interrupted: s was stopped; nothing is lost. To resume: sweep.run()\ncontinues\n", err
    out, err = _started(tmp_path / "again", url).communicate(timeout=240)
    assert out == "ended 1.0\ncontinues\n", err
    assert "100 %" in err, "without a terminal, lines show the progress"
    assert {task.state for task in records(url).values()} == {"done"}


def test_a_failed_stage_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/a.db", override(SMALL, {"retry.error": 1}))
    work(url, failing("no such thing"))
    with pytest.raises(SweepError, match="no such thing") as raised:  # nothing is left to do: it starts no worker
        Sweep.open("s", storage=str(url)).run(workers=1)
    assert str(raised.value).endswith("finished tasks are kept. To retry: sweep.retry(), then sweep.run()")


def test_a_call_from_another_thread_is_refused_with_advice(tmp_path: Path) -> None:
    url = str(created(f"sqlite:///{tmp_path}/a.db"))
    raised: list[BaseException] = []

    def call() -> None:
        try:
            Sweep.open("s", storage=url).run()
        except SweepError as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert str(raised[0]).endswith(f"type: kd-sweeps launch s --storage {url}")


def test_workers_find_the_modules_and_the_data_that_this_process_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "what_i_sample.py").write_text("def make(seed): ...\n")
    monkeypatch.syspath_prepend(tmp_path / "mine")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.delenv("KD_SWEEPS_DATA", raising=False)
    url = resolve(f"sqlite:///{tmp_path}/a.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweeps.usecases.create._check_sampler", lambda name: None)
        create_sweep(url, "s", override(SMALL, {"search.sampler": "what_i_sample:make"}))
    with open_sweep(url, "s") as (_, sweep), worker_environment(sweep, tmp_path):
        assert os.environ["PYTHONPATH"] == f"{tmp_path / 'mine'}{os.pathsep}/elsewhere"
        assert os.environ["KD_SWEEPS_DATA"] == str(tmp_path)
    assert os.environ["PYTHONPATH"] == "/elsewhere"
    assert "KD_SWEEPS_DATA" not in os.environ


_SCRIPT = """
import what_i_build
from sweeps import Sweep

print(Sweep.create("s", dataset="digits", preset="tiny", student=what_i_build.build, storage="sqlite:///a.db"))
"""
_BUILD = """
import keras

def build(input_shape, classes):
    images = keras.Input(input_shape)
    return keras.Model(images, keras.layers.Dense(classes)(keras.layers.Flatten()(images)))
"""


@pytest.mark.slow
def test_a_script_without_a_main_guard_may_create_a_sweep_with_its_own_function(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(_SCRIPT)
    (tmp_path / "what_i_build.py").write_text(_BUILD)
    result = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "Sweep.open('s', storage='sqlite:///a.db')\n"
    with open_sweep(f"sqlite:///{tmp_path}/a.db", "s") as (_, sweep):
        assert sweep.spec["source"]["student"] == "what_i_build:build"
