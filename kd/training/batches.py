"""Make batches, fixed augmented views, the optimizer and its schedule.

For distillation, teacher and student must see the same augmented image (Beyer et al. 2021, arXiv:2106.05237). If every
epoch drew new crops, the teacher would have to run in every step. Here each image has a fixed number of augmented
versions, called views: the teacher's logits of all views are computed once, and the epochs cycle through the views.

Source of the augmentation (pad, crop, flip): He et al. 2015, arXiv:1512.03385, section 4.2.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kd.config import TrainingConfig
from kd.data.datasets import Dataset
from kd.errors import DataError
from kd.losses.loss import Tensor

Logits = npt.NDArray[np.float32]

PADDING = 4  # px of zeros on each side
SEED = 151203385  # must never change: stored logits were computed for these crops and flips


def cosine_to_zero(rate: Tensor, steps: Tensor, step: Tensor) -> Tensor:
    """Return rate / 2 * (1 + cos(pi * step / steps)), 0 from the last step on.

    Source: Loshchilov & Hutter 2017, "SGDR", arXiv:1608.03983, equation 5, without restarts.
    """
    done = tf.minimum(tf.cast(step, tf.float32) / steps, 1.0)
    return 0.5 * rate * (1.0 + tf.cos(math.pi * done))


def adam(training: TrainingConfig, rate: tf.Variable, steps: tf.Variable) -> keras.optimizers.Optimizer:
    """Return Adam with the schedule of `training`, and a learning rate that may change between trainings.

    With the schedule "average", `finalize_variable_values` replaces the weights with their averages.
    Source: Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging"; as an exponential moving
    average, Keras' `use_ema`.

    Args:
        rate: learning rate at the first step, instead of the one in `training`.
        steps: of the whole training, a float scalar.
    """
    if training.schedule == "cosine":
        # Not Keras' CosineDecay, whose rate and number of steps are constants: changing them would compile again.
        optimizer: Any = keras.optimizers.Adam(lambda: cosine_to_zero(rate, steps, optimizer.iterations))
        return optimizer
    if training.schedule == "average":
        momentum = 1 - 1 / training.average_steps
        return keras.optimizers.Adam(lambda: rate, use_ema=True, ema_momentum=momentum)
    return keras.optimizers.Adam(lambda: rate)


def checked_views(views: int) -> int:
    """Return `views` if it is a whole number >= 1, else raise ValueError."""
    if isinstance(views, bool) or not isinstance(views, int) or views < 1:
        raise ValueError(f"views must be a whole number >= 1 (1: the image itself alone), got {views!r}")
    return views


def view(images: npt.NDArray[np.uint8], number: int) -> npt.NDArray[np.uint8]:
    """Augment images: pad each with zeros, crop it at random to its size, mirror it with probability 1/2.

    View 0 is the images as they are. The crop and flip of an image depend only on its index and the number of the view,
    so the first n images of a larger dataset are augmented like a dataset of n. Mirroring suits photographs, not digits
    or letters. Images are uint8, shape (n, h, w, c), as is the result.
    """
    if number == 0:
        return images
    count, height, width, _ = images.shape
    moves = np.random.default_rng((SEED, number)).integers(0, (2 * PADDING + 1, 2 * PADDING + 1, 2), (count, 3))
    padded = np.pad(images, [(0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)])
    out = np.empty_like(images)
    for target, source, (down, right, mirrored) in zip(out, padded, moves, strict=True):
        crop = source[down : down + height, right : right + width]
        target[:] = crop[:, ::-1] if mirrored else crop
    return out


class Batches:
    """The training images of a dataset with their labels and teacher logits, in the order of the current epoch.

    The images stay one uint8 tensor; only the order changes between epochs. A step gathers its batch in the compiled
    loop, because passing batches from a `tf.data` thread costs a tenth of the time on a single core.

    Args:
        teacher_logits: float, shape (images, classes), or (views, images, classes) with several views; None if no
            training uses them.
        views: number of augmented versions of each image that the epochs cycle through; 1 is no augmentation.

    Raises:
        DataError: fewer images than one batch, or logits of another shape or not finite.
        ValueError: views is not a whole number >= 1.
    """

    def __init__(self, dataset: Dataset, teacher_logits: Logits | None, batch_size: int, views: int = 1) -> None:
        self._dataset = dataset
        self._views = checked_views(views)
        self._batch_size = batch_size
        images, labels = dataset.train.images, dataset.train.labels
        self.steps = len(labels) // batch_size  # the last partial batch is dropped: it would compile again
        if self.steps == 0:
            raise DataError(
                f"{len(labels)} training images are fewer than one batch of {batch_size}:"
                " give more images or a smaller batch"
            )
        self._logits = self._checked(teacher_logits)
        self._view = 0  # the one in the tensors
        # With one view the images never change.
        self._images = tf.constant(images) if views == 1 else tf.Variable(images, trainable=False)
        self._labels = tf.constant(labels)
        self._soft = tf.Variable(self._logits_of(0), dtype=tf.float32, trainable=False)
        self._order = tf.Variable(tf.zeros((self.steps, batch_size), tf.int32), trainable=False)

    @property
    def has_teacher(self) -> bool:
        """Whether there are teacher logits; otherwise they are zeros that must not be used."""
        return self._logits is not None

    def teach(self, teacher_logits: Logits | None) -> None:
        """Replace the teacher logits; on a DataError the present ones stay."""
        self._logits = self._checked(teacher_logits)
        self._soft.assign(self._logits_of(self._view))

    def opened(self) -> Callable[[Tensor], list[Tensor]]:
        """Return a function (step) -> images, labels, teacher logits; call it while a training loop is traced.

        This reads the variables once, without a copy; reading them in each step costs 2 % of an epoch.
        """
        order = self._order.read_value()
        tensors = [tf.convert_to_tensor(tensor) for tensor in (self._images, self._labels, self._soft)]
        return lambda step: [tf.gather(tensor, order[step]) for tensor in tensors]

    def shuffle(self, seed: int, epoch: int) -> None:
        """Load the view of an epoch, and the order that seed and epoch give; call it between epochs."""
        number = epoch % self._views
        if number != self._view:
            self._images.assign(view(self._dataset.train.images, number))
            self._soft.assign(self._logits_of(number))
            self._view = number
        order = np.random.default_rng((seed, epoch)).permutation(len(self._dataset.train))
        self._order.assign(order[: self.steps * self._batch_size].reshape(self.steps, self._batch_size))

    def _logits_of(self, number: int) -> Logits:
        if self._logits is None:
            return np.zeros((len(self._dataset.train), self._dataset.classes), np.float32)
        return self._logits if self._views == 1 else self._logits[number]

    def _checked(self, logits: Logits | None) -> Logits | None:
        views = () if self._views == 1 else (self._views,)
        shape = (*views, len(self._dataset.train), self._dataset.classes)
        if logits is not None and (logits.shape != shape or not np.isfinite(logits).all()):
            raise DataError(
                f"teacher logits must be finite and of shape {shape} for {self._dataset.name}, got"
                f" {logits.shape}: train the teacher on the same training images"
                + (f" and with views={self._views}" if self._views > 1 else "")
            )
        return logits
