"""Try a user's loss as a training would use it, and describe its problem in one line."""

import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kd.errors import ModelError, describe_error, without_room
from kd.losses.custom import described, users_function
from kd.losses.loss import Loss, Tensor

CONFIDENT = 50.0  # a trained teacher's logits reach this; float32's exp overflows at 89

Floats = npt.NDArray[np.float32]
PLAIN = "plain logits"


def check_users_loss(name: str, classes: int) -> Loss:
    """Compile a user's loss with its gradient, as a training does, and compute it on small batches.

    Logits have a standard deviation of 2 in one batch; in the others they are +-50. The code is imported and called in
    this process: call this function in a child process.

    Raises:
        ModuleNotHere: its module or file is not on this machine.
        ModelError: it cannot be imported or called as a loss; it raises; it does not return float32, a scalar or one
            value per image; it or its gradient is not finite; or the gradient of the student's logits is 0.
    """
    loss = described(name)
    images = 6 if classes == 5 else 5  # to tell one value per class from one value per image
    own = {parameter.name: tf.Variable(parameter.default, dtype=tf.float32) for parameter in loss.parameters}
    compiled = _compiled(name, tf.Variable(loss.default_temperature, dtype=tf.float32), own)
    for what, teacher, student in _batches(images, classes):
        labels = np.arange(images, dtype=np.int64) % classes
        value, gradient = _computed(name, compiled, labels, teacher, student)
        if not np.isfinite(value).all():
            raise ModelError(
                f"loss {name!r} is not finite on {what}: {' '.join(str(value).split())}; compute it from log_softmax,"
                " not from the logarithm of probabilities"
            )
        if not np.isfinite(gradient).all():
            raise ModelError(
                f"the gradient of loss {name!r} is not finite on {what}; does it take a root or a logarithm of 0?"
            )
        if what == PLAIN and not gradient.any():
            raise ModelError(
                f"loss {name!r} does not change with the student's logits: its gradient is 0; compute it with keras.ops"
                " or tensorflow from student_logits"
            )
    return loss


def _batches(images: int, classes: int) -> list[tuple[str, Floats, Floats]]:
    """Return (name, teacher's logits, student's logits) of each batch, float32, shape (images, classes)."""
    draw = np.random.default_rng(0)
    teacher, student = draw.normal(0, 2, (2, images, classes)).astype(np.float32)
    confident = np.where(teacher == teacher.max(axis=-1, keepdims=True), CONFIDENT, -CONFIDENT).astype(np.float32)
    wrong = np.roll(confident, 1, axis=-1)
    return [(PLAIN, teacher, student), ("logits of +-50", confident, wrong), ("logits of +-50", confident, student)]


def _compiled(name: str, temperature: tf.Variable, own: dict[str, tf.Variable]) -> Any:
    function = users_function(name)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def run(labels: Tensor, teacher: Tensor, student: Tensor) -> tuple[Tensor, Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(student)
            value = tf.convert_to_tensor(function(labels, teacher, student, temperature=temperature, **own))
            mean = tf.reduce_mean(value)
        gradient = tape.gradient(mean, student, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return value, gradient

    return run


def _computed(name: str, compiled: Any, labels: Any, teacher: Floats, student: Floats) -> tuple[Any, Any]:
    process = os.getpid()
    try:
        value, gradient = compiled(tf.constant(labels), tf.constant(teacher), tf.constant(student))
    except SystemExit as error:
        raise ModelError(f"loss {name!r} calls sys.exit({error.code!r}); let it return a tensor") from error
    except Exception as error:  # the user's code may raise anything; the cause stays chained
        for cause in _chain(error):
            if isinstance(cause, Exception) and (no_room := without_room(f"loss {name!r}", cause)) is not None:
                raise no_room from error
        raise ModelError(f"loss {name!r} does not work in a compiled training step: {_reason(error)}") from error
    finally:
        if os.getpid() != process:  # the user's code forked: the fork must not continue as a second worker
            os._exit(0)
    if value.dtype != tf.float32:
        raise ModelError(f"loss {name!r} must return float32, got {value.dtype.name}: cast it with ops.cast")
    if tuple(value.shape) not in ((), (len(labels),)):
        raise ModelError(
            f"loss {name!r} must return a scalar or shape ({len(labels)},) for a batch of {len(labels)} images, got"
            f" {tuple(value.shape)}: mean over images yourself, or return one value per image"
        )
    return value.numpy(), gradient.numpy()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes: TensorFlow wraps the one that the user's code raised."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _reason(error: Exception) -> str:
    """Return an error as one line; for an error in compiled code, the text after its traceback."""
    _, compiled, rest = str(error).rpartition("in user code:")
    _, *paragraphs = re.split(r"\n\s*\n", rest.strip(), maxsplit=1)
    if not (compiled and paragraphs):
        return describe_error(error)
    line = " ".join(paragraphs[0].split())
    return line if len(line) <= 300 else f"{line[:297]}..."
