"""Build a model by a user's own "package.module:build", and say in one line what is wrong with it."""

from __future__ import annotations

import importlib
import inspect
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kd.errors import ModelError, ModuleNotHere, told
from kd.models.keras_files import load

__all__ = ["build_users", "check_users"]

_ENDS = (keras.activations.softmax, keras.activations.sigmoid)


def build_users(name: str, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Call a user's function and check the model that it returns, on four random images.

    Args:
        name: "package.module:function".
        input_shape: (height, width, channels) of one image.
        classes: number of logits.

    Raises:
        ModelError: it cannot be imported or called so, it raises, or its model is not one to train: another output
            than float32 logits of shape (batch, classes), or nothing that trains.
    """
    function = _imported(name)
    try:
        model = function(input_shape, classes)
        if not isinstance(model, keras.Model):
            raise ModelError(f"model {name!r} must return a keras.Model, got {type(model).__name__}")
        images = np.random.default_rng(0).integers(0, 256, (4, *input_shape)).astype(np.uint8)
        output = model(images)
    except ModelError:
        raise
    except SystemExit as error:  # else the whole worker would end, and with exit code 0 as if it had finished
        raise ModelError(f"model {name!r} calls sys.exit({error.code!r}); let it return a keras.Model") from error
    except Exception as error:  # the user's code may raise anything; the cause stays chained
        raise ModelError(f"model {name!r} does not work with images of {input_shape}: {told(error)}") from error
    _check_output(name, model, output, (len(images), classes))
    if not model.trainable_variables:
        raise ModelError(
            f"model {name!r} has nothing to train: all of its {len(model.weights)} weights are frozen;"
            " set trainable = True where it is to learn"
        )
    return model


def check_users(name: str, input_shape: tuple[int, int, int], classes: int) -> None:
    """Build a user's model, save it, and load it without the user's code, as the measurement and others will.

    Arguments as for `build_users`.

    Raises:
        ModelError: as there; or it holds a layer that cannot be saved, or not be loaded where the user's code is not.
    """
    model = build_users(name, input_shape, classes)
    theirs = keras.saving.get_custom_objects()
    registered = dict(theirs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        try:
            model.save(path)
            theirs.clear()
            load(path.read_bytes())
        except Exception as error:  # of many kinds
            why = _foreign_layer(model) or told(error)
            raise ModelError(
                f"model {name!r} cannot be saved and loaded again: {why}; build it of Keras' own layers, no Lambda"
            ) from error
        finally:
            theirs.update(registered)


def _foreign_layer(model: keras.Model) -> str:
    """Name the first layer that is not of Keras, or is a Lambda; "" if there is none."""
    for layer in (model, *model.layers):
        if isinstance(layer, keras.Model) and layer is not model and (inner := _foreign_layer(layer)):
            return inner
        kind = type(layer)
        if kind.__module__.partition(".")[0] != "keras" or kind is keras.layers.Lambda:
            return f"its layer {layer.name!r} is a {kind.__module__.partition('.')[0]}.{kind.__qualname__}"
    return ""


def _imported(name: str) -> Callable[..., Any]:
    module_name, _, function_name = name.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except ImportError as error:
        raise ModuleNotHere(
            f"cannot import model {name!r} here: {error}. Write package.module:function, with its folder on PYTHONPATH"
        ) from error
    except (Exception, SystemExit) as error:  # a module runs when it is imported, and may raise anything
        plain = isinstance(error, (AttributeError, ValueError))
        raise ModelError(
            f"cannot import model {name!r}: {error if plain else told(error)}."
            " Write package.module:function, with its folder on PYTHONPATH"
        ) from error
    if not callable(function):
        raise ModelError(
            f"model {name!r} must be a function build(input_shape, classes), got {type(function).__name__}"
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C tell nothing: calling them will
        return function  # type: ignore[no-any-return]
    try:
        signature.bind((8, 8, 1), 10)
    except TypeError:
        raise ModelError(f"model {name!r} is called as build(input_shape, classes), but takes {signature}") from None
    return function  # type: ignore[no-any-return]


def _check_output(name: str, model: keras.Model, output: Any, shape: tuple[int, int]) -> None:
    if isinstance(output, (list, tuple, dict)):
        raise ModelError(f"model {name!r} must have one output, the logits; got {len(output)}: return that one alone")
    if tuple(getattr(output, "shape", ())) != shape:
        got = (None, *tuple(output.shape)[1:]) if hasattr(output, "shape") else type(output).__name__
        raise ModelError(f"model {name!r} must output logits of shape {(None, shape[1])}, got {got}")
    dtype = keras.backend.standardize_dtype(output.dtype)
    if dtype != "float32":
        raise ModelError(f"model {name!r} must output float32, got {dtype}: give its last layer dtype='float32'")
    said = keras.ops.convert_to_numpy(output)
    # Trained all the same, a softmax would enter the loss a second time: another loss than the one that is printed.
    sums_to_1 = said.min() >= 0 and np.allclose(said.sum(axis=-1), 1, atol=1e-3)
    last = model.layers[-1] if model.layers else model
    if sums_to_1 or getattr(last, "activation", None) in _ENDS:
        raise ModelError(
            f"model {name!r} must output logits, got probabilities (in [0, 1]) from its last layer {last.name!r}:"
            " leave its softmax or sigmoid out"
        )
