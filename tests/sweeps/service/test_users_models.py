"""A user's models are built before a sweep is created, in a real child process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from storage.url import resolve
from sweeps.distill.freeze import check_users_models
from sweeps.distill.presets import preset
from sweeps.errors import SpecError
from sweeps.spec.model import override
from sweeps.usecases.create import create_sweep
from tests.support.processes import is_alive
from tests.support.sweeps.typed_commands import files

OWN = """
import os
import signal
from pathlib import Path
import keras

def build(input_shape, classes):
    print("built for", input_shape, classes)
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(classes)])

def frozen(input_shape, classes):
    model = build(input_shape, classes)
    model.trainable = False
    return model

def aborts(input_shape, classes):
    os.abort()

def needs_more(input_shape, classes):
    raise MemoryError

def is_killed(input_shape, classes):
    os.kill(os.getpid(), signal.SIGKILL)

def forks_and_prints(input_shape, classes):
    model = build(input_shape, classes)
    print("x" * 10_000_000)
    if (child := os.fork()):
        Path(__file__).with_name("child").write_text(str(child))
    return model
"""


@pytest.fixture(autouse=True)
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "own_models.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path / "theirs")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("teacher", "student", "message"),
    [
        ("own_models:build", "own_models:frozen", "target.student: model 'own_models:frozen' has nothing to train"),
        (
            "cnn-small",
            "own_models:aborts",
            "target.student: model 'own_models:aborts' cannot be built: the child process died of signal 6",
        ),
        pytest.param(
            "cnn-small",
            "own_models:is_killed",
            "target.student: model 'own_models:is_killed' cannot be built: the child process was killed; .* memory",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "cnn-small",
            "own_models:needs_more",
            "target.student: model 'own_models:needs_more' does not work with images of .*: MemoryError",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_first_model_that_is_unfit_is_named_with_its_key(teacher: str, student: str, message: str) -> None:
    spec = override(preset("tiny"), {"source.teacher": teacher, "target.student": student})
    with pytest.raises(SpecError, match=message) as error:
        check_users_models(spec)
    assert "\n" not in str(error.value)


@pytest.mark.processes
@pytest.mark.slow
def test_a_builder_that_forks_and_prints_is_taken_and_what_it_forked_ends(tmp_path: Path) -> None:
    check_users_models(override(preset("tiny"), {"target.student": "own_models:forks_and_prints"}))
    assert not is_alive(int((tmp_path / "theirs" / "child").read_text()))


@pytest.mark.processes
def test_create_refuses_it_in_one_line_and_leaves_nothing(
    kd_sweeps: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    before = files(tmp_path)
    code, out, err = kd_sweeps("create", "s", "--preset", "tiny", "--teacher", "os:abort")
    line = "kd-sweeps: source.teacher: model 'os:abort' is called as build(input_shape, classes), but takes ()"
    assert (code, out, err.splitlines()) == (2, "", [line])
    assert files(tmp_path) == before


def test_a_sweep_that_is_there_is_not_checked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = resolve(f"sqlite:///{tmp_path}/kd-sweeps.db")
    spec = override(preset("tiny"), {"target.student": "own_models:frozen"})
    with monkeypatch.context() as earlier:  # as an earlier version did, which took such a model
        earlier.setattr("sweeps.usecases.create.check_users_models", lambda *_, **__: None)
        assert create_sweep(url, "s", spec).new
    monkeypatch.setattr("sweeps.distill.freeze.run_in_subprocess", None)  # calling it would fail
    assert not create_sweep(url, "s", spec).new
    with pytest.raises(TypeError):
        create_sweep(url, "another", spec)


def test_a_spec_without_a_users_model_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.distill.freeze.run_in_subprocess", None)  # calling it would fail
    changes = {"source.teacher": "baseline:autokeras", "target.teacher": "nowhere.at.all:build"}
    check_users_models(override(preset("tiny"), changes))
