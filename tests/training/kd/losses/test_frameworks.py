"""Losses in the tensors of Keras, TensorFlow, PyTorch and JAX: their values, their gradients, 16-bit floats.

PyTorch and JAX are not packages of this project; where they are not installed, their tests are skipped.
"""

from importlib.util import find_spec
from pathlib import Path

import pytest

from kd.losses.check import Checked, Request, check

KERAS = """\
import keras
from keras import ops
from kd.losses.loss import distillation_loss, soft_target_loss


def own(labels, teacher_logits, student_logits, temperature, alpha):
    logits = {"teacher_logits": teacher_logits, "student_logits": student_logits}
    return distillation_loss(labels=labels, **logits, temperature=temperature, alpha=alpha)


def string(student_logits, teacher_logits):
    return keras.distillation.LogitsDistillation(temperature=3.0).compute_loss(teacher_logits, student_logits)


class Loss(keras.losses.Loss):
    def __init__(self, temperature):
        super().__init__()
        self.temperature = temperature

    def call(self, y_true, y_pred):
        return self.temperature**2 * keras.losses.kl_divergence(
            ops.softmax(y_true / self.temperature), ops.softmax(y_pred / self.temperature)
        )


def blocked(teacher, student, temperature):
    return soft_target_loss(teacher, ops.stop_gradient(student), temperature)


def one_hot(labels, teacher, student, T, alpha):
    return alpha * ops.mean(ops.categorical_crossentropy(labels, student, from_logits=True)) + (
        1 - alpha
    ) * soft_target_loss(teacher, student, T)
"""

TORCH = """\
import torch
import torch.nn.functional as F
from torch import nn


def loss_fn_kd(outputs, labels, teacher_outputs, T, alpha):
    soft = F.kl_div(F.log_softmax(outputs / T, dim=1), F.softmax(teacher_outputs / T, dim=1), reduction="batchmean")
    return alpha * T * T * soft + (1 - alpha) * F.cross_entropy(outputs, labels)


def default(outputs, labels, teacher_outputs, T, alpha):
    soft = nn.KLDivLoss()(F.log_softmax(outputs / T, dim=1), F.softmax(teacher_outputs / T, dim=1))
    return alpha * T * T * soft + (1 - alpha) * F.cross_entropy(outputs, labels)


def probabilities(student, teacher):
    return F.kl_div(F.softmax(student, dim=1), F.softmax(teacher, dim=1), reduction="batchmean")


def raw(student, teacher):
    return F.kl_div(F.log_softmax(student, dim=1), teacher, reduction="batchmean")


def detached(outputs, labels, teacher_outputs, T, alpha):
    return loss_fn_kd(outputs, labels, teacher_outputs.detach(), T, alpha)


def blocked(student, teacher, T):
    student = student.detach() + 0 * student
    return T * T * F.kl_div(F.log_softmax(student / T, 1), F.softmax(teacher / T, 1), reduction="batchmean")


class Module(nn.Module):
    def __init__(self, temp, alpha):
        super().__init__()
        self.temp, self.alpha = temp, alpha

    def forward(self, y_s, y_t, target):
        return loss_fn_kd(y_s, target, y_t, self.temp, self.alpha)


instance = Module(4.0, 0.9)
"""

JAX = """\
import jax
import jax.numpy as jnp


@jax.jit
def loss(student_logits, teacher_logits, labels, temperature, alpha):
    log_student = jax.nn.log_softmax(student_logits / temperature)
    log_teacher = jax.nn.log_softmax(jax.lax.stop_gradient(teacher_logits) / temperature)
    soft = jnp.sum(jnp.exp(log_teacher) * (log_teacher - log_student), axis=-1)
    hard = -jnp.take_along_axis(jax.nn.log_softmax(student_logits), labels[:, None], axis=-1)[:, 0]
    return alpha * jnp.mean(hard) + (1 - alpha) * temperature**2 * jnp.mean(soft)


def low(student, teacher, temperature):
    student, teacher = (jax.nn.log_softmax(logits.astype(jnp.bfloat16) / temperature) for logits in (student, teacher))
    return temperature**2 * jnp.mean(jnp.sum(jnp.exp(teacher) * (teacher - student), axis=-1))
"""

FLOWS = "a gradient flows into the teacher, too: freeze it, or detach its logits"


def _checked(folder: Path, source: str, name: str, arguments: str = "", **values: float) -> Checked:
    file = folder / "mine.py"
    file.write_text(source, encoding="utf-8")
    return check(Request(f"{file}:{name}", dict(item.split("=") for item in arguments.split()), **values))


@pytest.mark.parametrize("name", ["own", "one_hot"])
def test_the_projects_loss_passes_in_value_and_gradient(tmp_path: Path, name: str) -> None:
    loss = _checked(tmp_path, KERAS, name, temperature=3.0, alpha=0.3)
    assert (loss.framework, loss.verdict, loss.weighs, loss.faults) == ("tensorflow", "right", "labels", {})
    assert loss.same is not None
    assert (loss.same.temperature, loss.same.alpha, loss.same.factor) == pytest.approx((3.0, 0.3, 1.0))
    assert loss.gradient_difference is not None
    assert loss.gradient_difference < 1e-6
    assert FLOWS in loss.notes


def test_keras_string_is_a_divergence_of_raw_logits(tmp_path: Path) -> None:
    loss = _checked(tmp_path, KERAS, "string")
    assert {"teacher-softmax-missing", "student-softmax-missing", "no-t-squared"} <= set(loss.faults)


def test_a_keras_loss_class_is_built_for_each_temperature_and_its_clipping_is_accepted(tmp_path: Path) -> None:
    loss = _checked(tmp_path, KERAS, "Loss", "teacher=y_true student=y_pred")
    assert (loss.verdict, loss.loss) == ("right", "kd")


def test_a_loss_without_a_gradient_is_faulty(tmp_path: Path) -> None:
    loss = _checked(tmp_path, KERAS, "blocked")
    assert list(loss.faults) == ["gradient"]
    assert loss.gradient_difference == pytest.approx(1.0)


torch = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
jax = pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")


@torch
@pytest.mark.parametrize(
    ("name", "faults"),
    [
        ("loss_fn_kd", []),
        ("Module", []),
        ("instance", []),
        ("detached", []),
        ("default", ["by-classes"]),
        ("probabilities", ["student-log-missing"]),
        ("blocked", ["gradient"]),
    ],
)
def test_losses_of_pytorch(tmp_path: Path, name: str, faults: list[str]) -> None:
    loss = _checked(tmp_path, TORCH, name)
    assert (loss.framework, list(loss.faults)) == ("torch", faults)
    assert (FLOWS in loss.notes) == (name != "detached")
    if not faults:
        assert loss.same is not None
        assert (loss.same.temperature, loss.same.alpha) == pytest.approx((4.0, 0.1))
        assert any("bfloat16" in note for note in loss.notes) or name == "instance"


@torch
def test_kl_div_of_raw_logits_is_nan_and_the_message_says_what_it_takes(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"not finite on plain logits: nan; F\.kl_div takes log_softmax of the student"):
        _checked(tmp_path, TORCH, "raw")


@jax
def test_losses_of_jax(tmp_path: Path) -> None:
    loss = _checked(tmp_path, JAX, "loss")
    assert (loss.framework, loss.verdict, loss.weighs, FLOWS in loss.notes) == ("jax", "right", "labels", False)
    low = _checked(tmp_path, JAX, "low")
    assert "imprecise" in low.faults
