"""The networks of PyTorch's tutorial on distillation, and its teacher's logits.

Source: https://github.com/pytorch/tutorials, beginner_source/knowledge_distillation_tutorial.py. With its layers, its
widths and PyTorch's default initial weights; the networks normalize images by ImageNet's means and deviations.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from keras import initializers, layers

from kd.config import DistillConfig, TrainingConfig
from kd.data import datasets
from kd.teachers import logits_file

MEAN, SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EPOCHS, BATCH, RATE = 10, 128, 1e-3


def deep(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build DeepNN, the teacher."""
    return _network(input_shape, classes, convolutions=((128, 64), (64, 32)), hidden=512)


def light(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build LightNN, the student."""
    return _network(input_shape, classes, convolutions=((16,), (16,)), hidden=256)


def _network(
    input_shape: tuple[int, int, int], classes: int, *, convolutions: Sequence[Sequence[int]], hidden: int
) -> keras.Model:
    inputs = keras.Input(input_shape, dtype="uint8")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Normalization(mean=MEAN, variance=[sd**2 for sd in SD])(x)
    channels = input_shape[-1]
    for block in convolutions:
        for width in block:
            fan_in, channels = 9 * channels, width
            x = layers.Conv2D(width, 3, padding="same", activation="relu", **_initial(fan_in))(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(hidden, activation="relu", **_initial(x.shape[-1]))(x)
    x = layers.Dropout(0.1)(x)
    return keras.Model(inputs, layers.Dense(classes, **_initial(hidden))(x))


def _initial(fan_in: int) -> dict[str, initializers.Initializer]:
    """Initialize uniformly in ±1/sqrt(fan_in), PyTorch's default for weights and biases of both kinds of layer."""
    limit = fan_in**-0.5
    return {
        "kernel_initializer": initializers.RandomUniform(-limit, limit),
        "bias_initializer": initializers.RandomUniform(-limit, limit),
    }


def teach(path: Path, *, seed: int) -> dict[str, Any]:
    """Train DeepNN as the tutorial does and write its logits of the training images; return its scores and cost.

    It is trained as a student of the labels alone: its learning rate is constant, that of the product's teachers falls.
    """
    from kd.training.student import StudentTrainer  # late: listing the parts needs no TensorFlow

    dataset = datasets.load("cifar10")
    training = TrainingConfig(epochs=EPOCHS, batch_size=BATCH, learning_rate=RATE)
    trainer = StudentTrainer(dataset, student="support.tutorial:deep", teacher_logits=None, training=training)
    began = time.perf_counter()

    def tell(epoch: int, accuracy: float | None) -> None:
        print(f"teacher: epoch {epoch + 1} of {EPOCHS}, {time.perf_counter() - began:.0f} s", flush=True)

    result = trainer.train(DistillConfig(temperature=1.0, alpha=1.0), seed=seed, on_epoch=tell)
    logits = trainer.logits(dataset.train)
    logits_file.write(
        path,
        logits,
        dataset.train_indices,
        dataset="cifar10",
        provenance=f"DeepNN of PyTorch's tutorial, seed {seed}",
        val_accuracy=result.val_accuracy,
    )
    return {
        "logits": {"target": logits_file.digest(logits)},
        "teachers": {"target": result.val_accuracy},
        "test": trainer.accuracy(datasets.load_test("cifar10")),
        "wall_s": round(result.train_s),
        "core_s": round(result.cpu_s),
    }
