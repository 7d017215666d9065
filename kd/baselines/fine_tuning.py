"""The last stage of a pretrained network and its classifier, trained on from a linear probe.

Starting from the probe keeps the features where they are good: a random classifier would first pull them apart.
Source: LP-FT, Kumar et al. 2022, arXiv:2202.10054, section 3.4.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import keras
import numpy as np
import numpy.typing as npt

__all__ = ["Tuned", "tune"]

Floats: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int64]

BATCH = 64  # images
EPOCHS = 10  # at most
PATIENCE = 2  # epochs without a better validation accuracy
LEARNING_RATE = 1e-4  # of Adam: a tenth of what trains from scratch here


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """How the tuning went.

    Attributes:
        accuracy: the best on validation, a fraction in [0, 1]; never below that of the linear probe.
        epochs: how many it took to get there; 0 if none was better than the linear probe.
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
    """Trains the classifier until validation no longer improves, and leaves it with its best weights.

    The same seed gives the same bits, on the same machine and number of threads.

    Args:
        classifier: what it takes to logits, shape (n, classes); as a linear probe left it.
        train, validation: what it takes, shape (n, ...), and labels, shape (n,).
        seed: of the order of the batches, in [0, 2**32).
        deadline: in `time.perf_counter`'s seconds, checked at every batch; an unfinished epoch counts for nothing.
        on_batch: called with (fraction of EPOCHS done, text); what it raises ends the tuning.
    """
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier.compile(keras.optimizers.Adam(LEARNING_RATE), loss)
    inputs, labels = train
    steps = max(len(labels) // BATCH, 1)  # the last partial batch is dropped: it would compile again
    best, best_epoch, best_weights = _accuracy(classifier, *validation), 0, classifier.get_weights()

    def tuned(*, capped: bool) -> Tuned:
        classifier.set_weights(best_weights)
        return Tuned(accuracy=best, epochs=best_epoch, capped=capped)

    for epoch in range(1, EPOCHS + 1):
        order = np.random.default_rng((seed, epoch)).permutation(len(labels))
        for step in range(steps):
            rows = order[step * BATCH : (step + 1) * BATCH]
            classifier.train_on_batch(inputs[rows], labels[rows])
            if time.perf_counter() > deadline:
                return tuned(capped=True)
            on_batch((epoch - 1 + (step + 1) / steps) / EPOCHS, f"epoch {epoch}, best validation accuracy {best:.3f}")
        accuracy = _accuracy(classifier, *validation)
        if accuracy > best:
            best, best_epoch, best_weights = accuracy, epoch, classifier.get_weights()
        elif epoch - best_epoch >= PATIENCE:
            break
    return tuned(capped=False)


def _accuracy(classifier: keras.Model, inputs: Floats, labels: Labels) -> float:
    batches = range(0, len(labels), BATCH)
    logits = np.concatenate([classifier.predict_on_batch(inputs[begin : begin + BATCH]) for begin in batches])
    return float(np.mean(logits.argmax(axis=-1) == labels))
