"""bench/overhead.py, small: every part of it runs, and what it writes is a section of the page."""

import subprocess
import sys
from pathlib import Path

import pytest

from storage.records import queries
from tests.support.paths import REPOSITORY
from tests.support.sweeps.storage_sweeps import new_storage, new_sweep


@pytest.mark.slow
@pytest.mark.processes
def test_a_small_run_writes_its_section_with_a_verdict_for_each_target(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text("# Title\n\n## Another section\n\ntext\n")
    small = ["--finished", "4", "6", "--workers", "1", "2", "--trials", "4", "--only", "sqlite"]
    done = subprocess.run(
        [sys.executable, "bench/overhead.py", *small, "--page", str(page)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr  # whether a target is met says nothing at this size
    assert "Traceback" not in done.stderr
    text = page.read_text()
    assert text.index("## Another section\n\ntext") < text.index("## Service overhead")
    for words in ("4 finished trials", "6 finished trials", "from 4 to 6"):
        (verdict,) = [line for line in text.splitlines() if line.startswith(f"- SQLite, {words}:")]
        assert verdict.endswith(("**met**", "**missed**"))
    assert text.count("| SQLite | 6 | 2 |") == 1, "the crew of two is missing"


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_copied_database_is_one_of_its_own(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "bench"))
    from support.sweeps import opened

    with opened(kind) as database:
        first = database.new()
        with new_storage(first) as engine:
            new_sweep(engine, name="in both")
        second = database.copy(first)
        with new_storage(second) as engine:
            new_sweep(engine, name="in the copy")
            assert [sweep.name for sweep in queries.list_sweeps(engine)] == ["in both", "in the copy"]
        with new_storage(first) as engine:
            assert [sweep.name for sweep in queries.list_sweeps(engine)] == ["in both"]
