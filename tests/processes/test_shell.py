"""The command line from a shell: completion in a real bash, and `python -m sweeps`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY
from tests.support.sweeps.small_sweeps import created

# As bash calls the function of a command: with the words of the line, and the number of the one that is completed.
COMPLETE = """
source <(kd-sweeps --show-completion bash)
COMP_WORDS=({words} "") COMP_CWORD={number}
_kd_sweeps_completion kd-sweeps
echo "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def environment() -> dict[str, str]:
    folder = str(Path(sys.executable).parent)
    return os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_the_name_of_a_sweep(tmp_path: Path, in_memory: None, environment: dict[str, str]) -> None:
    created(f"sqlite:///{tmp_path}/kd-sweeps.db", name="mnist-kd")
    line = COMPLETE.format(words="kd-sweeps best", number=2)
    done = subprocess.run(
        ["bash", "--norc", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("mnist-kd\n", "")


def test_it_starts_as_a_module_and_imports_no_package_of_the_current_folder(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "typer.py").write_text("raise SystemExit('taken from the current folder')")
    done = subprocess.run(
        [sys.executable, "-m", "sweeps", "list"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("kd-sweeps: no storage at sqlite:///kd-sweeps.db")
