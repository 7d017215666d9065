"""Training images in memory, as batches in an order that can be changed: what one compiled loop trains on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kd.datasets import Dataset
from kd.errors import DataError
from kd.losses import Tensor


class Batches:
    """The training images of a dataset with their labels and teacher logits, and the order they come in.

    Images stay one uint8 tensor; only the order is written anew for each epoch. A step gathers its batch itself, inside
    the compiled loop: handing batches over from a `tf.data` thread costs a single core a tenth of its time.
    """

    def __init__(self, dataset: Dataset, teacher_logits: npt.NDArray[np.float32] | None, batch_size: int) -> None:
        self._images = len(dataset.train.labels)
        self._batch_size = batch_size
        self.steps = self._images // batch_size  # the last partial batch is dropped: it would compile again
        if self.steps == 0:
            raise DataError(
                f"{self._images} training images are fewer than one batch of {batch_size}:"
                " give more images or a smaller batch"
            )
        shape = (self._images, dataset.classes)
        if teacher_logits is None:
            teacher_logits = np.zeros(shape, np.float32)
        if teacher_logits.shape != shape or not np.isfinite(teacher_logits).all():
            raise DataError(
                f"teacher logits must be finite and of shape {shape} for {dataset.name}, got"
                f" {teacher_logits.shape}: train the teacher on the same training images"
            )
        self._tensors = [tf.constant(dataset.train.images), tf.constant(dataset.train.labels)]
        self._tensors.append(tf.constant(teacher_logits, tf.float32))
        self._order = tf.Variable(tf.zeros((self.steps, batch_size), tf.int32), trainable=False)

    def take(self, step: Tensor) -> list[Tensor]:
        """Images, labels and teacher logits of one step; called while the training loop is traced."""
        rows = self._order[step]
        return [tf.gather(tensor, rows) for tensor in self._tensors]

    def shuffle(self, seed: int, epoch: int) -> None:
        """Puts the images into the order of that seed and epoch; to be called between epochs."""
        order = np.random.default_rng((seed, epoch)).permutation(self._images)
        self._order.assign(order[: self.steps * self._batch_size].reshape(self.steps, self._batch_size))
