"""TensorFlow's checks of a user's losses and models at creation, and of GPUs by the doctor.

TensorFlow runs in this process. In a child process: tests/unit/sweeps/usecases/test_freeze.py.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.url import resolve
from sweeps.distill import doctor
from sweeps.distill.freeze import check_users_models
from sweeps.distill.presets import on, preset
from sweeps.distill.spec import formula
from sweeps.errors import SpecError
from sweeps.spec.model import Spec, override
from sweeps.usecases import create
from sweeps.usecases.doctor import examine
from tests.support.sweeps.in_process import jobs_in_process

pytestmark = pytest.mark.training

OWN = '''
import keras
from keras import ops


def absolute(labels, teacher_logits, student_logits, *, temperature, beta=2.0):
    """beta*|softmax(teacher/T) - softmax(student/T)|"""
    teacher, student = (ops.softmax(logits / temperature) for logits in (teacher_logits, student_logits))
    return beta * ops.sum(ops.abs(teacher - student), axis=-1)


def without_t(labels, teacher_logits, student_logits):
    return ops.mean((teacher_logits - student_logits) ** 2)


def vector(labels, teacher_logits, student_logits):
    return (teacher_logits - student_logits) ** 2


def build(input_shape, classes):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(classes)])


def frozen(input_shape, classes):
    model = build(input_shape, classes)
    model.trainable = False
    return model
'''


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Return the path of a file of losses and models."""
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return str(path)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(os, "dup2", lambda *_: None)  # a child discards its output; this process must not
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    with jobs_in_process("sweeps.distill.freeze"), jobs_in_process("sweeps.distill.doctor"):
        yield


def with_loss(loss: str, **changes: object) -> Spec:
    """Return a spec with a loss."""
    alone = override(on(preset("tiny"), source="digits", alone=True), {"baselines.methods": []})
    return override(alone, {"training.distillation": loss, **changes})


def test_a_loss_in_a_file_is_frozen_with_its_parameters_and_its_hash(file: str) -> None:
    spec = create.freeze(with_loss(f"{file}:absolute", **{"search.space": {"beta": [1, 4]}}))
    assert spec.training.loss_parameters == {"beta": 2.0}
    assert list(spec.code) == [file]
    assert formula(spec.training.distillation).endswith(f"term: {file}:absolute")
    assert create.freeze(spec) == spec
    assert create.freeze(with_loss(f"{file}:without_t")).search.temperature == (1.0, 1.0)


@pytest.mark.parametrize(
    ("function", "changes", "line"),
    [
        ("vector", {}, "mean over images yourself, or return one value per image"),
        ("absolute", {"search.space": {"gamma": [1, 2]}}, "has no parameter 'gamma'; it has beta"),
    ],
)
def test_an_untrainable_loss_is_one_line_and_nothing_is_written(
    function: str, changes: dict[str, object], line: str, file: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as error:
        create.create_sweep(resolve(f"sqlite:///{tmp_path}/s.db"), "s", with_loss(f"{file}:{function}", **changes))
    assert line in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "s.db").exists()


def test_the_first_model_that_is_unfit_is_named_with_its_key(file: str) -> None:
    spec = override(preset("tiny"), {"source.teacher": f"{file}:build", "target.student": f"{file}:frozen"})
    with pytest.raises(SpecError, match=f"target.student: model '{file}:frozen' has nothing to train") as error:
        check_users_models(spec)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("hidden", "cure"), [(None, "pip install 'tensorflow[and-cuda]'"), ("", "CUDA_VISIBLE_DEVICES is ''")]
)
def test_a_gpu_that_tensorflow_does_not_see_is_a_warning_with_the_remedy(
    hidden: str | None, cure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if doctor.gpu_files():
        pytest.skip("this machine has a GPU that TensorFlow may see")
    monkeypatch.setattr(doctor, "gpu_files", lambda: [Path("/dev/nvidia0")])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    (check,) = [check for check in examine(resolve(f"sqlite:///{tmp_path}/a.db"), None) if check.name == "gpu"]
    assert check.level == "warn"
    assert "/dev/nvidia0 is here, but TensorFlow sees no GPU" in check.text
    assert cure in check.text
