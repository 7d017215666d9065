"""`Distiller`, the Keras model.

    distiller = Distiller(student=student, teacher=teacher, temperature=4.0, alpha=0.1)
    distiller.compile("adam", metrics=["accuracy"])
    distiller.fit(images, labels, epochs=3)

Only the loss differs from a plain `keras.Model`, so `fit`, `evaluate` and callbacks stay Keras' own.
"""

from typing import Any

import keras

from kd.config import DistillConfig
from kd.losses import loss_named, term_of
from kd.losses.loss import Tensor, distillation_loss


class Distiller(keras.Model):  # type: ignore[misc]  # keras is untyped
    """Trains `student` on alpha*CE(labels) + (1-alpha)*T^2*KL(teacher_T || student_T), or on another loss.

    Alpha weighs the LABELS. The student's own regularization losses, if any, are added as in plain training.
    T, alpha and the loss's own parameters are variables of the model: `set_point` changes them without compiling
    anything again.

    Args:
        student: takes images, returns logits, shape (batch, classes).
        teacher: takes the same images, returns logits of the same shape. It is frozen here, and always called in
            inference mode. None: the teacher's logits come with the labels, `fit(images, (labels, teacher_logits))`
            with float teacher_logits of shape (images, classes), in the order of the images.
        temperature: finite and > 0.
        alpha: in [0, 1]; 1 is plain training, 0 ignores the CE of the labels.
        loss: "kd" is the one above; "mse", "logit-standardization", "dkd", "nkd", "dist", or a function of your own as
            "package.module:function" or "./file.py:function", see `kd.losses.builtin`.
        own: the loss's own parameters as (name, value); a parameter that is not given has its default.

    Raises:
        ModelError: there is no such loss, or your own cannot be imported.
        ValueError: temperature or alpha outside its range, or a parameter that the loss does not have.

    Source: https://keras.io/examples/vision/knowledge_distillation/; Hinton et al. 2015, arXiv:1503.02531.
    """

    def __init__(
        self,
        *,
        student: keras.Model,
        teacher: keras.Model | None = None,
        temperature: float,
        alpha: float,
        loss: str = "kd",
        own: tuple[tuple[str, float], ...] = (),
    ) -> None:
        super().__init__(name="distiller")
        self.student = student
        self.teacher = teacher
        if teacher is not None:
            teacher.trainable = False  # fit() takes gradients over every trainable sublayer
        self.temperature = self.add_weight(name="temperature", shape=(), initializer="ones", trainable=False)
        self.alpha = self.add_weight(name="alpha", shape=(), initializer="ones", trainable=False)
        self.described, self._term = loss_named(loss), term_of(loss)
        self.own = {
            parameter.name: self.add_weight(name=parameter.name, shape=(), initializer="ones", trainable=False)
            for parameter in self.described.parameters
        }
        self.set_point(temperature=temperature, alpha=alpha, own=own)

    def set_point(self, *, temperature: float, alpha: float, own: tuple[tuple[str, float], ...] = ()) -> None:
        """Change T, alpha and the loss's own parameters; a compiled training step uses the new values.

        Args:
            temperature: finite and > 0.
            alpha: in [0, 1].
            own: as for the Distiller; what is not given goes back to its default.

        Raises:
            ValueError: a value outside its range, or a parameter that the loss does not have; nothing is changed.
        """
        point = DistillConfig(temperature=temperature, alpha=alpha, own=own)
        values = self.described.values(dict(point.own))
        self.temperature.assign(point.temperature)
        self.alpha.assign(point.alpha)
        for name, value in values.items():
            self.own[name].assign(value)

    def compile(self, *args: Any, loss: Any = None, **kwargs: Any) -> None:
        """Compile as `keras.Model.compile`, without `loss`: a Distiller has its own.

        Raises:
            ValueError: a loss was given.
        """
        if loss is not None:
            raise ValueError(
                f"Distiller brings its own loss, {self.described.formula}; got loss={loss!r}: leave it out, or name"
                " another to the Distiller"
            )
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
        """Return the distillation loss of one batch, a scalar; Keras calls it from `fit` and `evaluate`."""
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
            term=self._term,
            own=self.own,
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
