"""Define the Distiller, a Keras model that trains a student from a teacher or from a teacher's cached logits.

    distiller = Distiller(student=student, teacher=teacher, temperature=4.0, alpha=0.1)
    distiller.compile("adam", metrics=["accuracy"])
    distiller.fit(images, labels, epochs=3)

Only the loss differs from a plain `keras.Model`, so `fit`, `evaluate` and callbacks stay Keras' own.
"""

from __future__ import annotations

from typing import Any

import keras

from kd.config import LOSS_FORMULA, DistillConfig
from kd.training.losses import Tensor, distillation_loss


class Distiller(keras.Model):  # type: ignore[misc]  # keras is untyped
    """Trains `student` on alpha*CE(labels) + (1-alpha)*T^2*KL(teacher_T || student_T).

    Alpha weighs the LABELS. The student's own regularization losses, if any, are added as in plain training.
    T and alpha are variables of the model: `set_point` changes them without compiling anything again.

    Args:
        student: takes images, returns logits, shape (batch, classes).
        teacher: takes the same images, returns logits of the same shape. It is frozen here, and always called in
            inference mode. None: the teacher's logits come with the labels, `fit(images, (labels, teacher_logits))`
            with float teacher_logits of shape (images, classes), in the order of the images.
        temperature: finite and > 0.
        alpha: in [0, 1]; 1 is plain training, 0 ignores the labels.

    Raises:
        ValueError: temperature or alpha outside its range.

    Source: https://keras.io/examples/vision/knowledge_distillation/; Hinton et al. 2015, arXiv:1503.02531.
    """

    def __init__(
        self, *, student: keras.Model, teacher: keras.Model | None = None, temperature: float, alpha: float
    ) -> None:
        super().__init__(name="distiller")
        self.student = student
        self.teacher = teacher
        if teacher is not None:
            teacher.trainable = False  # fit() takes gradients over every trainable sublayer
        self.temperature = self.add_weight(name="temperature", shape=(), initializer="ones", trainable=False)
        self.alpha = self.add_weight(name="alpha", shape=(), initializer="ones", trainable=False)
        self.set_point(temperature=temperature, alpha=alpha)

    def set_point(self, *, temperature: float, alpha: float) -> None:
        """Change T and alpha; a compiled training step uses the new values.

        Raises:
            ValueError: temperature not finite and > 0, or alpha outside [0, 1].
        """
        point = DistillConfig(temperature=temperature, alpha=alpha)
        self.temperature.assign(point.temperature)
        self.alpha.assign(point.alpha)

    def compile(self, *args: Any, loss: Any = None, **kwargs: Any) -> None:
        """Compile as `keras.Model.compile`, without `loss`: a Distiller has its own.

        Raises:
            ValueError: a loss was given.
        """
        if loss is not None:
            raise ValueError(f"Distiller brings its own loss, {LOSS_FORMULA}; got loss={loss!r}: leave it out")
        super().compile(*args, **kwargs)

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        """Return the student's logits, shape (batch, classes)."""
        return self.student(images, training=training)

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """Return the distillation loss of one batch, a scalar in nats; Keras calls it from `fit` and `evaluate`."""
        if sample_weight is not None:
            raise ValueError("Distiller weighs all images alike: leave sample_weight and class_weight out")
        labels = self._labels(y)
        teacher_logits = y[1] if self.teacher is None else self.teacher(x, training=False)
        loss = distillation_loss(
            labels=labels,
            teacher_logits=teacher_logits,
            student_logits=y_pred,
            temperature=self.temperature,
            alpha=self.alpha,
        )
        return sum(self.student.losses, loss)

    def compute_metrics(self, x: Tensor, y: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> dict[str, Tensor]:
        """Update the compiled metrics with the labels alone, because cached logits are not targets."""
        metrics: dict[str, Tensor] = super().compute_metrics(x, self._labels(y), y_pred, sample_weight)
        return metrics

    def _labels(self, y: Tensor) -> Tensor:
        if self.teacher is not None:
            return y
        if not isinstance(y, (tuple, list)) or len(y) != 2:
            raise ValueError("a Distiller without a teacher needs y=(labels, teacher_logits); or give it teacher=")
        return y[0]
