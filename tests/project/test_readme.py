"""The README: its commands exist, its paths exist, its distillation example runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import typer.main

from sweeps.cli.main import app
from sweeps.spec.presets import PRESETS
from tests.support.paths import REPOSITORY

TEXT = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_every_command_of_the_readme_exists_and_every_command_is_in_the_readme() -> None:
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"\bkd-sweeps ([a-z]+)\b", TEXT))
    assert named - commands == set()
    assert commands - named == set()


def test_every_preset_has_its_row_with_its_numbers() -> None:
    for name, spec in PRESETS.items():
        (row,) = [line for line in TEXT.splitlines() if line.startswith(f"| {name} |")]
        assert f"{spec.source.images:,} -> " in row
        assert f"{spec.target.images:,}" in row
        assert f"| {spec.search.trials} | {spec.confirm.top} x {spec.confirm.seeds} |" in row
        assert f"{spec.transfer.seeds} seeds" in row


def test_the_distillation_example_runs_as_it_stands(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    (example,) = [block for block in blocks if "Distiller(" in block]
    script = tmp_path / "example.py"
    script.write_text(example)
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "accuracy" in done.stdout


def test_the_readme_promises_no_file_that_is_not_there() -> None:
    for path in ("Makefile", "docker-compose.yml", ".env.example", ".ci/run", "requirements.lock"):
        assert (REPOSITORY / path).is_file()
    assert "@@" not in TEXT, "a placeholder was left"
