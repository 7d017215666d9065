"""The folder of a task: kept between attempts, alone in it, gone with the task, the sweep, or its age."""

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


def test_what_an_attempt_leaves_the_next_one_finds(base: Path) -> None:
    with folders.held("sweep", "transfer#source/best:0") as folder:
        (folder / "state").write_text("3", encoding="utf-8")
    with folders.held("sweep", "transfer#source/best:0") as folder:
        assert (folder / "state").read_text(encoding="utf-8") == "3"
    assert [path.parent for path in base.rglob("state")] == [folder]
    assert folder.parent == base / "sweep", "no part of a key becomes a folder"


def test_two_tasks_and_two_sweeps_share_nothing() -> None:
    with (
        folders.held("a", "search#0") as one,
        folders.held("a", "search#1") as two,
        folders.held("b", "search#0") as three,
    ):
        assert len({one, two, three}) == 3


def test_of_two_attempts_at_once_the_second_one_has_an_empty_one_that_goes() -> None:
    with folders.held("a", "search#0") as first:
        (first / "state").touch()
        with folders.held("a", "search#0") as second:
            assert second != first
            assert list(second.iterdir()) == []
        assert not second.exists()
        folders.remove("a", "search#0")
        assert (first / "state").exists(), "an attempt is at work in it"
    folders.remove("a", "search#0")
    assert not first.exists()


def test_a_sweep_leaves_nothing(base: Path) -> None:
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
