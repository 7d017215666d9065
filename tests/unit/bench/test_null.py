"""bench/null.py with few simulated sweeps: sections, claims and last lines."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY


@pytest.mark.processes
def test_a_small_run_writes_its_sections_and_the_claims_hold(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    result = subprocess.run(
        [sys.executable, "bench/null.py", "--sweeps", "100", "--page", str(page)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    text = page.read_text()
    assert "## Advice" in text
    assert "## Judge" in text
    assert text.count("**holds**") == 3 + 2
    assert re.search(r"^wrong advice, worst row = \d+\.\d %$", result.stdout, flags=re.MULTILINE)
    assert re.search(r"^a setting wrongly called better, worst row = \d+\.\d % ", result.stdout, flags=re.MULTILINE)
