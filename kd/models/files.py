"""Load .keras files as models that return logits, and save models with a check of their predictions.

To return logits, or to start untrained, Keras builds a model from the changed description of the layers in the file:
with a linear activation of the output, and without the seeds.
"""

import io
import json
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kd.errors import ModelError, describe_error

PROBABILITIES = (keras.activations.softmax, keras.activations.sigmoid)  # as last activations they hide the logits


def load(model: bytes) -> keras.Model:
    """Load a .keras file for inference.

    Raises:
        ModelError: the bytes are not a .keras file, or it holds unregistered layers.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(model)
        try:
            return keras.saving.load_model(path, compile=False)
        except Exception as error:  # of many kinds: zip, JSON, HDF5, an unknown class
            raise ModelError(f"not a .keras file that loads here: {describe_error(error)}") from error


def own_classes(model: bytes) -> set[str]:
    """Return the names of the classes in a .keras file that are not part of Keras, such as "my_models.Double"."""
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as file:
            return set(_own_classes(json.loads(file.read("config.json"))))
    except (zipfile.BadZipFile, KeyError, ValueError):  # not a .keras file
        return set()


def _own_classes(described: Any) -> Iterator[str]:
    if isinstance(described, dict):
        module, name = described.get("module"), described.get("class_name")
        registered = described.get("registered_name")
        if isinstance(name, str) and registered and str(module or "").partition(".")[0] != "keras":
            yield f"{module}.{name}" if module else name
        for value in described.values():
            yield from _own_classes(value)
    elif isinstance(described, list):
        for value in described:
            yield from _own_classes(value)


def with_logits(model: bytes) -> keras.Model:
    """Load a .keras file without its final softmax or sigmoid, so that it returns logits.

    The logarithm of the probabilities is no substitute: a float32 softmax is exactly 1 if one logit leads by 17 or
    more, which loses the logits of the other classes.
    """
    loaded = load(model)
    fresh = _remade(loaded)
    fresh.set_weights(loaded.get_weights())
    return fresh


def rebuilt(model: bytes, seed: int) -> keras.Model:
    """Build the architecture of a .keras file untrained: initial weights of the seed, logits as output, all trainable.

    Layers that were adapted to images, such as Normalization, keep that state, which was not trained. Seeds in the
    file, of an initializer or a Dropout, are ignored; the global generators are seeded.
    """
    loaded = load(model)
    keras.utils.set_random_seed(seed)
    return _remade(loaded, seed=None, trainable=True)


def build_from_file(path: Path, input_shape: tuple[int, int, int], classes: int, seed: int) -> keras.Model:
    """Build the untrained architecture of a user's .keras file (`rebuilt`) and check its input and output.

    Raises:
        ModelError: no such file, or its model does not take these images or does not give logits of these classes.
    """
    try:
        model = rebuilt(path.read_bytes(), seed)
    except OSError as error:
        raise ModelError(f"cannot read model {path}: {error.strerror}; give the path of a .keras file") from error
    except ModelError as error:
        raise ModelError(f"model {path}: {error}") from error
    images = np.random.default_rng(0).integers(0, 256, (8, *input_shape), np.uint8)
    try:
        if any(own not in (None, given) for own, given in zip(model.input_shape[1:], input_shape, strict=True)):
            raise ValueError(f"it takes {model.input_shape[1:]}")  # Keras itself would broadcast a gray image
        output = np.asarray(model(images, training=False))
    except Exception as error:  # whatever its layers raise
        line = str(error).strip().partition("\n")[0]
        raise ModelError(f"model {path} does not work with images of {input_shape}: {line}") from error
    if output.shape[1:] != (classes,):
        raise ModelError(f"model {path} must output logits of shape {(None, classes)}, got {(None, *output.shape[1:])}")
    if (output >= 0).all() and np.allclose(output.sum(axis=-1), 1, atol=1e-4):
        raise ModelError(
            f"model {path} must output logits, got probabilities: let it end in a Dense or a Softmax layer"
        )
    return model


def _remade(model: keras.Model, **settings: Any) -> keras.Model:
    """Build a model of the same architecture, with a linear output, these settings, and the state of adapted layers."""
    description = keras.saving.serialize_keras_object(model)
    _end_linearly(description)
    fresh = keras.saving.deserialize_keras_object(_with(description, settings))
    for old, new in zip(_layers(model), _layers(fresh), strict=True):
        if hasattr(old, "adapt"):
            store: dict[str, npt.NDArray[Any]] = {}
            old.save_own_variables(store)
            new.load_own_variables(store)
    return fresh


def _end_linearly(description: dict[str, Any]) -> None:
    config = description["config"]
    if "output_layers" in config:
        name = np.ravel(config["output_layers"])[0]
        _end_linearly(next(layer for layer in config["layers"] if layer["config"]["name"] == name))
    elif "layers" in config:
        _end_linearly(config["layers"][-1])
    elif description["class_name"] == "Softmax":
        linear = keras.layers.Activation("linear", name=config["name"], dtype=config["dtype"])
        description |= keras.saving.serialize_keras_object(linear)
        for call in description.get("inbound_nodes", ()):
            call["kwargs"] = {}  # drop the mask, which Activation does not take
    elif keras.activations.get(config.get("activation")) in PROBABILITIES:
        config["activation"] = "linear"


def _with(description: Any, settings: dict[str, Any]) -> Any:
    if isinstance(description, dict):
        return {key: settings.get(key, _with(value, settings)) for key, value in description.items()}
    if isinstance(description, list | tuple):
        return type(description)(_with(value, settings) for value in description)
    return description


def _layers(model: keras.Model) -> Iterator[keras.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


def to_bytes(model: keras.Model) -> bytes:
    """Return a model as the bytes of a .keras file; raises whatever Keras does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()


def export(model: keras.Model, *, probe: npt.NDArray[np.uint8], expected: npt.NDArray[np.float32]) -> bytes:
    """Return the bytes of a .keras file that, loaded again, gives the expected predictions on the probe.

    Users measure and deploy the file, and AutoKeras has saved files that predict differently from the model:
    https://github.com/keras-team/autokeras/issues/1963.

    Args:
        model: takes images, returns one output per class; not compiled, to save no optimizer.
        probe: uint8, shape (n, h, w, c).
        expected: shape (n, classes), the outputs of the model as it was trained and scored.

    Raises:
        ModelError: the file predicts something else.
    """
    saved = to_bytes(model)
    actual = load(saved).predict(probe, verbose=0)
    if not np.allclose(actual, expected, rtol=1e-3, atol=1e-3, equal_nan=True):
        gap = float(np.abs(actual - expected).max())
        raise ModelError(
            f"the saved {model.name} differs from the trained one: its outputs on {len(probe)} images differ by"
            f" {gap:.3g}, so its score would be another model's"
        )
    return saved
