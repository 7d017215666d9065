"""The examples of a user's training run unchanged, with fewer tasks and with only the extra `train` installed."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY
from tests.support.sweeps.typed_commands import KdSweeps

FEW = ["--set", "search.trials=2", "--set", "confirm.rounds=[[1, 1]]", "--set", "transfer.seeds=1"]
FEW += ["--set", "outer.searches=1"]
_ALONE = """
import sys

for missing in ("tensorflow", "keras", "matplotlib", "fastapi"):
    sys.modules[missing] = None  # its import fails, as where it is not installed
from sweeps.cli.__main__ import main

main()
"""


_RESUMED = """
import json, pathlib, sys
import pytorch_tutorial as example

class Killed(Exception):
    pass

def dies(fraction=None, **_):
    if fraction == 0.5:
        raise Killed

def goes_on(fraction=None, **_):
    fractions.append(fraction)

def result(name, reports):
    folder = pathlib.Path(name)
    folder.mkdir()
    for report in reports:
        try:
            trained = example.train(2.0, 0.75, seed=7, dataset=sys.argv[1], folder=folder, report=report)
        except Killed:
            fractions.clear()
    return trained, example.test(dataset=sys.argv[1], folder=folder)

example.TEACHER_EPOCHS, fractions = 1, []
print(json.dumps([result("whole", [goes_on]), result("killed", [dies, goes_on]), fractions]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the examples."""
    for name in ("sklearn_digits.py", "train.sh", "train.toml", "pytorch_tutorial.py", "pytorch_tutorial.toml"):
        shutil.copy2(REPOSITORY / "examples" / name, tmp_path)
    return tmp_path


def kd_sweeps_alone(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command where only the extra `train` can be imported."""
    places = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    own = {"KD_SWEEPS_CACHE": str(folder / "cache"), "XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": places}
    return subprocess.run(
        [sys.executable, "-P", "-c", _ALONE, *words],
        cwd=folder,
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=False,
    )


def test_scikit_learns_digits_are_distilled_without_keras(folder: Path) -> None:
    typed = (folder / "sklearn_digits.py").read_text(encoding="utf-8").partition('"""')[2].partition('"""')[0]
    for words in ("--space temperature=1.0:20.0:log", "--space alpha=0.0:1.0", "trainer.untreated.alpha=1.0"):
        assert words in typed, "the example must give the words that run here"
    own = ["--train", "./sklearn_digits.py:train", "--space", "temperature=1.0:20.0:log", "--space", "alpha=0.0:1.0"]
    own += ["--set", "trainer.untreated.alpha=1.0"]
    own += ["--set", "trainer.defaults.default={temperature=4.0, alpha=0.5}"]
    create = kd_sweeps_alone(folder, "create", "digits", *own, *FEW)
    assert create.returncode == 0, create.stderr
    worker = kd_sweeps_alone(folder, "worker", "digits")
    assert worker.returncode == 0, worker.stderr[-3000:]
    audit = kd_sweeps_alone(folder, "status", "digits", "--audit")
    assert "audit: 7 planned, 7 accounted for, 0 violations, 0 warnings" in audit.stdout + audit.stderr
    page = kd_sweeps_alone(folder, "report", "digits").stdout
    assert "Untreated: alpha = 1 (`untreated`)" in page


def test_a_shell_script_is_swept(folder: Path, kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(folder / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    code, _, err = kd_sweeps("create", "script", "train.toml", *FEW)
    assert code == 0, err
    code, _, err = kd_sweeps("worker", "script")
    assert code == 0, err
    code, table, err = kd_sweeps("trials", "script", "-f", "json")
    assert (code, '"state": "done"' in table, '"state": "failed"' in table) == (0, True, False)
    code, page, _ = kd_sweeps("report", "script")
    assert (code, "Untuned default" in page) == (0, True)


@pytest.mark.slow
def test_a_killed_pytorch_student_ends_as_an_uninterrupted_one(folder: Path, shared_data: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    planned = kd_sweeps_alone(folder, "create", "tutorial", "pytorch_tutorial.toml", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "tested by pytorch_tutorial.py:test" in planned.stdout + planned.stderr
    result = subprocess.run(
        [sys.executable, "-c", _RESUMED, str(shared_data / "cifar10-12k.npz")],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    whole, killed, fractions = json.loads(result.stdout)
    assert whole == killed
    assert fractions == [0.75, 1.0], "it must resume at the third epoch"
    trained, test = whole
    assert trained["validation"] > 0.3, "chance is 0.1"
    assert test > 0.3
