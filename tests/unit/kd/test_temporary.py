"""Temporary files are removed after the process that made them, even if it was killed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kd.tools import processes
from kd.tools.processes import Report, run_in_subprocess
from tests.support.paths import REPOSITORY

HOLDS = """
import os, sys, tempfile
from kd.tools import processes
with processes.temporary_folder() as folder, processes.set_tempdir(folder):
    tempfile.NamedTemporaryFile(delete=False)
    print(folder, flush=True)
    os._exit(int(sys.stdin.readline()))
"""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def leave_a_file(report: Report) -> str:
    with tempfile.NamedTemporaryFile(prefix="left", delete=False) as file:
        return f"{file.name} {os.environ['TMPDIR']}"


def leave_a_file_and_exit(report: Report) -> None:
    leave_a_file(report)
    os._exit(3)


def test_temporary_files_of_the_block_go_into_the_folder_which_is_then_removed(base: Path) -> None:
    with processes.temporary_folder() as folder:
        assert folder.parent == base
        assert folder.stat().st_mode & 0o777 == 0o700
        with processes.set_tempdir(folder):
            tempfile.mkdtemp()
            assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(folder)
        assert tempfile.gettempdir() == str(base)
        assert len(list(folder.iterdir())) == 1
    assert list(base.iterdir()) == []
    assert os.environ["TMPDIR"] == str(base)


def test_an_unset_tmpdir_is_unset_again_afterwards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    with processes.set_tempdir(tmp_path):
        assert os.environ["TMPDIR"] == str(tmp_path)
    assert "TMPDIR" not in os.environ


@pytest.mark.processes
@pytest.mark.parametrize("how", ["killed", "ended by os._exit"])
def test_a_folder_is_removed_by_the_next_process_once_its_own_is_gone(base: Path, how: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLDS], env=environment, **pipes) as holder:  # type: ignore[call-overload]
        folder = Path(holder.stdout.readline().strip())
        with processes.temporary_folder():
            assert list(folder.iterdir()), "its process is alive"
        if how == "killed":
            holder.kill()
        else:
            holder.communicate("86\n")
    with processes.temporary_folder():
        assert not folder.exists()
    assert list(base.iterdir()) == []


def test_a_folder_that_is_still_being_made_is_left_alone(base: Path) -> None:
    young = base / f"{processes.NEW_PREFIX}young"
    young.mkdir()
    with processes.temporary_folder():
        assert young.exists()
    os.utime(young, (0, 0))  # so old that its process must have been killed
    with processes.temporary_folder():
        assert not young.exists()


@pytest.mark.processes
def test_a_child_process_leaves_nothing_whether_it_returns_or_dies(base: Path) -> None:
    name, folder = run_in_subprocess(leave_a_file, on_step=lambda: None).split()
    assert Path(name).parent == Path(folder)
    assert Path(folder).parent == base
    with pytest.raises(Exception, match="exit code 3"):
        run_in_subprocess(leave_a_file_and_exit, on_step=lambda: None)
    assert list(base.iterdir()) == []
