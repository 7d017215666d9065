"""Define the settings and results of trainings as frozen values, without importing Keras or TensorFlow.

`alpha` weighs the LABELS, as in the keras.io Distiller; many papers use alpha for the teacher's weight, which is
1 - alpha here. `LOSS_FORMULA` is therefore stored with every study and printed with every result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, SupportsFloat, TypeAlias, get_args

if TYPE_CHECKING:  # reading commands import this file, and start without NumPy
    import numpy as np
    import numpy.typing as npt

LOSS_FORMULA = "alpha*CE(labels) + (1-alpha)*T^2*KL(teacher_T || student_T)"

# Here and not in kd.models.named, so that a misspelt name in a spec is an error without importing Keras.
MODEL_NAMES = ("keras-teacher", "keras-student", "cnn-small", "cnn-small-narrow", "resnet20", "resnet8", "mlp-800")

Schedule: TypeAlias = Literal["constant", "cosine", "average"]

CALIBRATION = 200  # images from which an int8 conversion estimates the range of every activation


def check_positive(name: str, value: float) -> None:
    """Raise a ValueError unless the value is finite and > 0."""
    if not (isinstance(value, SupportsFloat) and math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be finite and > 0, got {value!r}")


def check_counts(settings: object, *names: str) -> None:
    """Raise a ValueError unless each of these settings is a whole number >= 1."""
    for name in names:
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """One point of the search space.

    Args:
        temperature: finite and > 0; 1 leaves both distributions as they are.
        alpha: weight of the hard-label loss, in [0, 1]; 1 - alpha goes to the teacher.
        own: the loss's own parameters as (name, finite value), kept in the order of their names; others have their
            defaults. The trainer checks that the loss has them.

    Raises:
        ValueError: one line with the invalid value and the allowed ones.
    """

    temperature: float
    alpha: float
    own: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)
        if not (isinstance(self.alpha, SupportsFloat) and 0 <= self.alpha <= 1):
            raise ValueError(f"alpha must be in [0, 1], got {self.alpha!r}")
        is_list = isinstance(self.own, (tuple, list))  # iterating a mapping would split its names into letters
        if not is_list or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in self.own):
            raise ValueError(f"own must be pairs (name, value), got {self.own!r}: write tuple(own.items())")
        for name, value in self.own:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value!r}")
        if len({name for name, _ in self.own}) < len(self.own):
            raise ValueError(f"own must name each parameter once, got {self.own!r}")
        object.__setattr__(self, "own", tuple(sorted((name, float(value)) for name, value in self.own)))


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The settings of a training that all points of one search share.

    Args:
        epochs: passes over the training images, >= 1.
        batch_size: images per step, >= 1; the last partial batch of an epoch is dropped.
        learning_rate: of Adam at the first step, finite and > 0.
        schedule: "constant" keeps the rate; "cosine" lowers it to 0 along half a cosine over the epochs; "average"
            keeps the rate and uses the exponential moving average of the weights instead of the last ones.
        average_steps: how far back that average reaches, >= 1: its momentum is 1 - 1 / average_steps.

    Raises:
        ValueError: one line with the invalid value and the allowed ones.
    """

    epochs: int
    batch_size: int = 64
    learning_rate: float = 1e-3
    schedule: Schedule = "constant"
    average_steps: int = 50

    def __post_init__(self) -> None:
        check_counts(self, "epochs", "batch_size", "average_steps")
        check_positive("learning_rate", self.learning_rate)
        if self.schedule not in get_args(Schedule):
            raise ValueError(f"schedule must be {', '.join(get_args(Schedule))}, got {self.schedule!r}")


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The result of one training.

    Args:
        val_accuracy: after the LAST epoch, a fraction in [0, 1]; the best epoch's would be partly luck.
        epoch_val_accuracy: after each epoch, in order; None where the model was not validated.
        parameters: weights of the model, BatchNorm statistics included.
        train_s: wall-clock seconds, validation included.
        cpu_s: CPU seconds of all threads of the process over the same span.
    """

    val_accuracy: float
    epoch_val_accuracy: tuple[float | None, ...] = ()
    parameters: int
    train_s: float
    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class TeacherResult:
    """A trained teacher and its logits of the training images.

    Args:
        result: accuracies and times of the training.
        logits: float32, shape (train_images, classes), in the order of the dataset's training images; with several
            views of each image (views, train_images, classes).
        model: bytes of a .keras file, without the optimizer.
        provenance: as in `BaselineResult`, for a teacher from a comparison method; otherwise empty.
    """

    result: TrainResult
    logits: npt.NDArray[np.float32]
    model: bytes
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BaselineResult(TrainResult):
    """The result of a comparison method, which is not distillation, without accuracies of epochs.

    Args:
        model: bytes of a .keras file.
        detail: a short description of the fit, e.g. "frozen features, 96 px, uses ImageNet".
        capped: whether the time limit ended the fit; the best finished trial is then the result.
        provenance: inputs that the spec does not name, e.g. the hash of the pretrained weights.
        curve: (CPU seconds since the start, best validation accuracy so far) after each trial of a search, an
            unfinished one only if it is the result; empty for a method without trials.
    """

    model: bytes
    detail: str
    capped: bool
    provenance: Mapping[str, str] = field(default_factory=dict)
    curve: tuple[tuple[float, float], ...] = ()
