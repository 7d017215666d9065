"""Compute the term of the loss "logit-standardization": "kd" of logits with mean 0 and standard deviation 1."""

from __future__ import annotations

from keras import ops

from kd.training.losses.description import Tensor
from kd.training.losses.hinton import soft_target_loss

EPSILON = 1e-7  # of the authors' code
_SMALLEST_VARIANCE = 1e-20  # the root has no gradient at 0; TensorFlow takes 0 there, other backends NaN


def term(labels: Tensor, teacher_logits: Tensor, student_logits: Tensor, *, temperature: Tensor) -> Tensor:
    """Return T^2*KL(teacher'_T || student'_T) with z' = (z - mean)/(sd + 1e-7) over the classes of each image.

    The student need not match the size of the teacher's logits, so T means the same for every teacher. The variance is
    divided by the number of classes; the authors' code divides by one less, so their T is T*sqrt(classes/(classes - 1))
    here: 5 % more for ten classes.

    Of two classes only their order is left, and no gradient: choose another loss there.

    The paper's 0.1*CE + 9*KD is this loss with alpha = 0.1/9.1, times 9.1; see `kd.training.losses.catalogue`.

    Args:
        labels: not used.
        teacher_logits, student_logits: float, shape (batch, classes), before softmax. Where all logits of an image are
            equal, its z' are 0: all classes are equally likely.
        temperature: scalar > 0, the paper's base temperature.

    Returns:
        Scalar >= 0, in nats: summed over classes, averaged over the batch. It does not change with positive multiples
        of either side's logits, nor with constants added to them.

    Raises:
        ValueError: the numbers of classes differ.

    Source: Sun et al. 2024, "Logit Standardization in Knowledge Distillation", arXiv:2403.01427, section 4.2.
    """
    return soft_target_loss(standardized(teacher_logits), standardized(student_logits), temperature)


def standardized(logits: Tensor) -> Tensor:
    """Return logits of shape (batch, classes) with mean 0 and standard deviation 1 over the classes of each image."""
    centred = logits - ops.mean(logits, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
    return centred / (ops.sqrt(ops.maximum(variance, _SMALLEST_VARIANCE)) + EPSILON)
