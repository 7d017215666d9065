"""The folder of a task: kept between attempts, used by one at a time, removed with the task, the sweep, or by age."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps.workers import folders


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path))
    yield tmp_path / "tasks"
    assert not [path for path in tmp_path.iterdir() if path.name != "tasks"]


def test_the_next_attempt_finds_the_files_of_the_previous_one(base: Path) -> None:
    with folders.held("sweep", "transfer#source/best:0") as folder:
        (folder / "state").write_text("3", encoding="utf-8")
    with folders.held("sweep", "transfer#source/best:0") as folder:
        assert (folder / "state").read_text(encoding="utf-8") == "3"
    assert [path.parent for path in base.rglob("state")] == [folder]
    assert folder.parent == base / "sweep", "a slash in a key makes no subfolder"


def test_every_task_of_every_sweep_has_its_own_folder() -> None:
    with (
        folders.held("a", "search#0") as first,
        folders.held("a", "search#1") as second,
        folders.held("b", "search#0") as third,
    ):
        assert len({first, second, third}) == 3


def test_a_second_attempt_at_once_gets_an_empty_temporary_folder() -> None:
    with folders.held("a", "search#0") as first:
        (first / "state").touch()
        with folders.held("a", "search#0") as second:
            assert second != first
            assert list(second.iterdir()) == []
        assert not second.exists()
        folders.remove("a", "search#0")
        assert (first / "state").exists(), "a folder in use is not removed"
    folders.remove("a", "search#0")
    assert not first.exists()


def test_removing_a_sweep_removes_its_folders_alone(base: Path) -> None:
    for key in ("search#0", "search#1"):
        with folders.held("a", key) as folder:
            (folder / "state").touch()
    with folders.held("b", "search#0") as other:
        pass
    folders.remove_sweep("a")
    folders.remove_sweep("never")
    folders.remove("never", "search#0")
    assert list(base.iterdir()) == [other.parent]


def test_folders_unused_for_a_month_are_removed(base: Path) -> None:
    with folders.held("a", "search#0") as old, folders.held("a", "search#1") as young:
        pass
    with folders.held("b", "search#0") as held:
        for path in (old, held):
            os.utime(path, (time.time() - folders.OLD_S - 60,) * 2)
        folders.remove_old()
        assert (old.exists(), young.exists(), held.exists()) == (False, True, True)
