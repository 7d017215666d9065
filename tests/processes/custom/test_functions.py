"""A training that is a function, in its real child process: its results and side effects."""

import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from storage.url import resolve
from sweeps.custom.session import CustomTrainer
from sweeps.errors import SpecError, StepTimeout
from sweeps.trainers.protocol import Point, Run, Trained
from sweeps.usecases.create import create_sweep
from tests.support.custom.specs import TRAIN, spec
from tests.support.processes import command_of, descendants, is_alive, wait_until_gone
from tests.support.sweeps.typed_commands import KdSweeps

SEARCH = Run(kind="train", key="search#0", role="source", seed=7, point=Point.of({"alpha": 0.5}))
COMPARED = Run(kind="train", key="transfer#0", role="source", seed=7, point=Point.of({"alpha": 0.5}), arm="best")
_HEAD = """
import math, os, random, signal, sys, time
from pathlib import Path

"""

# Functions of users, each a file with a `train`.
GOOD = {
    "a number": "def train(alpha, *, seed):\n    return 0.5 + alpha / 10\n",
    "a table": "def train(*, alpha, seed):\n    return {'validation': 0.5, 'size': 7, 'agreement': alpha}\n",
    "any name": "def train(**given):\n    return 0.25 if sorted(given) == "
    "['alpha', 'dataset', 'folder', 'report', 'seed'] else 0.0\n",
    "what it prints is binary": "def train(alpha, seed):\n"
    "    sys.stdout.buffer.write(bytes(range(256)))\n    print('\\ud800')\n    return 0.5\n",
    "it forks, and both return": "def train(alpha, seed):\n    os.fork()\n    return 0.5\n",
    "it leaves the folder": "def train(alpha, seed):\n    os.chdir('/')\n    return 0.5\n",
    "it seeds the random state": "def train(alpha, seed):\n    random.seed(1)\n    return 0.5\n",
    "it closes what it prints to": "def train(alpha, seed):\n"
    "    os.close(1)\n    os.close(2)\n    print('a')\n    return 0.5\n",
}

# case -> file, class of the error, part of its one line
BAD = {
    "it raises": (
        "class Mine(Exception):\n    pass\n\ndef train(alpha, seed):\n    raise Mine('no\\nsecond line')\n",
        "TrainingFailed",
        "train.py:train raised Mine: no second line",
    ),
    "NaN": ("def train(alpha, seed):\n    return math.nan\n", "Diverged", "train.py:train gave the score nan"),
    "it exits": (
        "def train(alpha, seed):\n    sys.exit(0)\n",
        "TrainingFailed",
        "train.py:train called sys.exit(0); let it return its score",
    ),
    "it reports two values": (
        "def train(alpha, seed, report):\n    report(0.5, 0.9)\n",
        "TrainingFailed",
        "TypeError: report() got two values; write report(0.5, validation=0.93)",
    ),
    "it reports another name": (
        "def train(alpha, seed, report):\n    report(0.5, accuracy=0.9)\n",
        "TrainingFailed",
        "TypeError: report() got an argument 'accuracy'; write report(0.5, validation=0.93)",
    ),
    "it raises no Exception": (
        "def train(alpha, seed):\n    raise KeyboardInterrupt\n",
        "TrainingFailed",
        "train.py:train raised KeyboardInterrupt",
    ),
    "it ends its process": (
        "def train(alpha, seed):\n    os._exit(3)\n",
        "SubprocessFailed",
        "train.py:train returned no score: the child process died with exit code 3",
    ),
    "it is killed": (
        "def train(alpha, seed):\n    os.kill(os.getpid(), 9)\n",
        "SubprocessKilled",
        "the child process was killed",
    ),
    "no memory": ("def train(alpha, seed):\n    raise MemoryError('all of it')\n", "MemoryError", "all of it"),
    "a package is missing": ("def train(alpha, seed):\n    import torch_not_here\n", "NotHere", "torch_not_here"),
    "its result cannot be read": (
        "def train(alpha, seed):\n    return {'validation': 0.5, 'model': print}\n",
        "TrainingFailed",
        "gave values besides its score that are not JSON",
    ),
}

HANGS = """
def train(alpha, seed, folder):
    pid = os.fork()
    if pid:
        (folder / "pid").write_text(str(pid))
    time.sleep(600)
"""

# Refused before anything runs: case -> file, key of the spec, part of the one line.
WRONG = {
    "no file": ("", "trainer.train", "there is no file"),
    "no function": ("train = 3\n", "trainer.train", "must be a function, got int"),
    "no attribute": ("def trian(alpha, seed):\n    pass\n", "trainer.train", "has no attribute 'train'"),
    "no seed": ("def train(alpha):\n    pass\n", "trainer.train", "needs an argument 'seed'"),
    "another name": ("def train(aplha, seed):\n    pass\n", "trainer.train", "needs the argument 'aplha'"),
    "one is missing": ("def train(seed):\n    pass\n", "trainer.train", "has no argument 'alpha', which trainer.space"),
    "positions only": ("def train(alpha, /, seed):\n    pass\n", "trainer.train", "takes 'alpha' by position only"),
    "async": ("async def train(alpha, seed):\n    return 0.5\n", "trainer.train", "is async, or has a yield"),
    "a generator": ("def train(alpha, seed):\n    yield 0.5\n", "trainer.train", "is async, or has a yield"),
    "an async generator": ("async def train(alpha, seed):\n    yield 0.5\n", "trainer.train", "has a yield"),
    "an async object": (
        "class T:\n    async def __call__(self, alpha, seed):\n        return 0.5\n\ntrain = T()\n",
        "trainer.train",
        "is async",
    ),
    "a class": (
        "class train:\n    def __init__(self, alpha, seed):\n        pass\n",
        "trainer.train",
        "must be a function, got a class",
    ),
    "its import fails": ("1 / 0\n", "trainer.train", "ZeroDivisionError: division by zero"),
    "its import exits": ("import sys\nsys.exit(1)\n", "trainer.train", "SystemExit: 1"),
    "its import ends the process": (
        "import os\nos._exit(1)\n",
        "trainer.train",
        "cannot be imported: the child process",
    ),
    "a function of C": ("train = type\n", "trainer.train", "has no signature"),
    "its syntax": ("def train(alpha, seed:\n", "trainer.train", "SyntaxError"),
    "a package is missing": ("import torch_not_here\n", "trainer.train", "No module named 'torch_not_here'"),
    "a test that wants more": (
        "def train(alpha, seed):\n    pass\n\ndef test(model):\n    pass\n",
        "trainer.test",
        "needs the argument 'model', but is called with alpha, seed, dataset, folder",
    ),
}


class Kept:
    """The part of the engine that a trainer uses."""

    def __init__(self, folder: Path) -> None:
        self.path = folder

    @contextmanager
    def folder(self, run: Run) -> Iterator[Path]:
        self.path.mkdir(exist_ok=True)
        yield self.path


class Steps:
    """Records steps; `check` raises once `seconds` have passed."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.steps: list[tuple[float | None, str]] = []
        self._end = time.monotonic() + seconds

    def __call__(self, fraction: float | None = None, text: str = "") -> None:
        self.steps.append((fraction, text))

    def check(self) -> None:
        if time.monotonic() > self._end:
            raise StepTimeout("no step")


def trainer(folder: Path, body: str, *, test: str = "none", **table: Any) -> CustomTrainer:
    """Return the trainer of a function in that file, which searches alpha."""
    file = folder / "train.py"
    file.write_text(_HEAD + body, encoding="utf-8")
    functions = {"train": f"{file}:train", "test": test and f"{file}:test" if test != "none" else "none"}
    own = spec(functions | {"space": {"alpha": [0.0, 1.0]}, "defaults": {}} | table)
    return CustomTrainer(own, Kept(folder / "kept"))  # type: ignore[arg-type]


def trained(folder: Path, body: str, run: Run = SEARCH, **table: Any) -> Trained:
    return trainer(folder, body, **table).train(run, Steps())


@pytest.mark.parametrize("case", GOOD)
def test_what_a_training_does_to_its_process_affects_no_other(case: str, tmp_path: Path) -> None:
    before = os.getcwd(), random.getstate()
    result = trained(tmp_path, GOOD[case])
    assert result.score == {"a number": 0.55, "any name": 0.25}.get(case, 0.5)
    assert (os.getcwd(), random.getstate()) == before
    if case == "a table":
        assert (result.size, result.facts) == (7, {"facts": {"agreement": 0.5}})


@pytest.mark.parametrize("case", BAD)
def test_each_failure_is_one_line_with_the_class_of_its_error(case: str, tmp_path: Path) -> None:
    body, kind, text = BAD[case]
    with pytest.raises(Exception, match=re.escape(text)) as error:
        trained(tmp_path, body)
    assert type(error.value).__name__ == kind
    assert "\n" not in str(error.value)


def test_a_hanging_function_is_ended_with_its_forks(tmp_path: Path) -> None:
    with pytest.raises(StepTimeout):
        trainer(tmp_path, HANGS).train(SEARCH, Steps(seconds=3))
    wait_until_gone(int((tmp_path / "kept" / "pid").read_text()))


def test_reports_are_steps_and_their_scores_the_curve_which_ends_at_the_result(tmp_path: Path) -> None:
    body = (
        "def train(alpha, seed, report):\n    for i in range(3000):\n        report(i / 3000)\n"
        "    report(0.5, validation=0.25)\n    report(2.0, validation=math.nan)\n"
        "    report(1.0, validation=87.5)\n    return 0.5\n"
    )
    steps = Steps()
    result = trainer(tmp_path, body).train(SEARCH, steps)
    assert result.curve == [0.25, None, None, 0.5], "it ends at the result, and NaN and scores out of bounds are gaps"
    assert len(steps.steps) < 100, "frequent reports must be combined"
    assert (0.5, "validation 0.25") in steps.steps
    assert max(fraction or 0 for fraction, _ in steps.steps) == 1.0


def test_a_minimized_score_and_its_curve_keep_their_sign(tmp_path: Path) -> None:
    body = "def train(alpha, seed, report):\n    report(0.5, validation=3.0)\n    return 2.0\n"
    result = trained(tmp_path, body, score={"name": "loss", "direction": "minimize"})
    assert (result.score, result.curve) == (2.0, [3.0, 2.0])


def test_the_test_runs_in_the_process_of_its_training_and_only_on_request(tmp_path: Path) -> None:
    body = (
        "def train(alpha, seed, folder):\n    global model\n    model = alpha\n"
        "    (folder / 'trained').touch()\n    return 0.5\n\n"
        "def test(*, folder, alpha, dataset):\n    (folder / 'tested').touch()\n"
        "    return model + (dataset == 'here')\n"
    )
    custom = trainer(tmp_path, body, test="same", score={"name": "score"})
    custom.train(COMPARED, Steps())
    time.sleep(0.3)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["trained"]
    assert custom.test(COMPARED, Steps()) == 1.5
    assert (tmp_path / "kept" / "tested").exists()
    assert [pid for pid in descendants(os.getpid()) if is_alive(pid) and b"spawn_main" in command_of(pid)] == []


def test_a_module_next_to_the_file_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("SCORE = 0.25\n")
    body = "from beside_it import SCORE\ndef train(alpha, *, seed):\n    return SCORE\n"
    assert trained(tmp_path, body).score == 0.25


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_child_processes_of_a_training_know_the_classes_of_its_file(start: str, tmp_path: Path) -> None:
    body = f"""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

def half(value):
    return value / 2

def train(alpha, *, seed):
    # A Pool would restart dying processes for ever; this executor raises.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context({start!r})) as pool:
        return sum(pool.map(half, [alpha, alpha]))
"""
    assert trained(tmp_path, body).score == 0.5


def test_without_a_test_the_comparison_uses_the_validation_score(tmp_path: Path) -> None:
    custom = trainer(tmp_path, "def train(alpha, seed):\n    return 0.5\n")
    custom.train(COMPARED, Steps())
    assert custom.test(COMPARED, Steps()) == 0.5


def test_a_failing_test_is_named_as_the_test(tmp_path: Path) -> None:
    body = "def train(alpha, seed):\n    return 0.5\n\ndef test(seed):\n    return 'good'\n"
    custom = trainer(tmp_path, body, test="same")
    custom.train(COMPARED, Steps())
    with pytest.raises(Exception, match=r"^train\.py:test gave 'good' of type str for a score"):
        custom.test(COMPARED, Steps())


def test_a_worker_killed_while_its_training_awaits_a_test_leaves_no_process(tmp_path: Path) -> None:
    body = (
        "def train(alpha, seed, folder):\n    (folder / 'pid').write_text(str(os.getpid()))\n    return 0.5\n\n"
        "def test(seed):\n    return 0.5\n"
    )
    custom = trainer(tmp_path, body, test="same")
    pid = os.fork()
    if pid == 0:
        custom.train(COMPARED, Steps())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    wait_until_gone(int((tmp_path / "kept" / "pid").read_text()))


@pytest.mark.parametrize("case", WRONG)
def test_create_refuses_an_uncallable_function_in_one_line(case: str, tmp_path: Path, kd_sweeps: KdSweeps) -> None:
    body, key, text = WRONG[case]
    if body:
        (tmp_path / "train.py").write_text(body, encoding="utf-8")
    own = ["--train", "./train.py:train", "--space", "alpha=0.0:1.0", "--set", "trainer.untreated.alpha=1.0"]
    code, out, err = kd_sweeps("create", "s", *own)
    assert (code, out) == (2, "")
    assert err.startswith(f"kd-sweeps: {key}: ")
    assert text in err
    assert err.count("\n") == 1
    assert not (tmp_path / "kd-sweeps.db").exists()


def test_with_two_datasets_a_function_needs_the_argument_dataset(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text("def train(alpha, seed):\n    pass\n", encoding="utf-8")
    own = {"train": f"{file}:train", "space": {"alpha": [0.0, 1.0]}, "defaults": {}}
    two = spec(own, target={"dataset": "there"})
    with pytest.raises(SpecError, match=r"trainer\.train: .* needs an argument 'dataset': the sweep has two or more"):
        create_sweep(resolve(f"sqlite:///{tmp_path}/s.db"), "s", two)


def test_a_draft_spec_is_made_from_the_arguments(tmp_path: Path, kd_sweeps: KdSweeps) -> None:
    (tmp_path / "train.py").write_text(
        "def train(temperature, alpha=0.5, rate=0.001, layers=4, optimizer='adam', warm=True, *, seed):\n    pass\n",
        encoding="utf-8",
    )
    code, text, _ = kd_sweeps("spec", "--train", "./train.py:train")
    assert code == 0
    assert (
        "space = { temperature = { low = 0.0, high = 1.0 }, alpha = { low = 0.0, high = 1.0 },"
        " rate = { low = 0.000125, high = 0.008, log = true }, layers = { low = 1, high = 32, log = true },"
        " warm = { choices = [false, true] } }" in text
    )
    (tmp_path / "my.toml").write_text(text, encoding="utf-8")
    assert kd_sweeps("create", "s", "my.toml", "--dry-run")[0] == 0
    (tmp_path / "all.py").write_text(
        TRAIN.replace("(temperature, alpha,", "(temperature=4.0, alpha=0.3,"), encoding="utf-8"
    )
    text = kd_sweeps("spec", "--train", "./all.py:train")[1]
    assert "defaults = { default = { temperature = 4.0, alpha = 0.3 } }" in text
