"""Fine-tune the last stage of a pretrained network and its classifier, starting from a linear probe.

Starting from the probe preserves good features: the gradients of a random classifier would distort them first.
Source: LP-FT, Kumar et al. 2022, arXiv:2202.10054, section 3.4.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

__all__ = ["Tuned", "tune"]

Floats: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int64]
Tensor: TypeAlias = Any  # of TensorFlow

BATCH = 64  # images
ROUNDS = 10  # at most, each of as many epochs as have STEPS batches: of 3,200 images or more it is one
STEPS = 50
PATIENCE = 3  # rounds without a better validation accuracy
# Of Adam. On 4,000 images of CIFAR-10, Lite0 went from 0.799 to 0.849 in 5 epochs, and MobileNet from 0.727 to 0.751 in
# 7. With 1e-3 both lost accuracy at first; with 3e-5 Lite0 came to 0.841.
LEARNING_RATE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The result of fine-tuning.

    Attributes:
        accuracy: the best on validation, a fraction in [0, 1]; never below that of the linear probe.
        epochs: how many it took to reach it; 0 if the linear probe was not surpassed.
        capped: whether the deadline ended it.
    """

    accuracy: float
    epochs: int
    capped: bool


def tune(
    classifier: keras.Model,
    train: tuple[Floats, Labels],
    validation: tuple[Floats, Labels],
    *,
    seed: int,
    deadline: float,
    on_batch: Callable[[float, str], None],
) -> Tuned:
    """Train the classifier until the validation accuracy no longer improves, and leave it with its best weights.

    The same seed gives the same bits, on the same machine and number of threads.

    Args:
        classifier: maps inputs (n, ...) to logits (n, classes); its last layer holds the linear probe.
        train, validation: inputs, float32, shape (n, ...), and labels, int64, shape (n,).
        seed: of the order of the batches, in [0, 2**32).
        deadline: in `time.perf_counter`'s seconds, checked at every batch; an unfinished round is discarded.
        on_batch: called with (fraction of ROUNDS done, text); an exception that it raises ends the tuning.
    """
    inputs, labels = train
    epochs = math.ceil(STEPS * BATCH / len(labels))  # of a round
    steps = epochs * len(labels) // BATCH  # the last partial batch is dropped: it would compile again
    train_step = _compiled_step(classifier)
    best, best_round, best_weights = _accuracy(classifier, *validation), 0, classifier.get_weights()

    def tuned(*, capped: bool) -> Tuned:
        classifier.set_weights(best_weights)
        return Tuned(accuracy=best, epochs=best_round * epochs, capped=capped)

    for number in range(1, ROUNDS + 1):
        random = np.random.default_rng((seed, number))
        order = np.concatenate([random.permutation(len(labels)) for _ in range(epochs)])
        for step in range(steps):
            rows = order[step * BATCH : (step + 1) * BATCH]
            train_step(inputs[rows], labels[rows])
            if time.perf_counter() > deadline:
                return tuned(capped=True)
            fraction = (number - 1 + (step + 1) / steps) / ROUNDS
            on_batch(fraction, f"fine-tuning, epoch {number * epochs}, best validation accuracy {best:.3f}")
        accuracy = _accuracy(classifier, *validation)
        if accuracy > best:
            best, best_round, best_weights = accuracy, number, classifier.get_weights()
        elif number - best_round >= PATIENCE:
            break
    return tuned(capped=False)


def _compiled_step(classifier: keras.Model) -> Callable[[Floats, Labels], object]:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    variables = classifier.trainable_variables
    optimizer.build(variables)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(inputs: Tensor, labels: Tensor) -> None:
        # In inference mode: BatchNorm keeps the statistics of ImageNet. `fit` would update them, even where the model
        # was built with training=False, and take 4 points of the probe's accuracy in the first epoch, seen.
        with tf.GradientTape() as tape:
            value = loss(labels, classifier(inputs, training=False))
        optimizer.apply(tape.gradient(value, variables), variables)

    return step  # type: ignore[no-any-return]


def _accuracy(classifier: keras.Model, inputs: Floats, labels: Labels) -> float:
    batches = range(0, len(labels), BATCH)
    logits = np.concatenate([classifier.predict_on_batch(inputs[begin : begin + BATCH]) for begin in batches])
    return float(np.mean(logits.argmax(axis=-1) == labels))
