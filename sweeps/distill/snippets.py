"""Write a point as code for kd, Keras, PyTorch, timm, torchdistill, ModelOpt and TRL.

Each snippet computes kd.config.LOSS_FORMULA, except where a comment names a limit of the library. The libraries differ:

- Keras multiplies by T^2 itself, but only for a `KLDivergence` instance; its default, the string "kl_divergence",
  compares raw logits (Keras 3.15.1). It clips probabilities at 1e-7, which matters at low temperatures only: for a
  teacher and a student of MNIST its loss was 0.01 % smaller at T = 1 and the same from T = 2 on.
- In PyTorch, alpha usually weighs the teacher: it is 1 - alpha. Only reduction="batchmean" is the KL of one image.
- timm's weight is the labels'; its train.py smooths labels by 0.1 by default.
- torchdistill's alpha is this one, but at alpha = 0 its loss has no T^2.
- ModelOpt's weight is the teacher's; its default reduction, "mean", divides by the number of classes as well.
- TRL trains on the teacher alone, without T^2, and beta = 0 is KL(teacher || student).

Source: https://keras.io/api/distillation/; https://github.com/haitongli/knowledge-distillation-pytorch, model/net.py,
`loss_fn_kd`; timm 1.0.31, timm/task/distillation.py, `LogitDistillationTask`, and train.py of 2026-08-08; torchdistill
1.1.5, torchdistill/losses/mid_level.py, `KDLoss`; nvidia-modelopt 0.47.0, modelopt/torch/distill/losses.py and
loss_balancers.py; trl 1.16.0, trl/trainer/distillation_config.py and trl/kernels/chunked_divergence.py.
"""

from collections.abc import Mapping

from sweeps.distill.space import TRAINING_PARAMS, of_training
from sweeps.trainers.protocol import Point, Value

_KD = """\
# kd
{keras}import kd

distiller = kd.Distiller(student=student, teacher=teacher, temperature={temperature!r}, alpha={alpha!r}{loss})
{made}distiller.compile({adam}, metrics=["accuracy"])
{fit}"""

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
{made}distiller.compile({adam}, loss={labels_loss}, metrics=["accuracy"])
{fit}"""

_LABELS_LOSS = "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"

_PYTORCH = """\
# PyTorch, as it is mostly written: this alpha weighs the teacher, 1 - {alpha!r}
{torch}import torch.nn.functional as F

{torch_training}T, alpha = {temperature!r}, {teacher_weight!r}
soft = F.kl_div(F.log_softmax(student_logits / T, dim=1), F.softmax(teacher_logits / T, dim=1), reduction="batchmean")
loss = alpha * T * T * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)
"""

_TIMM = """\
# timm: task_loss_weight is alpha; with train.py of timm:
# --kd-model-name TEACHER --kd-temperature {temperature!r} --task-loss-weight {alpha!r} --smoothing 0
import torch
from timm.task import LogitDistillationTask

task = LogitDistillationTask(
    student_model=student,
    teacher_model=teacher,
    criterion=torch.nn.CrossEntropyLoss(),
    task_loss_weight={alpha!r},
    temperature={temperature!r},
)
loss = task(images, labels)["loss"]
"""

_TORCHDISTILL = """\
# torchdistill: alpha is the same{without_labels}
from torchdistill.losses.mid_level import KDLoss

criterion = KDLoss(
    student_module_path=".",
    student_module_io="output",
    teacher_module_path=".",
    teacher_module_io="output",
    temperature={temperature!r},
    alpha={alpha!r},
)
"""

_MODELOPT = """\
# ModelOpt: kd_loss_weight is 1 - {alpha!r}; its default reduction divides by the classes as well
import modelopt.torch.distill as mtd
import torch.nn.functional as F

distillation = {{
    "teacher_model": teacher,
    "criterion": mtd.LogitsDistillationLoss(temperature={temperature!r}, reduction="batchmean"),
    "loss_balancer": mtd.StaticLossBalancer(kd_loss_weight={teacher_weight!r}),
}}
distiller = mtd.convert(student, mode=[("kd_loss", distillation)])
loss = distiller.compute_kd_loss(student_loss=F.cross_entropy(distiller(images), labels))
"""

_TRL = """\
# TRL: alpha is 0 there, and the factor T^2 is missing: SGD needs T^2 times the learning rate
from trl import DistillationConfig

config = DistillationConfig(temperature={temperature!r}, beta=0.0)
"""

_NOT_TRL = """\
# TRL: not this point; it trains on the teacher alone, alpha = 0, and here alpha is {alpha!r}
"""

_TEXTS = {
    "kd": _KD,
    "keras": _KERAS,
    "pytorch": _PYTORCH,
    "timm": _TIMM,
    "torchdistill": _TORCHDISTILL,
    "modelopt": _MODELOPT,
}
NAMES = {"keras": "Keras", "pytorch": "PyTorch", "modelopt": "ModelOpt", "trl": "TRL"}
"""The names of libraries that differ from their keys."""


def snippets(point: Point, *, loss: str, own: Mapping[str, float]) -> dict[str, str]:
    """Return Python source by library, such as "kd" and "pytorch", with every digit of the point.

    Only kd has other losses than "kd". A comment lists the tuned settings of the training, which the code uses.

    `student` and `teacher` are Keras models that return logits; `student_logits` and `teacher_logits` are float tensors
    of shape (batch, classes), `labels` integers of shape (batch,). If epochs or batch_size were tuned, `images` and
    `labels` are the arrays to train on, in PyTorch a `dataset` of them. In PyTorch, `student` and `teacher` are
    modules, for timm its own models; timm and ModelOpt get the `images` and `labels` of a batch.
    """
    temperature, alpha = point["temperature"], point["alpha"]
    more = {name: value for name, value in point.values if name not in ("temperature", "alpha")}
    searched = {name: value for name, value in more.items() if name not in TRAINING_PARAMS}
    values = tuple(sorted({**own, **searched}.items()))
    named = "" if loss == "kd" else f", loss={loss!r}, own={values!r}"
    tuned = of_training(point)
    filled = {
        "temperature": temperature,
        "alpha": alpha,
        "teacher_weight": 1 - alpha,
        "loss": named,
        "without_labels": "" if alpha else "; at alpha = 0 its loss has no T^2: SGD needs T^2 times the learning rate",
    }
    texts = {"kd": _KD} if loss != "kd" else {**_TEXTS, "trl": _NOT_TRL if alpha else _TRL}
    above = f"# tuned with {_arguments(tuned)}\n" if tuned else ""
    return {name: above + text.format(**filled, **_training(tuned)).rstrip() for name, text in texts.items()}


def _training(tuned: Mapping[str, Value]) -> dict[str, str]:
    """Return the parts of the code for the tuned settings of the training; users set the others."""
    rate = tuned.get("learning_rate")
    fit = {name: tuned[name] for name in ("batch_size", "epochs") if name in tuned}
    lines = []
    if rate is not None:  # epsilon as in Keras, where the rate was tuned: PyTorch's own default is 1e-8
        lines.append(f"optimizer = torch.optim.Adam(student.parameters(), lr={rate!r}, eps=1e-7)")
    if "batch_size" in tuned:
        size = tuned["batch_size"]
        lines.append(f"loader = torch.utils.data.DataLoader(dataset, batch_size={size!r}, shuffle=True)")
    if "epochs" in tuned:
        lines.append(f"epochs = {tuned['epochs']!r}")
    return {
        "keras": "" if rate is None else "import keras\n",
        "labels_loss": _LABELS_LOSS,
        "made": "" if rate is None else f"optimizer = keras.optimizers.Adam({rate!r})\n",
        "adam": '"adam"' if rate is None else "optimizer",
        "fit": f"distiller.fit(images, labels, {_arguments(fit)})\n" if fit else "",
        "torch": "" if rate is None and "batch_size" not in tuned else "import torch\n",
        "torch_training": "".join(f"{line}\n" for line in lines),
    }


def _arguments(values: Mapping[str, Value]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())
