"""Same spec, same answer: for any number of workers, on either database, under kills."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from storage.url import resolve
from sweeps.distill.presets import preset
from sweeps.query.listing import open_sweep
from sweeps.spec.model import Spec, override
from sweeps.spec.stored import stored_spec
from sweeps.usecases.create import SpecRequest, create_sweep, requested
from tests.support.faults.crews import NAME, Nursery
from tests.support.faults.storms import new_storm, storm, storm_spec, work_through
from tests.support.paths import REPOSITORY
from tests.support.sweeps.archived_sweeps import records
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.planted_sweeps import answer_of, work
from tests.support.sweeps.presets import before
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.trials_in_memory import trials_in_memory

# Answer hashes of the presets with rule 2, from one worker with the quadratic runner at commit dfc4004.
ANSWERS = {"tiny": "74df569643f8", "quick": "28cb8e8b5dc0", "compare": "9a303710dcc3", "full": "79c96af9aadf"}
# The same for the current presets, which declare rule 3.
ANSWERS_3 = {"tiny": "56101aa648a5", "quick": "a75b3ca6d9a6", "compare": "d827050218c3", "full": "85ed22eb8e77"}

QUICKLY = {
    "search.trials": 6,
    "search.lag": 2,
    "confirm.rounds": [[3, 1], [2, 1]],
    "outer.searches": 2,
    "outer.trials": 2,
    "outer.rounds": [[1, 1]],
    "outer.seeds": 1,
    "transfer.seeds": 1,
    "transfer.source_arms": ["best"],
    "transfer.target_arms": ["best", "native"],
}

# Real training, small in every number.
REAL = {
    "source.images": 256,
    "source.teacher_epochs": 2,
    "source.epochs": 3,
    "target.images": 256,
    "target.teacher_epochs": 2,
    "target.epochs": 3,
    "training.schedule": "average",
    "search.trials": 2,
    "search.sampler": "qmc",
    "confirm.rounds": [[1, 1]],
    "transfer.seeds": 1,
    "baselines.methods": [],
}


@pytest.mark.parametrize(("presets", "answers"), [(before, ANSWERS), (preset, ANSWERS_3)], ids=["rule 2", "rule 3"])
@pytest.mark.parametrize("name", ["tiny", "quick", "compare", pytest.param("full", marks=pytest.mark.slow)])
def test_a_preset_still_gives_its_recorded_answer(
    tmp_path: Path, name: str, presets: Callable[[str], Spec], answers: Mapping[str, str]
) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    with trials_in_memory():
        new_storm(url, presets(name))
        work(resolve(url), quadratic, name=NAME)
        assert answer_of(url, NAME) == answers[name]


def test_three_workers_give_the_answer_of_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    new_storm(url, preset("tiny"))
    with contextlib.closing(Nursery(url, task_s=0.0)) as crew:
        work_through(crew, workers=3)
    assert answer_of(url, NAME) == ANSWERS_3["tiny"]


@pytest.mark.parametrize("sampler", [pytest.param("qmc", marks=pytest.mark.slow), "tpe"])
@pytest.mark.slow_on("sqlite")
def test_kills_on_either_database_do_not_change_the_answer(storage_url: str, tmp_path: Path, sampler: str) -> None:
    alone, spec = f"sqlite:///{tmp_path}/alone.db", storm_spec(**QUICKLY, **{"search.sampler": sampler})
    for url in (alone, storage_url):
        new_storm(url, spec)
    work(resolve(alone), quadratic, name=NAME)
    with contextlib.closing(Nursery(storage_url)) as crew:
        assert storm(storage_url, crew, workers=4, seed=3).kills > 0
    assert answer_of(alone, NAME) == answer_of(storage_url, NAME) is not None


def _run(url: str, spec: Spec) -> None:
    create_sweep(resolve(url), NAME, spec)
    command = [sys.executable, "-m", "sweeps.cli", "launch", NAME, "--workers", "1", "--storage", url]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a storage with a finished sweep of real trainings; read only."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        _run(f"sqlite:///{folder}/s.db", override(preset("tiny"), REAL))
    return folder / "s.db"


@pytest.fixture
def trained(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a copy of that storage."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return f"sqlite:///{shutil.copy(finished, tmp_path / 's.db')}"


def _typed(url: str, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "sweeps.cli", *arguments, "--storage", url]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout, result.stderr


@pytest.mark.slow
def test_a_replay_gives_the_same_bits_and_finds_a_changed_score(trained: str) -> None:
    first = answer_of(trained, NAME)
    code, out, _ = _typed(trained, "replay", NAME, "--sample", "3")
    assert (code, out.count("identical")) == (0, 3)
    assert _typed(trained, "replay", NAME, "--task", "teachers#source")[0] == 0
    execute(trained, "UPDATE tasks SET score = score + 1e-15 WHERE key = 'search#1'")
    code, out, _ = _typed(trained, "replay", NAME, "--task", "search#1")
    assert code == 1
    assert "search#1" in out
    assert "score: " in out
    assert answer_of(trained, NAME) != first
    for wrong, message in (("nope", "has no such task"), ("measure#all", "belongs to stage measure")):
        code, _, err = _typed(trained, "replay", NAME, "--task", wrong)
        assert code == 1
        assert message in err.splitlines()[-1]


@pytest.mark.slow
def test_exported_logits_used_as_teachers_give_the_same_students(trained: str, tmp_path: Path) -> None:
    files = {role: tmp_path / f"{role}.npz" for role in ("source", "target")}
    for role, file in files.items():
        code, _, err = _typed(trained, "export", NAME, "--logits", role, "-o", str(file))
        assert code == 0, err
        assert "as a teacher: --teacher logits:" in err
    assert _typed(trained, "export", NAME, "--logits", "moon", "-o", str(tmp_path / "m.npz"))[0] == 2
    with open_sweep(trained, NAME) as (_, sweep):
        spec = stored_spec(sweep)
    # The file names its dataset, so --teacher knows the role.
    other = f"sqlite:///{tmp_path}/other.db"
    taught = {f"{role}.teacher": f"logits:{file}" for role, file in files.items()}
    base = requested(resolve(other), NAME, SpecRequest(spec, teacher=f"logits:{files['target']}"))
    assert base.target.teacher == f"logits:{files['target']}"
    assert base.source.teacher == spec.source.teacher
    _run(other, override(spec, taught))
    first, second = (
        {key: task.score for key, task in records(resolve(url), NAME).items() if task.stage != "measure"}
        for url in (trained, other)
    )
    assert first == second
    # A different file at that path is refused before any training.
    np.savez(files["source"], train_logits=np.zeros((3, 10), np.float32))
    code, _, err = _typed(other, "create", "again", "--preset", "tiny", "--teacher", f"logits:{files['source']}")
    assert code == 2
    assert "train_logits has 3 rows" in err
