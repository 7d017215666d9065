"""Code files in a spec: stored by hash, and checked where they are used."""

import hashlib
from pathlib import Path

import pytest

from kd.errors import NotHere
from storage.records import queries
from storage.url import resolve
from sweeps.distill.presets import preset
from sweeps.errors import SpecError
from sweeps.query.listing import open_sweep
from sweeps.spec import stored
from sweeps.spec.model import Spec, override
from sweeps.spec.stored import check_code, frozen_code, named_code, stored_spec
from sweeps.usecases.create import create_sweep
from sweeps.workers.attempt import MACHINE, class_of
from tests.support.sweeps.planted_sweeps import worked
from tests.support.sweeps.small_sweeps import SMALL

MAKE = """
import optuna

def make(seed):
    return optuna.samplers.RandomSampler(seed=seed)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(MAKE)
    return path


def frozen(spec: Spec) -> Spec:
    return override(spec, frozen_code(spec))


def test_every_key_with_user_code_is_listed() -> None:
    changes = {
        "search.sampler": "a.b:make",
        "source.dataset": "./data.py:load",
        "source.teacher": "./models.py:big",
        "source.student": "models:small",
        "target.teacher": "logits:/a/b.npz",
    }
    assert dict(named_code(override(preset("tiny"), changes))) == {
        key: value for key, value in changes.items() if key != "target.teacher"
    }


def test_a_spec_keeps_absolute_paths_and_one_hash_for_each_file(file: Path) -> None:
    spec = frozen(override(preset("tiny"), {"search.sampler": "./mine.py:make", "source.student": "./mine.py:build"}))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert spec.code == {str(file): digest}
    assert (spec.search.sampler, spec.source.student) == (f"{file}:make", f"{file}:build")
    assert spec.target.student == "keras-student"
    assert frozen(spec) == spec
    check_code(spec)


def test_a_spec_with_code_survives_toml(file: Path, tmp_path: Path) -> None:
    spec = frozen(override(preset("tiny"), {"source.student": "./mine.py:build"}))
    (tmp_path / "spec.toml").write_text(stored.to_toml(spec))
    assert stored.read(tmp_path / "spec.toml") == spec


def test_a_worker_with_another_file_or_none_stops_without_an_attempt(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = frozen(override(preset("tiny"), {"source.student": "./mine.py:build"}))
    file.write_text("other = 1")
    with pytest.raises(
        NotHere, match=r"mine\.py here has sha256 .* the sweep was created with .*KD_SWEEPS_CODE"
    ) as changed_error:
        check_code(spec)
    file.unlink()
    with pytest.raises(NotHere, match=r"cannot read .*mine\.py: No such file") as missing_error:
        check_code(spec)
    assert [class_of(error.value) for error in (changed_error, missing_error)] == [MACHINE, MACHINE]
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text(MAKE)
    monkeypatch.setenv("KD_SWEEPS_CODE", str(tmp_path / "code"))
    check_code(spec)


def test_a_spec_with_the_hash_of_another_file_is_refused(file: Path) -> None:
    spec = override(preset("tiny"), {"source.student": f"{file}:build", "code": {str(file): "0" * 64}})
    with pytest.raises(SpecError, match=r"mine\.py here has sha256 .* the spec says 000000000000; remove the line"):
        frozen_code(spec)


def test_hashes_of_code_no_longer_named_are_removed(file: Path) -> None:
    assert frozen(override(preset("tiny"), {"code": {str(file): "0" * 64}})).code == {}


@pytest.mark.parametrize("digest", ["", "xyz", "0" * 63, "A" * 64])
def test_a_hash_has_64_digits(digest: str) -> None:
    with pytest.raises(SpecError, match="code"):
        override(preset("tiny"), {"code": {"/a/b.py": digest}})


def test_a_sampler_from_a_file_proposes_the_points_of_a_search(file: Path, tmp_path: Path, in_memory: None) -> None:
    spec = override(SMALL, {"search.sampler": "./mine.py:make", "baselines.methods": []})
    url = worked(f"sqlite:///{tmp_path}/a.db", spec, stop_at="confirm")
    with open_sweep(url.render_as_string(), "s") as (engine, sweep):
        assert stored_spec(sweep).search.sampler == f"{file}:make"
        done = [task for task in queries.task_records(engine, sweep.id, phase="search") if task.state == "done"]
        assert len({task.params["temperature"] for task in done if task.params}) == spec.search.trials
    file.write_text("def make(seed):\n    return 3\n")
    with pytest.raises(SpecError, match=r"it returned 3, not an optuna\.samplers\.BaseSampler"):
        create_sweep(resolve(f"sqlite:///{tmp_path}/b.db"), "s", spec)
