"""bench/reading.py, small: the sweep that it writes is one that commands and workers can go on with."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY


@pytest.mark.processes
@pytest.mark.slow
def test_a_small_run_writes_its_section_with_a_verdict_for_each_target(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    done = subprocess.run(
        [sys.executable, "bench/reading.py", "--tasks", "120", "--runs", "1", "--only", "sqlite", "--page", str(page)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr  # whether a target is met depends on what else runs here
    assert "Traceback" not in done.stderr
    text = page.read_text()
    assert "## Reading commands" in text
    for command in ("status", "best", "trials"):
        (verdict,) = [line for line in text.splitlines() if line.startswith(f"- SQLite, `{command}`:")]
        assert verdict.endswith(("**met**", "**missed**"))


def test_the_written_sweep_is_whole_but_for_the_trials_of_optuna(
    storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "bench"))
    from storage.db.engine import open_engine
    from storage.records import queries
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
        assert all(row.test is None for row in target), "some of its transfer is still to come: no test is shown"
        found = audit(engine, sweep)
        assert all("trial" in str(line) for line in (*found.violations, *found.warnings)), found
    finally:
        engine.dispose()
