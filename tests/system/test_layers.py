"""What a reading command may load and write. What it costs: bench/reading.py. Which way imports run: pyproject.toml."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from storage.queue.tasks import Claim
from storage.records import artifacts
from storage.url import resolve
from sweeps.distill.presets import preset
from sweeps.distill.session import Outcome
from sweeps.spec.model import override
from sweeps.usecases.create import create_sweep
from sweeps.workers.worker import Worker
from tests.support.paths import REPOSITORY
from tests.support.sweeps.quadratic_worker import changed, quadratic

pytestmark = pytest.mark.processes

HEAVY = {
    *("tensorflow", "keras", "optuna", "optuna_dashboard", "scipy", "sklearn", "pandas"),
    *("matplotlib", "plotly", "markdown_it"),
}

READING = {
    "--help": ["--help"],
    "status": ["status", "s"],
    "best": ["best", "s"],
    "trials": ["trials", "s"],
    "report": ["report", "s"],
    "list": ["list"],
    "data list": ["data", "list"],
    "spec": ["spec", "full"],
}


@dataclass(frozen=True)
class _Answer:
    """What one command did in a process of its own."""

    code: int
    stdout: str
    modules: frozenset[str]


_PROGRAM = """
import json, sys
from sweeps.cli.app import main
try:
    main()
except SystemExit as end:
    code = end.code or 0
roots = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([code, roots]), file=sys.stderr)
"""


@dataclass(frozen=True)
class _Home:
    """A folder with a finished sweep "s", in which commands run as for a user who owns nothing else."""

    folder: Path

    def run(self, arguments: list[str]) -> _Answer:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("KD_SWEEPS", "OPTUNA"))}
        environment |= {"PYTHONPATH": str(REPOSITORY), "HOME": str(self.folder)}
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        code, modules = json.loads(done.stderr.splitlines()[-1])
        return _Answer(code, done.stdout, frozenset(modules))

    def content(self) -> dict[str, str]:
        """Every path in the folder, with the hash of what is in it."""
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in self.folder.rglob("*")
        }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> _Home:
    folder = tmp_path_factory.mktemp("home")
    url = resolve(f"sqlite:///{folder}/kd-sweeps.db")
    assert create_sweep(url, "s", override(preset("tiny"), {"transfer.seeds": 2})).new

    def run(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        outcome = quadratic(claim, params, on_step)
        if claim.key == "transfer#source.best.0":
            return changed(outcome, blobs={"model": artifacts.put(worker.engine, b"the bytes of a model")})
        return outcome

    worker = Worker(url, "s", run=run)
    assert worker.work() == 0
    worker.engine.dispose()
    return _Home(folder)


@pytest.mark.parametrize("command", READING)
def test_a_reading_command_loads_nothing_heavy_and_writes_nothing(home: _Home, command: str) -> None:
    before = home.content()
    answer = home.run(READING[command])
    assert home.content() == before
    assert answer.code == 0
    assert answer.stdout.strip()
    assert not answer.modules & HEAVY


def test_export_loads_nothing_heavy_and_writes_its_file_alone(home: _Home, tmp_path: Path) -> None:
    before = home.content()
    answer = home.run(["export", "s", "-o", str(tmp_path / "student.keras")])
    assert answer.code == 0
    assert home.content() == before
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [
        ("student.keras", b"the bytes of a model")
    ]
    assert not answer.modules & HEAVY


def test_archive_and_verify_load_nothing_heavy_and_write_their_file_alone(home: _Home, tmp_path: Path) -> None:
    """`verify` makes the plan again, and its Sobol points are SciPy's."""
    before, file = home.content(), str(tmp_path / "s.kdsweep")
    for command, may in ((["archive", "s", "-o", file], set()), (["verify", file], {"scipy"})):
        answer = home.run(command)
        assert answer.code == 0
        assert not answer.modules & HEAVY - may
    assert home.content() == before
    assert [path.name for path in tmp_path.iterdir()] == ["s.kdsweep"]


def test_a_reading_command_that_finds_nothing_leaves_nothing(tmp_path: Path) -> None:
    home = _Home(tmp_path)
    for command in ("best", "list"):  # one that opens a sweep, and the one that opens none
        assert home.run(READING[command]).code == 1
    assert not home.content()
