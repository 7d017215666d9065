"""Fingerprint the numerics of a machine by a tiny training; apart, since `kd.devices` comes without Keras."""

import functools
import hashlib

import numpy as np

from kd.config import DistillConfig, TrainingConfig
from kd.data.datasets import Dataset, Split
from kd.training.student import StudentTrainer

DIGITS = 12
_IMAGES, _SHAPE, _CLASSES = 128, (32, 32, 3), 10


@functools.cache
def fingerprint() -> str:
    """Return the first 12 hex digits of the SHA-256 of a fixed tiny training's logits; about a second, once.

    The training has every operation of the usual students: convolutions, pooling, a dense layer, the distillation loss
    and Adam. Its images and its teacher's logits are drawn by NumPy, which gives the same everywhere. Another
    processor, another TensorFlow or another number of threads may round otherwise, and gives another fingerprint.
    """
    draw = np.random.default_rng(2015)
    images = draw.integers(0, 256, (_IMAGES, *_SHAPE)).astype(np.uint8)
    split = Split(images, draw.integers(0, _CLASSES, _IMAGES).astype(np.int64))
    dataset = Dataset("numerics", split, split, _CLASSES, "", "", "drawn")
    logits = draw.normal(size=(_IMAGES, _CLASSES)).astype(np.float32)
    training = TrainingConfig(epochs=3, batch_size=64, learning_rate=3e-3)
    trainer = StudentTrainer(dataset, student="keras-student", teacher_logits=logits, training=training)
    trainer.train(DistillConfig(temperature=4.0, alpha=0.3), seed=7)
    return hashlib.sha256(trainer.logits(split).tobytes()).hexdigest()[:DIGITS]
