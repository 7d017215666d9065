"""Compute the distillation loss as pure functions of logits: "kd", and the form that all losses share.

Everything is computed from log-softmax: `keras.losses.kl_divergence` clips probabilities at 1e-7, which removes the
gradient where a confident teacher is most informative.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from keras import ops

from kd.training.losses.description import Tensor, Term

_NONE: Mapping[str, Tensor] = MappingProxyType({})


def term(labels: Tensor, teacher_logits: Tensor, student_logits: Tensor, *, temperature: Tensor) -> Tensor:
    """Return the term of the loss "kd": `soft_target_loss`, which needs no labels.

    A paper's weights: Hinton's mean of the two cross entropies with relative weights a and b*T^2 is alpha = a/(a+b).
    """
    return soft_target_loss(teacher_logits, student_logits, temperature)


def distillation_loss(
    *,
    labels: Tensor,
    teacher_logits: Tensor,
    student_logits: Tensor,
    temperature: Tensor,
    alpha: Tensor,
    term: Term = term,
    own: Mapping[str, Tensor] = _NONE,
) -> Tensor:
    """Return alpha*CE(labels) + (1-alpha)*term, by default with the term T^2*KL(teacher_T || student_T).

    Alpha weighs the LABELS, as in the keras.io Distiller: 1 is plain training, 0 ignores the CE of the labels.

    Args:
        labels: integers, shape (batch,) or (batch, 1).
        teacher_logits, student_logits: float, shape (batch, classes), before softmax.
        temperature: scalar > 0.
        alpha: scalar in [0, 1].
        term: of another loss, see `kd.training.losses.named.term_of`.
        own: the parameters of that term, scalars by name.

    Returns:
        Scalar; in nats where the term is.

    Source: Hinton et al. 2015, arXiv:1503.02531, section 2; https://keras.io/examples/vision/knowledge_distillation/
    """
    hard = hard_label_loss(labels, student_logits)
    soft = term(labels, teacher_logits, student_logits, temperature=temperature, **own)
    return alpha * hard + (1 - alpha) * soft


def soft_target_loss(teacher_logits: Tensor, student_logits: Tensor, temperature: Tensor) -> Tensor:
    """Return the KL divergence KL(teacher || student) of the softened distributions, times temperature**2.

    The factor keeps this term's gradients on the scale of the label term when the temperature changes.

    Args:
        teacher_logits, student_logits: float, shape (batch, classes), before softmax.
        temperature: scalar > 0; 1 leaves both distributions as they are.

    Returns:
        Scalar in nats: summed over classes, averaged over the batch.

    Raises:
        ValueError: the numbers of classes differ (broadcasting would hide it).

    Source: Hinton et al. 2015, arXiv:1503.02531, section 2.
    """
    check_classes(teacher_logits, student_logits)
    log_teacher = ops.log_softmax(teacher_logits / temperature, axis=-1)
    log_student = ops.log_softmax(student_logits / temperature, axis=-1)
    per_image = ops.sum(ops.exp(log_teacher) * (log_teacher - log_student), axis=-1)  # (batch,)
    return temperature**2 * ops.mean(per_image)


def hard_label_loss(labels: Tensor, logits: Tensor) -> Tensor:
    """Return the cross entropy with integer labels, averaged over the batch.

    The same operation as `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`, so that alpha = 1 is plain
    Keras training to the last bit.

    Args:
        labels: integers, shape (batch,) or (batch, 1).
        logits: float, shape (batch, classes), before softmax.

    Returns:
        Scalar in nats.
    """
    return ops.mean(ops.sparse_categorical_crossentropy(labels, logits, from_logits=True))


def check_classes(teacher_logits: Tensor, student_logits: Tensor) -> None:
    """Refuse logits of different numbers of classes.

    Raises:
        ValueError: they differ.
    """
    teacher_shape, student_shape = tuple(teacher_logits.shape), tuple(student_logits.shape)
    if teacher_shape[1:] != student_shape[1:]:
        raise ValueError(
            f"teacher logits have shape {teacher_shape}, student logits {student_shape};"
            " give both models the same number of classes"
        )
