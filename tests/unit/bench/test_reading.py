"""bench/reading.py, overhead.py and service.py on small inputs: each writes its section of the page."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from storage.records import queries
from tests.support.paths import REPOSITORY
from tests.support.sweeps.storage_sweeps import new_storage, new_sweep

OVERHEAD = ["--finished", "4", "6", "--workers", "1", "2", "--trials", "4"]


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize(
    ("program", "small", "heading", "verdicts"),
    [
        ("reading", ["--tasks", "120", "--runs", "1"], "Reading commands", ["`status`", "`best`", "`trials`"]),
        ("overhead", OVERHEAD, "Service overhead", ["4 finished trials", "6 finished trials", "from 4 to 6"]),
    ],
)
def test_a_small_run_writes_its_section_with_a_verdict_for_each_target(
    program: str, small: list[str], heading: str, verdicts: list[str], tmp_path: Path
) -> None:
    page = tmp_path / "results.md"
    page.write_text("# Title\n\n## Another section\n\ntext\n")
    command = [sys.executable, f"bench/{program}.py", *small, "--only", "sqlite", "--page", str(page)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode in (0, 1), result.stderr  # a busy machine may miss the target
    assert "Traceback" not in result.stderr
    text = page.read_text()
    assert text.index("## Another section\n\ntext") < text.index(f"## {heading}")
    for words in verdicts:
        (verdict,) = [line for line in text.splitlines() if line.startswith(f"- SQLite, {words}:")]
        assert verdict.endswith(("**met**", "**missed**"))
    assert ("| SQLite | 6 | 2 |" in text) == (program == "overhead"), "overhead has a row for two workers"


def test_the_written_sweep_lacks_only_the_trials_of_optuna(storage_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "bench"))
    from storage.db.engine import open_engine
    from storage.url import resolve
    from support.sweeps import write_finished
    from sweeps.findings.findings import load
    from sweeps.plan.audit import audit
    from sweeps.query.best import best

    url = resolve(storage_url)
    counts = write_finished(url, "s", tasks=120)
    assert counts["done"] > 100
    assert set(counts) == {"done", "waiting"}
    engine = open_engine(url, read_only=True)
    try:
        sweep = queries.find_sweep(engine, "s")
        assert {phase.state for phase in queries.phase_records(engine, sweep.id)} == {"closed", "open", "blocked"}
        assert best(engine, sweep).confirmed
        rows = load(engine, sweep).rows
        assert all(row.validation is not None for row in rows)
        target = [row for row in rows if row.dataset == "digits-rgb"]
        assert all(row.test is None for row in target), "test scores stay hidden until transfer is complete"
        report = audit(engine, sweep)
        assert all("trial" in str(line) for line in (*report.violations, *report.warnings)), report
    finally:
        engine.dispose()


@pytest.mark.slow
@pytest.mark.processes
def test_the_service_is_measured_under_load(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    command = [sys.executable, "bench/service.py", "--quick", "--only", "sqlite", "--page", str(page)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode in (0, 1), result.stderr
    assert "Traceback" not in result.stderr
    assert re.search(r"\nservice: readyz max \d+\.\d\d s, status p99 \d+\.\d\d s\n", page.read_text())
    assert "answers were neither 200 nor 503" not in result.stdout


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_copied_database_is_independent_of_the_original(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
