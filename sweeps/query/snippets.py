"""Write a point as code to paste: for kd.Distiller, and with the loss kd for Keras' own distiller and PyTorch, too.

All three are then kd.config.LOSS_FORMULA. Where they are written differently:

- Keras multiplies by T^2 itself, but only for a `KLDivergence` instance; its default, the string "kl_divergence",
  compares raw logits (Keras 3.15.1). It clips probabilities at 1e-7, which shows at low temperatures only: for a
  teacher and a student of MNIST its loss was 0.01 % smaller at T = 1 and the same from T = 2 on.
- In PyTorch alpha mostly weighs the teacher: it is 1 - alpha. Only reduction="batchmean" is the KL of one image.

Source: https://keras.io/api/distillation/;
https://github.com/haitongli/knowledge-distillation-pytorch, model/net.py, `loss_fn_kd`.
"""

from collections.abc import Mapping

from sweeps.spec.further import TRAINED
from sweeps.spec.point import Point

_KD = """\
# kd
import kd

distiller = kd.Distiller(student=student, teacher=teacher, temperature={temperature!r}, alpha={alpha!r}{loss})
distiller.compile("adam", metrics=["accuracy"])
"""

_KERAS = """\
# Keras' own; the same loss while no probability at T is under 1e-7, where Keras clips
import keras

distiller = keras.distillation.Distiller(
    student=student,
    teacher=teacher,
    # not "kl_divergence", the default: that string compares raw logits, without softmax and T^2
    distillation_losses=keras.distillation.LogitsDistillation(
        temperature={temperature!r}, loss=keras.losses.KLDivergence()
    ),
    student_loss_weight={alpha!r},
)
distiller.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
"""

_PYTORCH = """\
# PyTorch, as it is mostly written: this alpha weighs the teacher, 1 - {alpha!r}
import torch.nn.functional as F

T, alpha = {temperature!r}, {teacher_weight!r}
soft = F.kl_div(F.log_softmax(student_logits / T, dim=1), F.softmax(teacher_logits / T, dim=1), reduction="batchmean")
loss = alpha * T * T * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)
"""


def snippets(point: Point, *, loss: str, own: Mapping[str, float]) -> dict[str, str]:
    """Return Python source by library: "kd", "keras", "pytorch". The point stands in it with every digit.

    Another loss than kd is in kd alone. What was tuned of the training stands above it.

    `student` and `teacher` are Keras models that give logits; `student_logits` and `teacher_logits` are float
    tensors of shape (batch, classes), `labels` integers of shape (batch,).

    Args:
        point: T, alpha, and what else was searched.
        loss: its name in the spec.
        own: the loss's own parameters that are fixed.
    """
    searched = {name: value for name, value in point.more if name not in TRAINED}
    values = tuple(sorted({**own, **searched}.items()))
    named = "" if loss == "kd" else f", loss={loss!r}, own={values!r}"
    filled = {"temperature": point.temperature, "alpha": point.alpha, "teacher_weight": 1 - point.alpha, "loss": named}
    texts = {"kd": _KD} if loss != "kd" else {"kd": _KD, "keras": _KERAS, "pytorch": _PYTORCH}
    trained = ", ".join(f"{name}={value!r}" for name, value in point.more if name in TRAINED)
    above = f"# tuned with {trained}\n" if trained else ""
    return {name: above + text.format(**filled).rstrip() for name, text in texts.items()}
