"""Build and check a network from a user's function, named as in `kd.tools.code`."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kd.errors import ModelError, describe_error, without_room
from kd.models.files import PROBABILITIES, load, own_classes, to_bytes
from kd.tools import code

_DECORATOR = "@keras.saving.register_keras_serializable()"
_NEXT_SECOND_S = 1.1  # until a clock that counts seconds gives another seed
_CURE = "build it from Keras' layers, or from registered ones with a get_config, no Lambda"


def build_users(name: str, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Call a user's function and check the model that it returns, on four random images.

    Raises:
        ModelError: it cannot be imported or called, it raises, it lowers a limit of its process, or its model cannot be
            trained: it has no trainable weights, or its output is not float32 logits of shape (batch, classes).
    """
    function = _imported(name)
    try:
        with _same_limit(name):
            model = code.call(function, input_shape, classes)
        if not isinstance(model, keras.Model):
            raise ModelError(f"model {name!r} must return a keras.Model, got {type(model).__name__}")
        images = _images(input_shape)
        output = model(images)
    except ModelError:
        raise
    except SystemExit as error:  # it would end the worker, with exit code 0 as if it had finished
        raise ModelError(f"model {name!r} calls sys.exit({error.code!r}); let it return a keras.Model") from error
    except Exception as error:  # the user's code may raise anything; the cause stays chained
        problem = f"does not work with images of {input_shape}: {describe_error(error)}"
        raise without_room(f"model {name!r}", error) or ModelError(f"model {name!r} {problem}") from error
    _check_output(name, model, output, (len(images), classes))
    if not model.trainable_variables:
        raise ModelError(
            f"model {name!r} has nothing to train: all {len(model.weights)} weights are frozen; set trainable = True"
            " for the layers to train"
        )
    return model


def check_users(name: str, input_shape: tuple[int, int, int], classes: int) -> None:
    """Build a user's model, save it, and load it as a measurement does, which imports its module only.

    Raises:
        ModelError: as for `build_users`; or a layer cannot be saved and loaded after importing the module, or loses
            something in it; or the seed does not determine the initial weights and the outputs.
    """
    _imported(name)
    known = keras.saving.get_custom_objects()
    by_import = dict(known)  # what the building registers later is missing in another process
    keras.utils.set_random_seed(0)
    model = build_users(name, input_shape, classes)
    initial = _bits(model)
    by_building = dict(known)
    images = _images(input_shape)
    try:
        saved = to_bytes(model)
        known.clear()
        known.update(by_import)
        reloaded = load(saved)
        before, same, after = (np.asarray(each(images, training=False)) for each in (model, model, reloaded))
    except Exception as error:  # of many kinds
        why = _foreign(model, by_import) or f"{describe_error(error.__cause__ or error)}; {_CURE}"
        failed = ModelError(f"model {name!r} cannot be saved and loaded again: {why}")
        raise without_room(f"model {name!r}", error) or failed from error
    finally:
        known.update(by_building)
    if np.allclose(before, same) and not np.allclose(before, after, rtol=1e-3, atol=1e-3):
        raise ModelError(
            f"model {name!r} gives different logits when it is saved and loaded again: make every weight with"
            " add_weight, and let get_config return every argument of __init__"
        )
    if _draws(name, model, images):
        raise ModelError(
            f"model {name!r} gives different logits in training though all of its variables are the same, so no result"
            " could be reproduced: let each layer draw with its own keras.random.SeedGenerator, made in its __init__"
        )
    time.sleep(_NEXT_SECOND_S)
    keras.utils.set_random_seed(0)
    if _bits(build_users(name, input_shape, classes)) != initial:
        raise ModelError(
            f"model {name!r} has different initial weights when it is rebuilt with the same seed, so no result could be"
            " reproduced: let Keras' initializers draw them, without a seed from a clock or another generator"
        )


def load_users(model: bytes, name: str) -> keras.Model:
    """Load a .keras file that may hold a user's layers.

    Args:
        name: the "package.module:function" that built it, whose module registers these layers; "" if all are Keras'.

    Raises:
        ModelError: the module cannot be imported, or see `kd.models.files.load`.
    """
    if name:
        _imported(name)
    try:
        return load(model)
    except ModelError as error:
        if not name:
            raise
        own = ", ".join(sorted(own_classes(model)))
        holds = f"it holds {own}; was its module changed since? " if own else ""
        raise ModelError(
            f"the model that {name!r} built cannot be loaded here: {holds}{describe_error(error.__cause__ or error)}"
        ) from error


def _images(shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (4, *shape)).astype(np.uint8)


def _draws(name: str, model: keras.Model, images: npt.NDArray[np.uint8]) -> bool:
    """Return whether outputs in training depend on more than the variables, which are all that a training resets."""
    kept = [keras.ops.convert_to_numpy(variable) for variable in model.variables]
    outputs = []
    for _ in range(2):
        try:
            outputs.append(keras.ops.convert_to_numpy(model(images, training=True)))
        except Exception as error:  # of many kinds
            raise ModelError(f"model {name!r} does not work in training: {describe_error(error)}") from error
        for variable, value in zip(model.variables, kept, strict=True):
            variable.assign(value)
    return not np.allclose(outputs[0], outputs[1], rtol=1e-3, atol=1e-3, equal_nan=True)


def _bits(model: keras.Model) -> list[bytes]:
    return [keras.ops.convert_to_numpy(variable).tobytes() for variable in model.variables]


@contextmanager
def _same_limit(name: str) -> Iterator[None]:
    """Refuse code that lowers the limit of open files of its process: later failures would blame the machine."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        yield
    finally:
        now, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if now != before and (before == resource.RLIM_INFINITY or 0 <= now < before):
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
            raise ModelError(
                f"model {name!r} lowers how many files its process may open, from {before} to {now}: leave"
                " RLIMIT_NOFILE as it is"
            )


def _foreign(model: keras.Model, registered: dict[str, Any]) -> str:
    """Describe the first layer that another process could not load, and the cure; "" if there is none."""
    for layer in (model, *model.layers):
        if isinstance(layer, keras.Model) and layer is not model and (inner := _foreign(layer, registered)):
            return inner
        kind = type(layer)
        what = f"its layer {layer.name!r} is a {kind.__module__.partition('.')[0]}.{kind.__qualname__}"
        if kind is keras.layers.Lambda:
            return f"{what}; {_CURE}"
        if kind.__module__.partition(".")[0] != "keras" and kind not in registered.values():
            inside = ", outside of any function" if "<locals>" in kind.__qualname__ else ""
            return f"{what}; write {_DECORATOR} above class {kind.__name__}{inside}"
    return ""


def _imported(name: str) -> Callable[..., Any]:
    called, arguments = "as build(input_shape, classes)", ((8, 8, 1), 10)
    with _same_limit(name):
        return code.load_function("model", name, called, *arguments, broken=ModelError)


def _check_output(name: str, model: keras.Model, output: Any, shape: tuple[int, int]) -> None:
    if isinstance(output, (list, tuple, dict)):
        raise ModelError(f"model {name!r} must have one output, the logits; got {len(output)} outputs")
    if tuple(getattr(output, "shape", ())) != shape:
        output_shape = (None, *tuple(output.shape)[1:]) if hasattr(output, "shape") else type(output).__name__
        raise ModelError(f"model {name!r} must output logits of shape {(None, shape[1])}, got {output_shape}")
    dtype = keras.backend.standardize_dtype(output.dtype)
    if dtype != "float32":
        raise ModelError(f"model {name!r} must output float32, got {dtype}: give its last layer dtype='float32'")
    values = keras.ops.convert_to_numpy(output)
    # With a softmax there, the loss would apply it twice, and would not be the loss that is printed.
    sums_to_1 = values.min() >= 0 and np.allclose(values.sum(axis=-1), 1, atol=1e-3)
    last = model.layers[-1] if model.layers else model
    if sums_to_1 or getattr(last, "activation", None) in PROBABILITIES:
        raise ModelError(
            f"model {name!r} must output logits, got probabilities (in [0, 1]) from its last layer {last.name!r}: leave"
            " the softmax or sigmoid out"
        )
