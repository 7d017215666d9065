"""What a reading command may import and write. Its cost: bench/reading.py. Import directions: pyproject.toml."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from storage.records import artifacts
from storage.url import resolve
from sweeps.distill.presets import preset
from sweeps.plan.jobs import AnyJob
from sweeps.spec.model import override
from sweeps.usecases.create import create_sweep
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.runner import Outcome
from sweeps.workers.worker import Worker
from tests.support.judged.tables import long
from tests.support.paths import REPOSITORY, clean_environment
from tests.support.sweeps.quadratic_worker import changed, quadratic
from tests.support.sweeps.small_sweeps import draw

HEAVY = {
    *("tensorflow", "keras", "optuna", "optuna_dashboard", "scipy", "sklearn", "pandas"),
    *("matplotlib", "plotly", "markdown_it", "jinja2"),
}

READING = {
    "--help": ["--help"],
    "status": ["status", "s"],
    "best": ["best", "s"],
    "trials": ["trials", "s"],
    "report": ["report", "s"],
    "report as JSON": ["report", "s", "-f", "json"],
    "list": ["list"],
    "data list": ["data", "list"],
    "judge": ["judge", "runs.csv"],
    "spec": ["spec", "full"],
}


_PROGRAM = """
import json, sys
from sweeps.cli.streams import exit_code_of
from sweeps.cli.app import app

answers = []
for sys.argv in json.loads(sys.argv[1]):
    print("----", flush=True)
    answers.append([exit_code_of(app), sorted({name.partition(".")[0] for name in sys.modules})])
print(json.dumps(answers), file=sys.stderr)
"""


def _run(folder: Path, commands: Iterable[list[str]]) -> list[tuple[int, str, frozenset[str]]]:
    """Run commands with an empty home, in one process: exit code, output and modules loaded so far, for each."""
    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps([["kd-sweeps", *command] for command in commands])],
        cwd=folder,
        env=clean_environment() | {"PYTHONPATH": str(REPOSITORY), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    texts = result.stdout.split("----\n")[1:]
    answers = json.loads(result.stderr.splitlines()[-1])
    return [(code, text, frozenset(names)) for (code, names), text in zip(answers, texts, strict=True)]


def _content(folder: Path) -> dict[str, str]:
    """Return every path in the folder, with the hash of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
    }


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder with a finished sweep "s"."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "runs.csv").write_text(long(), encoding="utf-8")
    url = resolve(f"sqlite:///{folder}/kd-sweeps.db")
    assert create_sweep(url, "s", override(preset("tiny"), {"transfer.seeds": 2})).new

    def run(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        outcome = quadratic(claim, params, on_step)
        if claim.key == "transfer#source.best.0":
            return changed(outcome, blobs={"model": artifacts.put(worker.backend.engine, b"the bytes of a model")})
        return outcome

    worker = Worker(DatabaseBackend.open(url, "s"), run=run)
    assert worker.work() == 0
    worker.backend.engine.dispose()
    draw(url)
    return folder


def test_commands_import_nothing_heavy_and_write_only_the_requested_file(home: Path, tmp_path: Path) -> None:
    """`verify` recomputes the plan, whose Sobol points are SciPy's."""
    before, student, archive = _content(home), tmp_path / "student.keras", tmp_path / "s.kdsweep"
    writing = {"export": ["export", "s", "-o", str(student)], "archive": ["archive", "s", "-o", str(archive)]}
    planning = {"audit": ["status", "s", "--audit"], "verify": ["verify", str(archive)]}
    commands = READING | writing | planning
    for command, (code, text, modules) in zip(commands, _run(home, commands.values()), strict=True):
        assert code == 0, command
        assert text.strip() or command in writing, command
        assert modules & HEAVY <= ({"scipy"} if command in planning else set()), command
    assert _content(home) == before
    assert sorted(tmp_path.iterdir()) == [home, archive, student]
    assert student.read_bytes() == b"the bytes of a model"


def test_a_worker_imports_neither_reports_nor_launches() -> None:
    """A launch starts a worker on each core, and each pays for its imports."""
    program = "import sys, sweeps.usecases.work; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    modules = set(result.stdout.split())
    assert modules & (HEAVY | {"rich", "filelock"}) == set()
    rooms = ("sweeps.report.", "sweeps.findings", "sweeps.query", "sweeps.launch.launcher", "sweeps.launch.supervisor")
    assert [name for name in sorted(modules) if name.startswith(rooms)] == []
