"""Make tensors, and differentiate losses, in the framework of a user's code, which is imported at its first use."""

import importlib
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kd.errors import ModelError

Array: TypeAlias = npt.NDArray[Any]


class Framework:
    """The framework that a loss computes in: NumPy here, others below. name: a key of `FRAMEWORKS`."""

    name = "numpy"
    has_bfloat16 = False

    def tensor(self, values: Array, precision: str | None = None) -> Any:
        """Return an array as a tensor: of a precision (float64, float32, bfloat16), or of the array's type."""
        return np.array(values, dtype=precision)

    def array(self, tensor: Any) -> Array:
        """Return a tensor, or a number, as an array of float64."""
        return np.asarray(tensor, dtype=np.float64)

    def gradients(self, function: Callable[[Any, Any], Any], teacher: Any, student: Any) -> tuple[Array, Array] | None:
        """Return the gradients of the function's mean, zero where nothing flows; None without autograd."""
        return None


class _Torch(Framework):
    name, has_bfloat16 = "torch", True

    def __init__(self) -> None:
        self.torch = _imported("torch")

    def tensor(self, values: Array, precision: str | None = None) -> Any:
        tensor = self.torch.tensor(np.asarray(values))
        return tensor.to(getattr(self.torch, precision)) if precision else tensor

    def array(self, tensor: Any) -> Array:
        if isinstance(tensor, self.torch.Tensor):
            tensor = tensor.detach().to(self.torch.float64).cpu().numpy()
        return super().array(tensor)

    def gradients(self, function: Callable[[Any, Any], Any], teacher: Any, student: Any) -> tuple[Array, Array]:
        inputs = [tensor.detach().requires_grad_() for tensor in (teacher, student)]
        mean = function(*inputs).mean()
        gradients = self.torch.autograd.grad(mean, inputs, allow_unused=True) if mean.requires_grad else (None, None)
        first, second = (
            self.array(self.torch.zeros_like(tensor) if gradient is None else gradient)
            for tensor, gradient in zip(inputs, gradients, strict=True)
        )
        return first, second


class _Jax(Framework):
    name, has_bfloat16 = "jax", True

    def __init__(self) -> None:
        self.jax = _imported("jax")
        self.jax.config.update("jax_enable_x64", True)  # else float64 is float32, and rounding hides small mistakes
        self.numpy = _imported("jax.numpy")

    def tensor(self, values: Array, precision: str | None = None) -> Any:
        return self.numpy.asarray(values, dtype=precision)

    def gradients(self, function: Callable[[Any, Any], Any], teacher: Any, student: Any) -> tuple[Array, Array]:
        mean = self.jax.grad(lambda *inputs: self.numpy.mean(function(*inputs)), argnums=(0, 1))
        first, second = map(self.array, mean(teacher, student))
        return first, second


class _TensorFlow(Framework):
    name, has_bfloat16 = "tensorflow", True

    def __init__(self) -> None:
        self.tf = _imported("tensorflow")

    def tensor(self, values: Array, precision: str | None = None) -> Any:
        tensor = self.tf.constant(np.asarray(values))
        return self.tf.cast(tensor, precision) if precision else tensor

    def array(self, tensor: Any) -> Array:
        if self.tf.is_tensor(tensor):
            tensor = self.tf.cast(tensor, "float64").numpy()
        return super().array(tensor)

    def gradients(self, function: Callable[[Any, Any], Any], teacher: Any, student: Any) -> tuple[Array, Array]:
        with self.tf.GradientTape() as tape:
            tape.watch([teacher, student])
            mean = self.tf.reduce_mean(function(teacher, student))
        zero = self.tf.UnconnectedGradients.ZERO
        first, second = map(self.array, tape.gradient(mean, [teacher, student], unconnected_gradients=zero))
        return first, second


def _keras() -> Framework:
    return framework_of(_imported("keras").backend.backend())  # KERAS_BACKEND decides which


_MAKERS: dict[str, Callable[[], Framework]] = {
    "torch": _Torch,
    "jax": _Jax,
    "keras": _keras,
    "tensorflow": _TensorFlow,
    "numpy": Framework,
}
FRAMEWORKS = tuple(_MAKERS)


def framework_of(name: str) -> Framework:
    """Return a framework by its name, one of `FRAMEWORKS`.

    Raises:
        ModelError: it is not installed here.
    """
    return _MAKERS[name]()


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ModelError(f"{package} is not installed here: {error}. Install it: pip install {package}") from error
