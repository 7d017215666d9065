"""Make Adam with a learning rate that falls to 0 along half a cosine, or with an average of the weights."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from kd.config import TrainingConfig
from kd.training.losses.description import Tensor


class CosineToZero(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # keras is untyped
    """The rate rate / 2 * (1 + cos(pi * step / steps)), for a number of steps that may change between trainings.

    Source: Loshchilov & Hutter 2017, "SGDR", arXiv:1608.03983, equation 5, without restarts.

    Args:
        rate: at the first step, > 0. A variable: another rate needs no new compilation.
        steps: of the whole training, a float scalar. A variable: another number needs no new compilation.
    """

    def __init__(self, rate: float | tf.Variable, steps: tf.Variable) -> None:
        super().__init__()
        self._rate = rate
        self._steps = steps

    def __call__(self, step: Tensor) -> Tensor:
        """Return the rate of a step, counted from 0; 0 from the last one on."""
        done = tf.minimum(tf.cast(step, tf.float32) / self._steps, 1.0)
        return 0.5 * self._rate * (1.0 + tf.cos(math.pi * done))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as Keras' schedules do."""
        return {"rate": self._rate, "steps": self._steps}


def adam(training: TrainingConfig, rate: tf.Variable, steps: tf.Variable) -> keras.optimizers.Optimizer:
    """Return Adam with the schedule of `training`, and a learning rate that may change between trainings.

    With the schedule "average" its `finalize_variable_values` puts the averages in the place of the weights.
    Source: Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging"; as an exponential moving
    average Keras' `use_ema`.

    Args:
        training: the number of epochs and the learning rate are not read.
        rate: the learning rate at the first step, a float scalar > 0.
        steps: of the whole training, a float scalar.
    """
    if training.schedule == "cosine":
        return keras.optimizers.Adam(CosineToZero(rate, steps))
    if training.schedule == "average":
        momentum = 1 - 1 / training.average_steps
        return keras.optimizers.Adam(lambda: rate, use_ema=True, ema_momentum=momentum)
    return keras.optimizers.Adam(lambda: rate)
