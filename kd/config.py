"""What goes into a training and what comes out of it: frozen values that import neither Keras nor TensorFlow.

The weight `alpha` belongs to the LABELS, as in the keras.io Distiller; others call 1 - alpha "alpha".
`LOSS_FORMULA` is therefore stored with every study and printed beside every result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the reading commands import this file, and start without numpy
    import numpy as np
    import numpy.typing as npt

LOSS_FORMULA = "alpha*CE(labels) + (1-alpha)*T^2*KL(teacher_T || student_T)"

# Here and not in kd.models.named, so that a typing error in a spec is found without importing Keras.
MODEL_NAMES = ("keras-teacher", "keras-student", "cnn-small", "cnn-small-narrow", "resnet20", "resnet8", "mlp-800")

# Images that an int8 conversion sees: the range of every activation of a network is read off them.
CALIBRATION = 200


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """One point of the search space.

    Args:
        temperature: finite and > 0; 1 leaves both distributions as they are.
        alpha: weight of the hard-label loss, in [0, 1]; 1 - alpha goes to the teacher.

    Raises:
        ValueError: one line with the value got and what is allowed.
    """

    temperature: float
    alpha: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):  # also refuses NaN
            raise ValueError(f"temperature must be finite and > 0, got {self.temperature!r}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], got {self.alpha!r}")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long and how fast to train: the same for every point of one search.

    Args:
        epochs: passes over the training images, >= 1.
        batch_size: images per step, >= 1; the last partial batch of an epoch is dropped.
        learning_rate: of Adam, finite and > 0.

    Raises:
        ValueError: one line with the value got and what is allowed.
    """

    epochs: int
    batch_size: int = 64
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate must be finite and > 0, got {self.learning_rate!r}")


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The outcome of one training.

    Args:
        val_accuracy: after the LAST epoch, a fraction in [0, 1]; never the best epoch's, which would be luckier.
        epoch_val_accuracy: after each epoch, in order.
        parameters: weights of the model, BatchNorm statistics included.
        train_images: images seen per epoch before the last partial batch is dropped.
        train_s: wall-clock seconds, validation included.
        cpu_s: CPU seconds of the process over the same span, all threads together.
        seed: of the initial weights, dropout and batch order.
    """

    val_accuracy: float
    epoch_val_accuracy: tuple[float, ...]
    parameters: int
    train_images: int
    train_s: float
    cpu_s: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class TeacherResult:
    """A trained teacher and what it says of its training images.

    Args:
        result: how the training went.
        logits: float32, shape (train_images, classes), in the order of the dataset's training images; with more than
            one view of each (views, train_images, classes).
        model: bytes of a .keras file, without the optimizer.
        provenance: as in `BaselineResult`, where it is one.
    """

    result: TrainResult
    logits: npt.NDArray[np.float32]
    model: bytes
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BaselineResult:
    """The outcome of a comparison method that is not distillation.

    Args:
        val_accuracy: a fraction in [0, 1].
        parameters: weights of the final model.
        train_images: images it was given to train on.
        train_s, cpu_s: wall-clock and CPU seconds.
        seed: what its randomness was seeded with.
        model: bytes of a .keras file.
        detail: what was done, in a few words, e.g. "frozen features, 96 px, uses ImageNet".
        capped: True when the wall-clock cap ended it and the best finished trial stands.
        provenance: what it was made from that the spec does not say, e.g. the hash of its pretrained weights.
        curve: of a search, after each of its trials (CPU seconds since the fit began, best validation accuracy so
            far); a trial that the cap cut short is in it only if it stands. Empty for a method without trials.
    """

    val_accuracy: float
    parameters: int
    train_images: int
    train_s: float
    cpu_s: float
    seed: int
    model: bytes
    detail: str
    capped: bool
    provenance: Mapping[str, str] = field(default_factory=dict)
    curve: tuple[tuple[float, float], ...] = ()
