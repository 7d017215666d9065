"""Describe losses; compute the form that all share, and Hinton's term.

Every loss is alpha*CE(labels) + (1-alpha)*term with alpha in [0, 1]. A paper's a*CE + b*term is this loss with
alpha = a/(a+b), times a+b. Adam divides by the size of the gradients, so a constant factor changes its steps only
through its epsilon, 1e-7.

Everything is computed from log-softmax: `keras.losses.kl_divergence` clips probabilities at 1e-7, which removes the
gradient where a confident teacher is most informative.

Nothing here imports Keras or TensorFlow, because the command that checks a spec must start at once.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

Tensor: TypeAlias = Any  # of any Keras backend, or a NumPy array
Term: TypeAlias = Callable[..., Tensor]  # (labels, teacher_logits, student_logits, *, temperature, **own) -> scalar


@dataclass(frozen=True)
class Parameter:
    """A parameter of a loss besides T and alpha, named as in the term's signature and in a spec, and its default."""

    name: str
    default: float


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The description of a loss.

    Args:
        name: as in a spec: a key of `LOSSES`, or "package.module:function" or "./file.py:function".
        formula: the whole loss in this project's form; for a user's, with the first line of its docstring.
        source: the paper; empty for a user's.
        term: the distillation term, see `Term`.
        parameters: without T and alpha.
        default_temperature, default_alpha: the point of the paper or of its authors' code.
        uses_temperature: False if T changes nothing; its default is then 1.
    """

    name: str
    formula: str
    source: str
    term: Term = field(repr=False, compare=False)
    parameters: tuple[Parameter, ...] = ()
    default_temperature: float = 4.0
    default_alpha: float = 0.1
    uses_temperature: bool = True

    def values(self, own: Mapping[str, float]) -> dict[str, float]:
        """Return the value of each parameter, in the order of `parameters`: the given one, else its default.

        Raises:
            ValueError: the loss has no parameter of that name, or a value is not finite.
        """
        known = [parameter.name for parameter in self.parameters]
        if unknown := sorted(set(own) - set(known)):
            allowed = f"it has {', '.join(known)}" if known else "it has only T and alpha"
            raise ValueError(f"loss {self.name!r} has no parameter {unknown[0]!r}; {allowed}")
        if bad := [name for name, value in own.items() if not math.isfinite(value)]:
            raise ValueError(f"{bad[0]} must be finite, got {own[bad[0]]!r}")
        return {parameter.name: float(own.get(parameter.name, parameter.default)) for parameter in self.parameters}


class _LazyOps:
    """`keras.ops`, imported at its first use, or the operations of `computing_with`."""

    def __getattr__(self, name: str) -> Any:
        other = _OTHER_OPS.get()
        if other is not None:
            return getattr(other, name)
        from keras import ops

        return getattr(ops, name)


_OTHER_OPS: ContextVar[Any] = ContextVar("ops", default=None)


@contextmanager
def computing_with(operations: Any) -> Iterator[None]:
    """Let the terms in this block compute with other operations than Keras', with the same names and meaning."""
    token = _OTHER_OPS.set(operations)
    try:
        yield
    finally:
        _OTHER_OPS.reset(token)


ops = _LazyOps()

_WEIGHTS: ContextVar[Tensor] = ContextVar("weights", default=None)


@contextmanager
def weighing(weights: Tensor) -> Iterator[None]:
    """Let the losses in this block weigh the images of a batch, as Keras' `sample_weight` does; None: equally.

    A weight of 2 counts an image twice, in the CE of the labels and in the term; the sum is divided by the number of
    images, not by the sum of the weights.

    Raises:
        ValueError: in the block, from a loss without a value for each image.
    """
    token = _WEIGHTS.set(weights)
    try:
        yield
    finally:
        _WEIGHTS.reset(token)


def mean_over_images(values: Tensor) -> Tensor:
    """Return the mean of values of shape (batch,) or (batch, n), each times the weight of its image, see `weighing`."""
    weights = _WEIGHTS.get()
    if weights is None:
        return ops.mean(values)
    rank = len(values.shape)
    if rank == 0:
        raise ValueError(
            "this loss has one value for the whole batch, so images cannot be weighed: leave sample_weight and"
            " class_weight out"
        )
    return ops.mean(values * ops.reshape(ops.cast(weights, values.dtype), (-1, *(1,) * (rank - 1))))


_NONE: Mapping[str, Tensor] = MappingProxyType({})


def kd_term(labels: Tensor, teacher_logits: Tensor, student_logits: Tensor, *, temperature: Tensor) -> Tensor:
    """Return the term of the loss "kd". Hinton's relative weights a and b*T^2 are alpha = a/(a+b)."""
    return soft_target_loss(teacher_logits, student_logits, temperature)


def distillation_loss(
    *,
    labels: Tensor,
    teacher_logits: Tensor,
    student_logits: Tensor,
    temperature: Tensor,
    alpha: Tensor,
    term: Term = kd_term,
    own: Mapping[str, Tensor] = _NONE,
) -> Tensor:
    """Return alpha*CE(labels) + (1-alpha)*term, a scalar, by default with the term T^2*KL(teacher_T || student_T).

    Alpha weighs the LABELS, as in the keras.io Distiller: 1 is plain training, 0 ignores the CE of the labels.

    Args:
        labels: integers, shape (batch,) or (batch, 1); or a probability for each class, shape (batch, classes), such as
            one-hot or smoothed labels. The term gets the likeliest class.
        teacher_logits, student_logits: float, shape (batch, classes), before softmax.
        term, own: of another loss, with its parameters as scalars by name.

    Source: Hinton et al. 2015, arXiv:1503.02531, section 2; https://keras.io/examples/vision/knowledge_distillation/
    """
    hard = hard_label_loss(labels, student_logits)
    classes = ops.argmax(labels, axis=-1) if is_one_hot(labels, student_logits) else labels
    soft = term(classes, teacher_logits, student_logits, temperature=temperature, **own)
    return alpha * hard + (1 - alpha) * soft


def soft_target_loss(teacher_logits: Tensor, student_logits: Tensor, temperature: Tensor) -> Tensor:
    """Return the KL divergence KL(teacher || student) of the softened distributions, times temperature**2.

    The factor keeps the gradients of this term on the scale of the label term at every temperature. In nats, summed
    over classes, averaged over the batch.

    Source: Hinton et al. 2015, arXiv:1503.02531, section 2.
    """
    check_classes(teacher_logits, student_logits)
    log_teacher = ops.log_softmax(teacher_logits / temperature, axis=-1)
    log_student = ops.log_softmax(student_logits / temperature, axis=-1)
    per_image = ops.sum(ops.exp(log_teacher) * (log_teacher - log_student), axis=-1)  # (batch,)
    return temperature**2 * mean_over_images(per_image)


def hard_label_loss(labels: Tensor, logits: Tensor) -> Tensor:
    """Return the cross entropy with the labels, see `distillation_loss`, in nats, averaged over the batch.

    It has the operations of `keras.losses.SparseCategoricalCrossentropy(from_logits=True)` or, for one-hot labels, of
    `CategoricalCrossentropy`, so that alpha = 1 is plain Keras training to the last bit.
    """
    if is_one_hot(labels, logits):
        per_image = ops.categorical_crossentropy(ops.cast(labels, logits.dtype), logits, from_logits=True)
    else:
        per_image = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    return mean_over_images(per_image)


def is_one_hot(labels: Tensor, logits: Tensor) -> bool:
    """Return whether labels have a probability for each class; raise ValueError if they are not integers either.

    The shape decides, as in Keras' metric "accuracy".
    """
    shape, classes = tuple(labels.shape), logits.shape[-1]
    if shape[1:] in ((), (1,)):
        return False
    if shape[1:] != (classes,):
        raise ValueError(
            f"labels have shape {shape}, logits {tuple(logits.shape)}: give integers of shape (batch,), or one-hot"
            f" labels of shape (batch, {classes})"
        )
    return True


def check_classes(teacher_logits: Tensor, student_logits: Tensor) -> None:
    """Raise a ValueError for different numbers of classes, which broadcasting would hide."""
    teacher_shape, student_shape = tuple(teacher_logits.shape), tuple(student_logits.shape)
    if teacher_shape[1:] != student_shape[1:]:
        raise ValueError(
            f"teacher logits have shape {teacher_shape}, student logits {student_shape};"
            " give both models the same number of classes"
        )


def is_users(name: str) -> bool:
    """Return whether a loss is a user's: "package.module:function" or "./file.py:function"."""
    return ":" in name
