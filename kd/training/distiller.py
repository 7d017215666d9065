"""Define the Keras model `Distiller`.

    distiller = Distiller(student=student, teacher=teacher, temperature=4.0, alpha=0.1)
    distiller.compile("adam", metrics=["accuracy"])
    distiller.fit(images, labels, epochs=3)

Only the loss differs from a plain `keras.Model`, so `fit`, `evaluate`, saving and callbacks are Keras' own.
"""

from typing import Any

import keras

from kd.config import DistillConfig
from kd.losses import loss_named
from kd.losses.loss import Tensor, distillation_loss, weighing
from kd.models.files import PROBABILITIES


@keras.saving.register_keras_serializable("kd")
class Distiller(keras.Model):  # type: ignore[misc]  # keras is untyped
    """Trains `student` on alpha*CE(labels) + (1-alpha)*T^2*KL(teacher_T || student_T), or on another loss.

    Alpha weighs the LABELS. Regularization losses of the student are added, as in plain training. T, alpha and the
    loss's own parameters are variables of the model: `set_point` changes them without compiling again. A saved
    Distiller keeps them, with the loss, student and teacher; a file of weights does not.

    Labels are integers or, as for `keras.losses.CategoricalCrossentropy`, one-hot. `sample_weight` and `class_weight`
    weigh the whole loss of an image, labels and teacher.

    Args:
        student: takes images, returns logits, shape (batch, classes).
        teacher: another model; takes the same images, returns logits of the same shape. It is frozen here, and always
            called in inference mode. None: the teacher's logits come with the labels, `fit(images, (labels,
            teacher_logits))` with float teacher_logits of shape (images, classes), in the order of the images.
        temperature: finite and > 0.
        alpha: in [0, 1]; 1 is plain training, 0 ignores the CE of the labels.
        loss: "kd" is the one above; "mse", "logit-standardization", "dkd", "nkd", "dist", or your own function as
            "package.module:function" or "./file.py:function", see `kd.losses.builtin`.
        own: the loss's own parameters as (name, value); others have their defaults.
        options: `name`, `dtype` and `trainable`, as for any `keras.Model`.

    Raises:
        ModelError: unknown loss, or your own cannot be imported.
        ValueError: temperature or alpha out of range, a parameter that the loss does not have, or a model that does
            not return logits alone. Only a functional or sequential model shows that before it is trained.

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
        **options: Any,
    ) -> None:
        _check_model("student", student)
        if teacher is not None:
            _check_model("teacher", teacher)
        if teacher is student:
            raise ValueError("teacher and student are one model, which would be frozen: give two")
        if not isinstance(loss, str):
            raise ValueError(f'loss must be a name, got {loss!r}; name your own function "package.module:function"')
        super().__init__(**{"name": "distiller", **options})
        self.student = student
        self.teacher = teacher
        if teacher is not None:
            _freeze(teacher)
        # BackupAndRestore reads it before the first call.
        self.built = student.built and (teacher is None or teacher.built)
        self.temperature = self.add_weight(name="temperature", shape=(), initializer="ones", trainable=False)
        self.alpha = self.add_weight(name="alpha", shape=(), initializer="ones", trainable=False)
        self.described = loss_named(loss)
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
            own: as for the Distiller; the others are reset to their defaults.

        Raises:
            ValueError: a value out of range, or a parameter that the loss does not have; the point stays as it was.
        """
        point = DistillConfig(temperature=temperature, alpha=alpha, own=own)
        values = self.described.values(dict(point.own))
        self.temperature.assign(point.temperature)
        self.alpha.assign(point.alpha)
        for name, value in values.items():
            self.own[name].assign(value)

    def compile(self, *args: Any, loss: Any = None, **kwargs: Any) -> None:
        """Compile as `keras.Model.compile` does, without `loss`: a Distiller has its own.

        Raises:
            ValueError: a loss was given.
        """
        if loss is not None:
            raise ValueError(
                f"Distiller has its own loss, {self.described.formula}; got loss={loss!r}: leave it out, or pass the"
                " name of another loss to the Distiller"
            )
        super().compile(*args, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as before saving; Keras calls it while it loads a file."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)  # for its state in the file

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of this Distiller as JSON values, with the present T, alpha and own parameters."""
        return {
            **super().get_config(),
            "student": _description(self.student),
            "teacher": _description(self.teacher),
            "temperature": _value(self.temperature),
            "alpha": _value(self.alpha),
            "loss": self.described.name,
            "own": [(name, _value(variable)) for name, variable in self.own.items()],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Distiller":
        """Return a Distiller from what `get_config` returned, with fresh weights."""
        models = {role: keras.saving.deserialize_keras_object(config[role]) for role in ("student", "teacher")}
        return cls(**{**config, **models})

    def save_own_variables(self, store: Any) -> None:
        """Save no variable: T, alpha and own parameters are in the config, so weights fit a Distiller at any point."""

    def load_own_variables(self, store: Any) -> None:
        """Load no variable, see `save_own_variables`."""

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        """Return the student's logits, shape (batch, classes)."""
        if self.teacher is not None and not self.teacher.built:
            self.teacher(images, training=False)  # a compiled step cannot create its variables
            _freeze(self.teacher)
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
        labels = self._labels(y)
        teacher_logits = y[1] if self.teacher is None else self.teacher(x, training=False)
        with weighing(_of_labels(sample_weight)):
            loss = distillation_loss(
                labels=labels,
                teacher_logits=teacher_logits,
                student_logits=y_pred,
                temperature=self.temperature,
                alpha=self.alpha,
                term=self.described.term,
                own=self.own,
            )
        return sum(self.student.losses, loss)

    def compute_metrics(self, x: Tensor, y: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> dict[str, Tensor]:
        """Update the compiled metrics with the labels alone, because cached logits are not targets."""
        weights = _of_labels(sample_weight)
        metrics: dict[str, Tensor] = super().compute_metrics(x, self._labels(y), y_pred, weights)
        return metrics

    def _labels(self, y: Tensor) -> Tensor:
        if self.teacher is not None:
            return y
        if not isinstance(y, (tuple, list)) or len(y) != 2:
            raise ValueError("a Distiller without a teacher needs y=(labels, teacher_logits); or give it teacher=")
        return y[0]


def _of_labels(weights: Tensor) -> Tensor:
    """Return the weights of the images; Keras passes them twice for y=(labels, teacher_logits)."""
    return weights[0] if isinstance(weights, (tuple, list)) else weights


def _description(model: keras.Model | None) -> Any:
    description = keras.saving.serialize_keras_object(model)
    if model is not None:
        description.pop("compile_config", None)  # a frozen teacher's optimizer would not fit its saved state
    return description


def _value(variable: keras.Variable) -> float:
    return float(str(keras.ops.convert_to_numpy(variable.value)))  # 0.1, not float32's 0.10000000149011612


def _freeze(teacher: keras.Model) -> None:
    """Keep `fit` from training the teacher: it takes gradients over every trainable variable of the Distiller."""
    teacher.trainable = False
    for variable in teacher.variables:  # that line skips the layers if the teacher was already frozen
        variable.trainable = False


def _check_model(role: str, model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise ValueError(f"{role} must be a keras.Model, got {model!r}")
    if isinstance(model, keras.Function) and len(model.outputs) != 1:
        raise ValueError(f"{role} must have one output, the logits, got {len(model.outputs)}")
    # With a softmax there, the loss would apply it twice. A subclassed model hides its last operation.
    last: Any = model
    while steps := _steps(last):
        last = steps[-1]
    if getattr(last, "activation", None) in PROBABILITIES or type(last).__name__ in ("Softmax", "Sigmoid"):
        raise ValueError(
            f"{role} must return logits, got probabilities from its last layer {last.name!r}: leave the softmax or"
            " sigmoid out, or set activation = keras.activations.linear there"
        )


def _steps(layer: Any) -> list[Any]:
    """Return the layers and operations of a model in order; [] for a subclassed model and for a layer."""
    return layer.layers if isinstance(layer, keras.Sequential) else getattr(layer, "operations", [])
