"""What a worker needs beside the storage, and whether this machine has it."""

from pathlib import Path

import pytest
import sqlalchemy

from sweeps.distill.freeze import requirements
from sweeps.distill.presets import preset
from sweeps.spec.model import Spec, override
from sweeps.usecases.doctor import examine
from tests.support.sweeps.planted_sweeps import work
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL, created
from tests.support.sweeps.trials_in_memory import trials_in_memory
from tests.support.sweeps.typed_commands import write_npz

ALONE = override(preset("tiny"), {"baselines.methods": []})


def _found(spec: Spec) -> list[tuple[str, bool]]:
    return [(need.what, need.here) for need in requirements(spec)]


def test_datasets_by_name_and_own_networks_need_nothing() -> None:
    assert _found(ALONE) == []


@pytest.mark.parametrize(
    ("key", "value", "what", "here"),
    [
        ("source.student", "my_models:build", "module my_models", False),
        ("source.teacher", "collections.abc:build", "module collections.abc", True),
        ("search.sampler", "no.such.module:make", "module no.such.module", False),
        ("target.dataset", "/no/such/mine.npz", "/no/such/mine.npz", False),
        ("target.teacher", "logits:/no/such/logits.npz", "/no/such/logits.npz", False),
    ],
)
def test_what_is_the_users_own_is_named_and_looked_for(key: str, value: str, what: str, here: bool) -> None:
    assert _found(override(ALONE, {key: value})) == [(what, here)]


def test_a_module_of_several_roles_is_named_once_and_a_file_that_is_here_is_found(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "mine.npz")
    spec = override(
        ALONE,
        {"source.dataset": str(path), "source.student": "mine:build", "target.student": "mine:other"},
    )
    assert _found(spec) == [("module mine", False), (str(path), True)]


def test_pretrained_networks_of_methods_and_teachers_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("KERAS_HOME", "KD_SWEEPS_WEIGHTS", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    spec = override(
        ALONE,
        {"baselines.methods": ["autokeras", "mobilenet-tuned"], "source.teacher": "pretrained:MobileNetV2"},
    )
    assert _found(spec) == [("ImageNet weights of mobilenet, mobilenetv2", False)]


def test_doctor_says_what_the_unfinished_sweeps_of_the_storage_need_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"sqlite:///{tmp_path}/a.db"
    (tmp_path / "my_model.py").touch()
    monkeypatch.setattr("sweeps.usecases.create.check_users_models", lambda *_, **__: None)  # nothing is built here
    with trials_in_memory(), monkeypatch.context() as elsewhere:
        elsewhere.syspath_prepend(str(tmp_path))
        for name, student in (("plain", "cnn-small"), ("own", "my_model:build"), ("ended", "my_model:build")):
            url = created(text, override(SMALL, {"baselines.methods": [], "source.student": student}), name=name)
        work(url, quadratic, name="ended")
        assert _said(url) == [("own", "ok", "needs module my_model: here")]
    assert _said(url) == [("own", "warn", "needs module my_model on its PYTHONPATH: not here")]


def _said(url: sqlalchemy.URL) -> list[tuple[str, str, str]]:
    return [(one.name, one.level, one.text) for one in examine(url, None) if one.name in ("plain", "own", "ended")]
