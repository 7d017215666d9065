"""The examples of a training of one's own run as they stand, with fewer tasks and with the extra `train` alone."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support.paths import REPOSITORY

Commands: TypeAlias = Callable[..., tuple[int, str, str]]
FEW = ["--set", "search.trials=2", "--set", "confirm.rounds=[[1, 1]]", "--set", "transfer.seeds=1"]
FEW += ["--set", "outer.searches=1"]
_ALONE = """
import sys

for missing in ("tensorflow", "keras", "matplotlib", "fastapi"):
    sys.modules[missing] = None  # its import fails, as where it is not installed
from sweeps.cli.__main__ import main

main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the examples."""
    for name in ("sklearn_digits.py", "train.sh", "train.toml"):
        shutil.copy2(REPOSITORY / "examples" / name, tmp_path)
    return tmp_path


def kd_sweeps_alone(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """A command where nothing but the extra `train` can be imported."""
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
        assert words in typed, "what is run here is what the example says"
    own = ["--train", "./sklearn_digits.py:train", "--space", "temperature=1.0:20.0:log", "--space", "alpha=0.0:1.0"]
    own += ["--set", "trainer.untreated.alpha=1.0"]
    own += ["--set", "trainer.defaults.default={temperature=4.0, alpha=0.5}"]
    made = kd_sweeps_alone(folder, "create", "digits", *own, *FEW)
    assert made.returncode == 0, made.stderr
    worked = kd_sweeps_alone(folder, "worker", "digits")
    assert worked.returncode == 0, worked.stderr[-3000:]
    audit = kd_sweeps_alone(folder, "status", "digits", "--audit")
    assert "audit: 7 planned, 7 accounted for, 0 violations, 0 warnings" in audit.stdout + audit.stderr
    page = kd_sweeps_alone(folder, "report", "digits").stdout
    assert "Untreated: alpha = 1 (`untreated`)" in page


def test_a_shell_script_is_swept(folder: Path, kd_sweeps: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
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
