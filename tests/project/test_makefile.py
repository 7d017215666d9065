"""The targets of the Makefile, and a setup that is complete or absent."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

MAKE = shutil.which("make")

pytestmark = pytest.mark.skipif(MAKE is None, reason="no make on the PATH")


def _make(*words: str, folder: Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run make as from a terminal, even inside `make test`."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    environment |= {} if path is None else {"PATH": path}
    assert MAKE is not None
    return subprocess.run([MAKE, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _tools(folder: Path, **scripts: str) -> str:
    """Return a PATH with the usual system programs and the given shell scripts, without uv or Python."""
    folder.mkdir()
    for tool in ("sh", "rm", "touch", "mkdir"):
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return the files that the setup reads, in a folder without an environment."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, folder)
    return folder


def test_make_without_a_target_lists_the_targets_and_installs_nothing(checkout: Path) -> None:
    printed = _make(folder=checkout).stdout
    targets = [line.split()[1] for line in printed.splitlines()]
    tests = ["test", "test-slow", "test-containers"]
    assert targets == ["help", "run", "check", *tests, "lint", "docs", "bench", "lock", "clean"]
    assert not (checkout / ".venv").exists()


def test_without_python_and_uv_make_says_what_to_install_in_one_line(checkout: Path, tmp_path: Path) -> None:
    result = _make("lint", folder=checkout, path=_tools(tmp_path / "bin", python3="echo Python 3.9.6; exit 1"))
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith(("make", "Setting up"))]
    assert result.returncode != 0
    assert "Python 3.11, 3.12 or 3.13" in line
    assert "3.9.6" in line
    assert not (checkout / ".venv").exists()


def test_an_interrupted_setup_starts_over(checkout: Path, tmp_path: Path) -> None:
    uv = 'case "$1 $2" in "--version ") echo uv 1;; venv*) mkdir .venv;; "pip sync") exit %d;; esac'
    path = _tools(tmp_path / "bin", uv=uv % 1)
    assert _make(".venv/.stamp", folder=checkout, path=path).returncode != 0
    assert not (checkout / ".venv" / ".stamp").exists()

    (checkout / ".venv" / "half").touch()
    (tmp_path / "bin" / "uv").write_text(f"#!/bin/sh\n{uv % 0}\n")
    assert _make(".venv/.stamp", folder=checkout, path=path).returncode == 0
    assert not (checkout / ".venv" / "half").exists()
    assert "up to date" in _make(".venv/.stamp", folder=checkout, path=path).stdout
