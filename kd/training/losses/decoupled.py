"""Compute the term of the loss "dkd", which weighs the label's class and the others apart."""

from __future__ import annotations

from keras import ops

from kd.training.losses.description import Tensor
from kd.training.losses.hinton import check_classes

_NEVER = -1e9  # a logit whose probability is 0; -inf would give 0 * inf


def term(
    labels: Tensor,
    teacher_logits: Tensor,
    student_logits: Tensor,
    *,
    temperature: Tensor,
    target_weight: Tensor,
    nontarget_weight: Tensor,
) -> Tensor:
    """Return T^2*(target_weight*TCKD + nontarget_weight*NCKD).

    TCKD is the KL divergence of the two probabilities (label, any other class). NCKD is that of the other classes'
    probabilities, normalised without the label's; with two classes it is 0. With target_weight = 1 and nontarget_weight
    = 1 - the teacher's probability of the label, the sum is the term of "kd", image by image.

    The paper's CE + a*TCKD + b*NCKD is this loss with alpha = 0.5, target_weight = a and nontarget_weight = b, times 2;
    see `kd.training.losses.catalogue`. The paper's warm-up of the weights over 20 of 240 epochs is left out.

    Args:
        labels: integers, shape (batch,) or (batch, 1).
        teacher_logits, student_logits: float, shape (batch, classes), classes >= 2, before softmax.
        temperature: scalar > 0.
        target_weight, nontarget_weight: scalars >= 0.

    Returns:
        Scalar >= 0, in nats, averaged over the batch; 0 where student and teacher give the same probabilities.

    Raises:
        ValueError: the numbers of classes differ.

    Source: Zhao et al. 2022, "Decoupled Knowledge Distillation", arXiv:2203.08679, equations 5 to 7.
    """
    check_classes(teacher_logits, student_logits)
    is_label = label_mask(labels, student_logits)
    teacher_label, teacher_other, teacher_among = decoupled(is_label, teacher_logits / temperature)
    student_label, student_other, student_among = decoupled(is_label, student_logits / temperature)
    target = ops.exp(teacher_label) * (teacher_label - student_label)
    target = target + ops.exp(teacher_other) * (teacher_other - student_other)  # (batch, 1)
    nontarget = ops.sum(ops.exp(teacher_among) * (teacher_among - student_among), axis=-1)  # (batch,)
    return temperature**2 * (target_weight * ops.mean(target) + nontarget_weight * ops.mean(nontarget))


def label_mask(labels: Tensor, logits: Tensor) -> Tensor:
    """Return whether a class is the label of an image, bool, shape (batch, classes).

    Args:
        labels: integers, shape (batch,) or (batch, 1).
        logits: shape (batch, classes).
    """
    return ops.one_hot(ops.reshape(labels, (-1,)), logits.shape[-1], dtype="bool")


def decoupled(is_label: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return logarithms of probabilities: of the label, of all other classes together, and among those alone.

    Args:
        is_label: of `label_mask`.
        logits: float, shape (batch, classes), already divided by T.

    Returns:
        Shapes (batch, 1), (batch, 1) and (batch, classes). At the label the last is -1e9 or so, its exp exactly 0.
    """
    among = ops.where(is_label, _NEVER, logits)
    every = ops.logsumexp(logits, axis=-1, keepdims=True)
    label = ops.sum(ops.where(is_label, logits, 0.0), axis=-1, keepdims=True) - every
    other = ops.logsumexp(among, axis=-1, keepdims=True) - every
    return label, other, ops.log_softmax(among, axis=-1)
