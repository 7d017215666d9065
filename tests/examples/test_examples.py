"""The examples run unchanged, with settings that take seconds; each is short."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))
TINY = {
    "search.trials": 2,
    "confirm.rounds": [[1, 1]],
    "transfer.seeds": 1,
    "transfer.source_arms": ["best", "scratch"],
    "source.epochs": 1,
}
MORE = {
    "own_models": {"source.teacher_epochs": 2},
    "own_data_and_loss": {"source.teacher_epochs": 2},
    "torch_teacher": {"epochs": 3},
}
TRAININGS = {"sklearn_digits", "pytorch_tutorial"}  # run in test_trainings.py
LONG = {"pytorch_tutorial": 120}  # lines: two networks, and resuming after a kill
_RUN = """
import importlib, json, sys

module, options = importlib.import_module(sys.argv[1]), json.loads(sys.argv[2])
sweep = module.main("sqlite:///a.db", **options)
stages = {stage: count.done for stage, count in sweep.status.stages.items() if count.total}
assert all(count.done == count.total for count in sweep.status.stages.values()), sweep.status.stages
print(json.dumps([stages, sweep.best.temperature, dict(sweep.best.more)]))
"""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) < LONG.get(example.stem, 60)


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    if name == "torch_teacher" and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    # A script finds modules in its own folder; its workers get only the paths that the example passes on.
    code = f"import sys; sys.path[0] = {str(REPOSITORY / 'examples')!r}\n{_RUN}"
    result = subprocess.run(
        [sys.executable, "-c", code, name, json.dumps(TINY | MORE[name])],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    stages, temperature, more = json.loads(result.stdout.splitlines()[-1])
    assert set(stages) == {"teachers", "search", "confirm", "transfer", "measure"}
    assert (stages["search"], stages["transfer"]) == (2, 2), "two trials and two arms"
    assert 1 <= temperature <= 20
    assert list(more) == (["beta"] if name == "own_data_and_loss" else [])


def test_every_example_is_run_by_this_test() -> None:
    assert {path.stem for path in EXAMPLES} == {*MORE, *TRAININGS}
