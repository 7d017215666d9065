"""The command line as a shell starts it: completion in real shells, and `python -m sweeps`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY
from tests.support.sweeps.small_sweeps import created

# How each shell calls the completion of a command for the line "kd-sweeps best ", and prints what it offers.
COMPLETE = {
    "bash": """
        source <(kd-sweeps --show-completion bash)
        COMP_WORDS=(kd-sweeps best "") COMP_CWORD=2
        _kd_sweeps_completion kd-sweeps
        echo "${COMPREPLY[@]}"
    """,
    "zsh": """
        compdef() { : }
        _arguments() { print -r -- "$@" }
        source <(kd-sweeps --show-completion zsh)
        words=(kd-sweeps best "") CURRENT=3
        _kd_sweeps_completion
    """,
    "fish": """
        kd-sweeps --show-completion fish | source
        complete -C "kd-sweeps best "
    """,
}


@pytest.fixture
def environment() -> dict[str, str]:
    folder = str(Path(sys.executable).parent)
    return os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}


@pytest.mark.parametrize("shell", COMPLETE)
def test_a_shell_completes_the_name_of_a_sweep(
    shell: str, tmp_path: Path, in_memory: None, environment: dict[str, str]
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    created(f"sqlite:///{tmp_path}/kd-sweeps.db", name="mnist-kd")
    result = subprocess.run(
        [shell, "-c", COMPLETE[shell]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "mnist-kd" in result.stdout
    assert result.stderr == ""


def test_it_starts_as_a_module_and_imports_no_package_of_the_current_folder(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "typer.py").write_text("raise SystemExit('taken from the current folder')")
    result = subprocess.run(
        [sys.executable, "-m", "sweeps", "list"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("kd-sweeps: no storage at sqlite:///kd-sweeps.db")
