"""Compute the term of the loss "nkd", whose other classes are normalised without the label."""

from __future__ import annotations

from keras import ops

from kd.training.losses.decoupled import decoupled, label_mask
from kd.training.losses.description import Tensor
from kd.training.losses.hinton import check_classes


def term(
    labels: Tensor, teacher_logits: Tensor, student_logits: Tensor, *, temperature: Tensor, gamma: Tensor
) -> Tensor:
    """Return -t[label]*log(s[label]) - gamma*T^2 * sum over the other classes of N(t)_T * log(N(s)_T).

    N normalises the probabilities of the other classes to the sum 1, softened by T; t and s are not softened. Both
    parts are cross entropies: the second is least where N(s) = N(t), at gamma*T^2 times the entropy of N(t); the first
    falls to 0 as s[label] goes to 1. So a student that equals its teacher is not at the minimum: the gradient there is
    t[label]*(s - one-hot label), divided by the number of images.

    The paper's CE plus this is this loss with alpha = 0.5, times 2; see `kd.training.losses.catalogue`. The authors'
    code sums over all classes, since its mask is of ones throughout; this is the sum of the paper.

    Args:
        labels: integers, shape (batch,) or (batch, 1).
        teacher_logits, student_logits: float, shape (batch, classes), classes >= 2, before softmax. With two classes
            the second part is 0.
        temperature: scalar > 0, the paper's lambda.
        gamma: scalar >= 0.

    Returns:
        Scalar >= 0, in nats, averaged over the batch.

    Raises:
        ValueError: the numbers of classes differ.

    Source: Yang et al. 2023, "From Knowledge Distillation to Self-Knowledge Distillation", arXiv:2303.13005.
    """
    check_classes(teacher_logits, student_logits)
    is_label = label_mask(labels, student_logits)
    teacher_label = decoupled(is_label, teacher_logits)[0]
    student_label = decoupled(is_label, student_logits)[0]
    teacher_among = decoupled(is_label, teacher_logits / temperature)[2]
    student_among = ops.where(is_label, 0.0, decoupled(is_label, student_logits / temperature)[2])
    target = -ops.exp(teacher_label) * student_label  # (batch, 1)
    nontarget = -ops.sum(ops.exp(teacher_among) * student_among, axis=-1)  # (batch,)
    return ops.mean(target) + gamma * temperature**2 * ops.mean(nontarget)
