"""Compute the term of the loss "mse": the student's logits match the teacher's."""

from __future__ import annotations

from keras import ops

from kd.training.losses.description import Tensor
from kd.training.losses.hinton import check_classes


def term(labels: Tensor, teacher_logits: Tensor, student_logits: Tensor, *, temperature: Tensor) -> Tensor:
    """Return the mean of (student - teacher)^2 over classes and images.

    At T -> infinity the term of "kd" is half of this, of logits from which their mean over the classes is taken (Hinton
    et al. 2015, section 2.1). A paper's a*CE + b*MSE is this loss with alpha = a/(a+b); Kim et al. train with a = 0.

    Args:
        labels: not used.
        teacher_logits, student_logits: float, shape (batch, classes), before softmax.
        temperature: not used: a spec cannot search what changes nothing.

    Returns:
        Scalar >= 0, in squared logits; 0 exactly where the logits are equal.

    Raises:
        ValueError: the numbers of classes differ.

    Source: Kim et al. 2021, "Comparing Kullback-Leibler Divergence and Mean Squared Error Loss in Knowledge
    Distillation", arXiv:2105.08919, section 3.
    """
    check_classes(teacher_logits, student_logits)
    return ops.mean(ops.square(student_logits - teacher_logits))
