"""Hold the training images in memory and give a compiled training loop its batches in a new order each epoch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kd.data.augmentation import checked_views, view
from kd.data.datasets import Dataset
from kd.errors import DataError
from kd.training.losses.description import Tensor

Logits = npt.NDArray[np.float32]


class Batches:
    """The training images of a dataset with their labels and teacher logits, in the order of the current epoch.

    The images stay one uint8 tensor; only the order changes between epochs. A step gathers its batch in the compiled
    loop, because passing batches from a `tf.data` thread costs a tenth of the time on a single core.

    Args:
        dataset: its training images are trained on.
        teacher_logits: float, shape (images, classes), or (views, images, classes) with more than one view; None if
            they are not used.
        batch_size: images per step.
        views: how many augmented versions of each image the epochs take turns with, see `kd.data.augmentation`; 1 is
            no augmentation.

    Raises:
        DataError: fewer images than one batch, or logits of another shape or not finite.
        ValueError: views is no whole number >= 1.
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
        self._shown = 0  # the view that is in the tensors
        # With one view the images never change: a constant is enough.
        self._images = tf.constant(images) if views == 1 else tf.Variable(images, trainable=False)
        self._labels = tf.constant(labels)
        self._soft = tf.Variable(self._logits_of(0), dtype=tf.float32, trainable=False)
        self._order = tf.Variable(tf.zeros((self.steps, batch_size), tf.int32), trainable=False)

    @property
    def has_teacher(self) -> bool:
        """Return whether there are teacher logits; otherwise zeros take their place and must not be used."""
        return self._logits is not None

    def teach(self, teacher_logits: Logits | None) -> None:
        """Replace the teacher logits.

        Raises:
            DataError: logits of another shape, or not finite; the present ones are kept.
        """
        self._logits = self._checked(teacher_logits)
        self._soft.assign(self._logits_of(self._shown))

    def opened(self) -> Callable[[Tensor], list[Tensor]]:
        """Return a function (step) -> images, labels, teacher logits; call it while a training loop is traced.

        The variables are read once per call, which copies nothing; reading them in each step costs 2 % of an epoch.
        """
        order = self._order.read_value()
        tensors = [tf.convert_to_tensor(tensor) for tensor in (self._images, self._labels, self._soft)]
        return lambda step: [tf.gather(tensor, order[step]) for tensor in tensors]

    def shuffle(self, seed: int, epoch: int) -> None:
        """Put the images of the epoch's view into the order of the seed and the epoch; call it between epochs."""
        self._show(epoch % self._views)
        order = np.random.default_rng((seed, epoch)).permutation(len(self._dataset.train))
        self._order.assign(order[: self.steps * self._batch_size].reshape(self.steps, self._batch_size))

    def _show(self, number: int) -> None:
        if number == self._shown:
            return
        self._images.assign(view(self._dataset.train.images, number))
        self._soft.assign(self._logits_of(number))
        self._shown = number

    def _logits_of(self, number: int) -> Logits:
        """Return the logits of one view, float32, shape (images, classes)."""
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
