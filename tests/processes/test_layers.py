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

from storage.records import artifacts
from storage.tables import TaskRecord
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


@dataclass(frozen=True)
class _Home:
    """A folder with a finished sweep "s", in which commands run as for a user who owns nothing else."""

    folder: Path

    def run(self, *commands: list[str]) -> list[tuple[int, str, frozenset[str]]]:
        """Run commands one after the other in one process: exit code, what each printed, modules so far."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("KD_SWEEPS", "OPTUNA"))}
        environment |= {"PYTHONPATH": str(REPOSITORY), "HOME": str(self.folder)}
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, json.dumps([["kd-sweeps", *command] for command in commands])],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        texts = done.stdout.split("----\n")[1:]
        answers = json.loads(done.stderr.splitlines()[-1])
        return [(code, text, frozenset(names)) for (code, names), text in zip(answers, texts, strict=True)]

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

    def run(claim: TaskRecord, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        outcome = quadratic(claim, params, on_step)
        if claim.key == "transfer#source.best.0":
            return changed(outcome, blobs={"model": artifacts.put(worker.engine, b"the bytes of a model")})
        return outcome

    worker = Worker(url, "s", run=run)
    assert worker.work() == 0
    worker.engine.dispose()
    return _Home(folder)


def test_commands_load_nothing_heavy_and_write_nothing_but_the_file_that_they_were_asked_for(
    home: _Home, tmp_path: Path
) -> None:
    """`verify` makes the plan again, and its Sobol points are SciPy's."""
    before, student, archive = home.content(), tmp_path / "student.keras", tmp_path / "s.kdsweep"
    writing = {"export": ["export", "s", "-o", str(student)], "archive": ["archive", "s", "-o", str(archive)]}
    commands = READING | writing | {"verify": ["verify", str(archive)]}
    for command, (code, text, modules) in zip(commands, home.run(*commands.values()), strict=True):
        assert code == 0, command
        assert text.strip() or command in writing, command
        assert modules & HEAVY <= ({"scipy"} if command == "verify" else set()), command
    assert home.content() == before
    assert sorted(tmp_path.iterdir()) == [archive, student]
    assert student.read_bytes() == b"the bytes of a model"
