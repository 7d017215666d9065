"""Train students with one compiled step for all points and seeds; fingerprint the numerics of a process."""

import functools
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kd.config import DistillConfig, TrainingConfig, TrainResult
from kd.data.datasets import Dataset, Split
from kd.errors import Diverged, ModelError, describe_error
from kd.losses.loss import Tensor
from kd.models import files, named
from kd.training.batches import Batches, adam
from kd.training.distiller import Distiller

OnEpoch: TypeAlias = Callable[[int, float | None], None]
OnStep: TypeAlias = Callable[[], None]

STEPS_PER_CALL = 50  # compiled steps between two returns to Python, where signals and exceptions are seen
EVALUATION_BATCH = 500  # images
VALIDATIONS = 2  # per training: with few images, one after each of many epochs would take 40 % of the time
SEEDS_KEPT = 16  # initial states in memory; a search uses one seed, a confirmation a handful


class StudentTrainer:
    """Trains any number of students of one architecture on one dataset.

    Compiling takes seconds, about as long as training a small student. So T, alpha, the loss's own parameters, the
    learning rate, the seed, the number of epochs and the teacher's logits are reset or assigned between trainings,
    never compiled again. The same point and seed give bit-identical accuracies whatever was trained before, on the same
    machine with the same number of threads. `train_s` and `cpu_s` of the first training include the compilation.

    Args:
        dataset: trained on `dataset.train`, scored on `dataset.validation`.
        student: name of a model, see `kd.models.named.build`.
        teacher_logits: float, shape (train_images, classes), in the order of the training images; with several views
            (views, train_images, classes). None only if every `alpha` will be 1.
        training: epochs, batch size, learning rate and schedule.
        views: number of augmented versions of each image, see `kd.training.batches`; 1 is no augmentation. Epoch e
            trains on view e mod `views` and its logits. Validation images are not augmented.
        validations: per training, evenly spread, the last one after the last epoch; at most one per epoch.
        loss: name of a loss, see `kd.losses.builtin`, or a user's own, which is imported here.

    Raises:
        DataError: fewer training images than one batch, or teacher logits that do not fit this dataset.
        ModelError: the student is unknown or does not fit the images, or the loss is unknown.
        ValueError: views is not a whole number >= 1.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        student: str,
        teacher_logits: npt.NDArray[np.float32] | None,
        training: TrainingConfig,
        views: int = 1,
        validations: int = VALIDATIONS,
        loss: str = "kd",
    ) -> None:
        self._dataset = dataset
        self._student_name = student
        self._training = training
        self._validations = validations
        self._trained = False
        self._batches = Batches(dataset, teacher_logits, training.batch_size, views)
        shape, classes = dataset.input_shape, dataset.classes

        @functools.lru_cache(SEEDS_KEPT)
        def initial_state(seed: int) -> list[npt.NDArray[Any]]:
            return _values(named.build(student, shape, classes, seed).variables)

        self._initial_state = initial_state
        self._student = named.build(student, shape, classes, seed=0)
        self._distiller = Distiller(student=self._student, temperature=1.0, alpha=1.0, loss=loss)
        self._rate = tf.Variable(training.learning_rate, trainable=False)  # set for each training, as are the steps
        self._steps = tf.Variable(0.0, trainable=False)
        self._optimizer = adam(training, self._rate, self._steps)
        self._optimizer.build(self._student.trainable_variables)
        self._fresh_optimizer = _values(self._optimizer.variables)
        self._run_steps = _compiled_steps(self._distiller, self._optimizer, self._batches)
        self._forward = _compiled_forward(self._student, shape)

    def teach(self, teacher_logits: npt.NDArray[np.float32] | None) -> None:
        """Replace the teacher's logits; later trainings are bit-identical to those of a new trainer with these logits.

        Args:
            teacher_logits: as for the trainer, for example from `kd.teachers.logits_file`.

        Raises:
            DataError: logits that do not fit this dataset; the present ones stay.
        """
        self._batches.teach(teacher_logits)

    def train(
        self,
        distill: DistillConfig,
        *,
        seed: int,
        on_epoch: OnEpoch | None = None,
        on_step: OnStep = lambda: None,
        epochs: int | None = None,
        learning_rate: float | None = None,
    ) -> TrainResult:
        """Train one student from the initial weights of `seed`.

        Args:
            distill: temperature, alpha, and the loss's own parameters.
            seed: of the initial weights, dropout and batch order.
            on_epoch: called after each epoch with (epoch from 0, validation accuracy or None, see `validations`); an
                exception from it stops the training and propagates, and the trainer can be used again.
            on_step: called after every few dozen steps and after a validation; an exception from it does the same.
            epochs: of this training, instead of the trainer's; >= 1. A falling learning rate falls over them.
            learning_rate: at the first step of this training, instead of the trainer's; finite and > 0.

        Raises:
            Diverged: the loss or a logit is no longer finite.
            ValueError: alpha < 1 without teacher logits, a parameter that the loss does not have, or an invalid number
                of epochs or learning rate.
        """
        if distill.alpha < 1 and not self._batches.has_teacher:
            raise ValueError(f"alpha must be 1 without teacher logits, got {distill.alpha!r}")
        training = replace(
            self._training,
            epochs=self._training.epochs if epochs is None else epochs,
            learning_rate=self._training.learning_rate if learning_rate is None else learning_rate,
        )
        epochs = training.epochs
        self._distiller.set_point(temperature=distill.temperature, alpha=distill.alpha, own=distill.own)
        wall, cpu = time.perf_counter(), time.process_time()
        self._trained = False
        self._reset(seed, training)
        accuracies: list[float | None] = []
        accuracy = 0.0

        for epoch in range(epochs):
            if not math.isfinite(self._run_epoch(seed, epoch, on_step)):
                raise Diverged(_diverged("the loss", distill, seed, epoch))
            validate = (epoch + 1) * self._validations // epochs > epoch * self._validations // epochs
            if validate:
                own = self._averaged()
                logits = self.logits(self._dataset.validation)
                if not np.isfinite(logits).all():
                    raise Diverged(_diverged("a validation logit", distill, seed, epoch))
                accuracy = _accuracy(logits, self._dataset.validation)
                on_step()
                if own and epoch + 1 < epochs:
                    _assign(self._student.trainable_variables, own)
            accuracies.append(accuracy if validate else None)
            if on_epoch is not None:
                on_epoch(epoch, accuracies[-1])
        self._trained = True
        return TrainResult(
            val_accuracy=accuracy,
            epoch_val_accuracy=tuple(accuracies),
            parameters=self._student.count_params(),
            train_s=time.perf_counter() - wall,
            cpu_s=time.process_time() - cpu,
        )

    def accuracy(self, split: Split) -> float:
        """Return the accuracy of the latest student, a fraction in [0, 1]."""
        self._needs_a_student()
        return _accuracy(self.logits(split), split)

    def model_bytes(self) -> bytes:
        """Return the latest student as the bytes of a .keras file, without the optimizer.

        Raises:
            ModelError: Keras cannot save it.
        """
        self._needs_a_student()
        try:
            return files.to_bytes(self._student)
        except Exception as error:  # with 6 KB of advice
            raise ModelError(f"model {self._student_name!r} cannot be saved: {describe_error(error)}") from error

    def logits(self, split: Split) -> npt.NDArray[np.float32]:
        """Return the logits of the latest student, float32, shape (images, classes), in the order of the split."""
        images = split.images
        parts = []
        for start in range(0, len(images), EVALUATION_BATCH):
            batch = images[start : start + EVALUATION_BATCH]
            missing = EVALUATION_BATCH - len(batch)  # pad the last batch: another shape would compile again
            padded = np.pad(batch, [(0, missing), (0, 0), (0, 0), (0, 0)]) if missing else batch
            parts.append(self._forward(padded).numpy()[: len(batch)])
        return np.concatenate(parts)

    def _run_epoch(self, seed: int, epoch: int, on_step: OnStep) -> float:
        self._batches.shuffle(seed, epoch)
        total = 0.0
        for first in range(0, self._batches.steps, STEPS_PER_CALL):
            total += float(self._run_steps(first, min(STEPS_PER_CALL, self._batches.steps - first)))
            on_step()
        return total

    def _averaged(self) -> list[npt.NDArray[Any]]:
        """Replace the weights with their averages, if the schedule has them; return the weights."""
        weights = self._student.trainable_variables
        if self._training.schedule != "average":
            return []
        own = _values(weights)
        self._optimizer.finalize_variable_values(weights)
        return own

    def _reset(self, seed: int, training: TrainingConfig) -> None:
        # `variables`, not `weights`: only the former hold the state of dropout's random generators
        _assign(self._student.variables, self._initial_state(seed))
        _assign(self._optimizer.variables, self._fresh_optimizer)
        self._rate.assign(training.learning_rate)
        self._steps.assign(float(training.epochs * self._batches.steps))

    def _needs_a_student(self) -> None:
        if not self._trained:
            raise RuntimeError("no student is trained yet, or its training was stopped: call train() first")


def _compiled_steps(distiller: Distiller, optimizer: keras.optimizers.Optimizer, batches: Batches) -> Any:
    """Compile a function (first, count) -> sum of the losses of `count` training steps, without returning to Python.

    Bit for bit the steps of `distiller.fit`, without the seventh of its time that metrics, callbacks and iterator take.
    """
    variables = distiller.student.trainable_variables
    whole_number = tf.TensorSpec((), tf.int32)  # every value of a Python number would be compiled

    @tf.function(input_signature=[whole_number, whole_number])  # type: ignore[untyped-decorator]
    def run(first: Tensor, count: Tensor) -> Tensor:
        take = batches.opened()
        total = tf.constant(0.0)
        for step in tf.range(first, first + count):
            images, labels, teacher_logits = take(step)
            with tf.GradientTape() as tape:
                student_logits = distiller(images, training=True)
                loss = distiller.compute_loss(images, (labels, teacher_logits), student_logits)
            optimizer.apply(tape.gradient(loss, variables), variables)
            total += loss
        return total

    return run


def _compiled_forward(student: keras.Model, shape: tuple[int, ...]) -> Any:
    """Compile a function (uint8 images of one evaluation batch) -> logits; `predict_on_batch` costs a third more."""

    @tf.function(input_signature=[tf.TensorSpec((EVALUATION_BATCH, *shape), tf.uint8)])  # type: ignore[untyped-decorator]
    def forward(images: Tensor) -> Tensor:
        return student(images, training=False)

    return forward


def _assign(variables: Any, values: list[npt.NDArray[Any]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _values(variables: Any) -> list[npt.NDArray[Any]]:
    return [keras.ops.convert_to_numpy(variable) for variable in variables]  # copies, never views


def _accuracy(logits: npt.NDArray[np.float32], split: Split) -> float:
    return float(np.mean(logits.argmax(axis=-1) == split.labels))


def _diverged(what: str, distill: DistillConfig, seed: int, epoch: int) -> str:
    point = [f"T={distill.temperature:g}", f"alpha={distill.alpha:g}"]
    point += [f"{name}={value:g}" for name, value in distill.own]
    return f"{what} is not finite after epoch {epoch + 1} ({', '.join(point)}, seed {seed}): lower the learning rate"


@functools.cache
def fingerprint() -> str:
    """Return the first 12 hex digits of the SHA-256 of the logits of a fixed tiny training; takes a second, once.

    The training has every operation of the usual students: convolutions, pooling, a dense layer, the distillation loss
    and Adam. Its images and its teacher's logits are drawn by NumPy, the same everywhere. Another processor, TensorFlow
    or number of threads may round differently, and then gives another fingerprint.
    """
    draw, count, classes = np.random.default_rng(2015), 128, 10
    images = draw.integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)
    split = Split(images, draw.integers(0, classes, count).astype(np.int64))
    dataset = Dataset("numerics", split, split, classes, "", "", "drawn")
    logits = draw.normal(size=(count, classes)).astype(np.float32)
    training = TrainingConfig(epochs=3, batch_size=64, learning_rate=3e-3)
    trainer = StudentTrainer(dataset, student="keras-student", teacher_logits=logits, training=training)
    trainer.train(DistillConfig(temperature=4.0, alpha=0.3), seed=7)
    return hashlib.sha256(trainer.logits(split).tobytes()).hexdigest()[:12]
