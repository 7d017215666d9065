"""Compute the term of the loss "dist", which asks for the teacher's relations instead of its probabilities."""

from __future__ import annotations

from keras import ops

from kd.training.losses.description import Tensor
from kd.training.losses.hinton import check_classes

# Of numbers of which the largest is 1; float32 rounds at 6e-8. What varies less than its root, 1e-6, is constant.
_SMALLEST_VARIANCE = 1e-12


def term(
    labels: Tensor,
    teacher_logits: Tensor,
    student_logits: Tensor,
    *,
    temperature: Tensor,
    inter_weight: Tensor,
    intra_weight: Tensor,
) -> Tensor:
    """Return T^2*(inter_weight*(1 - r over classes) + intra_weight*(1 - r over the batch)).

    r is Pearson's correlation of the student's and the teacher's softened probabilities: over the classes of each
    image, averaged over the images, and over the images of a batch, averaged over the classes. So the term depends on
    which images share a batch.

    Where the teacher's probabilities do not vary there is no correlation, and 1 - r counts as 0, without a gradient:
    a class that is as likely on every image of the batch, every class in a batch of one image, and a teacher without
    preference. Where only the student's do not vary, r counts as 0.

    The paper's CE + b*inter + c*intra is this loss with alpha = 0.5, inter_weight = b and intra_weight = c, times 2;
    see `kd.training.losses.catalogue`.

    Args:
        labels: not used.
        teacher_logits, student_logits: float, shape (batch, classes), before softmax.
        temperature: scalar > 0. The factor T^2, as in "kd", keeps the gradients' size where T grows.
        inter_weight, intra_weight: scalars >= 0.

    Returns:
        Scalar in [0, 2*T^2*(inter_weight + intra_weight)]; 0 where the logits are equal, up to rounding.

    Raises:
        ValueError: the numbers of classes differ.

    Source: Huang et al. 2022, "Knowledge Distillation from A Stronger Teacher", NeurIPS, arXiv:2205.10536, section 4.
    """
    check_classes(teacher_logits, student_logits)
    log_teacher = ops.log_softmax(teacher_logits / temperature, axis=-1)
    log_student = ops.log_softmax(student_logits / temperature, axis=-1)
    inter = unrelated(log_teacher, log_student, axis=1)
    intra = unrelated(log_teacher, log_student, axis=0)
    return temperature**2 * (inter_weight * inter + intra_weight * intra)


def unrelated(log_teacher: Tensor, log_student: Tensor, axis: int) -> Tensor:
    """Return the mean of 1 - r, where r is the correlation of two arrays of probabilities along an axis.

    Args:
        log_teacher, log_student: logarithms of the probabilities, shape (batch, classes).
        axis: along which they are correlated.

    Returns:
        Scalar in [0, 2].
    """
    teacher, student = _centred(log_teacher, axis), _centred(log_student, axis)
    teacher_variance = ops.mean(ops.square(teacher), axis=axis)
    student_variance = ops.mean(ops.square(student), axis=axis)
    varies = teacher_variance > _SMALLEST_VARIANCE
    size = ops.sqrt(ops.where(varies, teacher_variance, 1.0) * (student_variance + _SMALLEST_VARIANCE))
    correlation = ops.mean(teacher * student, axis=axis) / size
    return ops.mean(ops.where(varies, 1.0 - correlation, 0.0))


def _centred(log_probabilities: Tensor, axis: int) -> Tensor:
    """Return the probabilities without their mean, scaled so that the largest is 1: a correlation does not see that.

    The scale is taken off the logarithms, so that a class with probabilities below float32's smallest keeps its r.
    """
    largest = ops.stop_gradient(ops.max(log_probabilities, axis=axis, keepdims=True))
    probabilities = ops.exp(log_probabilities - largest)
    return probabilities - ops.mean(probabilities, axis=axis, keepdims=True)
