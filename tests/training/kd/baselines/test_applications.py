"""Every network of keras.applications, against how Keras feeds and loads it; random weights in real files."""

import dataclasses
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from kd.baselines import pretrained
from kd.baselines.applications import APPLICATIONS, Application
from kd.baselines.methods import Budget, fit
from kd.baselines.pretrained import around, cut
from kd.data.datasets import load
from kd.models.measure import count_macs

# The module of each network and what keras.applications calls the network in it.
KERAS = {
    "mobilenet": ("mobilenet", "MobileNet"),
    "mobilenetv2": ("mobilenet_v2", "MobileNetV2"),
    "mobilenetv3small": ("mobilenet_v3", "MobileNetV3Small"),
    "vgg16": ("vgg16", "VGG16"),
    "resnet50": ("resnet", "ResNet50"),
    "densenet121": ("densenet", "DenseNet121"),
    "efficientnetb0": ("efficientnet", "EfficientNetB0"),
    "efficientnetv2b0": ("efficientnet_v2", "EfficientNetV2B0"),
    "inceptionv3": ("inception_v3", "InceptionV3"),
}
QUICK = ("mobilenetv3small",)
ALL = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in KERAS]
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # of ImageNet, in 0..1
BUDGET = Budget(trials=1, epochs=1, seconds=300)


def of_keras(name: str, weights: str | None) -> keras.Model:
    """Build the network as keras.applications documents it."""
    pixels = APPLICATIONS[name].pixels
    more = {"alpha": 0.25} if name == "mobilenet" else {}
    constructor = getattr(keras.applications, KERAS[name][1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some weights exist for 224 px only
        network: keras.Model = constructor(
            include_top=False, pooling="avg", input_shape=(pixels, pixels, 3), weights=weights, **more
        )
    return network


@pytest.fixture(scope="module")
def files() -> Iterator[Path]:
    """Yield a folder for weights of up to 100 MB each, removed at once: pytest would keep it for three runs."""
    with tempfile.TemporaryDirectory(prefix="kd-sweeps-weights-") as folder:
        yield Path(folder)


def weights_file(name: str, files: Path) -> Path:
    """Write random weights to a file like the one Keras downloads, on first use."""
    path = files / APPLICATIONS[name].weights_file
    if not path.exists():
        keras.utils.set_random_seed(0)
        network = of_keras(name, None)
        for layer in network.layers:
            if isinstance(layer, keras.layers.Normalization) and layer.weights:  # as in EfficientNetB0's real file
                layer.set_weights([MEAN, DEVIATION, np.array(0)])
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0
        # With the statistics of one batch: without any, the signal fades from layer to layer.
        network(fed(name, images(APPLICATIONS[name].pixels, many=16)), training=True)
        network.save(path)
    return path


def fed(name: str, pixels: np.ndarray) -> np.ndarray:
    """Preprocess as our network does."""
    inputs = keras.Input(pixels.shape[1:])
    floats: np.ndarray = keras.Model(inputs, APPLICATIONS[name].preprocess(inputs)).predict(pixels, verbose=0)
    return floats


def preprocessed(name: str, pixels: np.ndarray) -> np.ndarray:
    """Preprocess as keras.applications does."""
    floats: np.ndarray = getattr(keras.applications, KERAS[name][0]).preprocess_input(pixels.astype(np.float32))
    return floats


def outputs(network: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Evaluate eagerly: compiling a large network takes longer."""
    floats: np.ndarray = keras.ops.convert_to_numpy(network(pixels, training=False))
    return floats


def images(pixels: int, *, many: int = 2) -> np.ndarray:
    """Return random squares under noise: noise alone looks the same to a network for every seed."""
    random, side = np.random.default_rng(0), -(-pixels // 6)
    squares = random.integers(0, 200, (many, 6, 6, 3)).repeat(side, axis=1).repeat(side, axis=2)
    noise = random.integers(0, 56, (many, pixels, pixels, 3))
    return (squares[:, :pixels, :pixels] + noise).astype(np.uint8)


@pytest.mark.parametrize("name", [*KERAS, "efficientnet-lite0"])
def test_its_preprocessing_is_that_of_its_family(name: str) -> None:
    actual = fed(name, images(32))
    if name == "efficientnet-lite0":
        expected = (images(32).astype(np.float32) - 127) / 128
    else:
        expected = preprocessed(name, images(32))
    if name == "efficientnetb0":  # what Keras leaves out of a network that is given a file, see `_OTHER_SQUARE_ROOT`
        actual, expected = (actual / 255 - MEAN) / np.sqrt(DEVIATION), (expected / 255 - MEAN) / DEVIATION
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", KERAS)
def test_keras_downloads_the_same_file_and_agrees_on_built_in_preprocessing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(file_utils, "get_file", lambda fname, origin, **more: calls.append((fname, origin)))
    monkeypatch.setattr(keras.Model, "load_weights", lambda model, path, **more: None)
    with keras.StatelessScope():  # no weights are drawn
        network = of_keras(name, "imagenet")
    assert calls == [(APPLICATIONS[name].weights_file, APPLICATIONS[name].weights_url)]
    inside = name in ("mobilenetv3small", "efficientnetb0", "efficientnetv2b0")
    assert isinstance(network.layers[1], keras.layers.Rescaling) == inside


@pytest.mark.parametrize("name", ALL)
def test_features_equal_those_of_keras_own_network_and_preprocessing(
    name: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    application, path = APPLICATIONS[name], weights_file(name, files)
    monkeypatch.setattr(file_utils, "get_file", lambda *arguments, **more: str(path))
    theirs = of_keras(name, "imagenet")
    shape = (application.pixels, application.pixels, 3)
    expected = outputs(theirs, preprocessed(name, images(application.pixels)))

    network = application.network(application.pixels, path)
    whole = around(network, application, shape)
    features = outputs(whole, images(application.pixels))
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())

    frozen, rest = cut(network, application.frozen_until)
    maps = outputs(around(frozen, application, shape), images(application.pixels))
    np.testing.assert_allclose(outputs(rest, maps), features, rtol=1e-4, atol=1e-4 * np.abs(features).max())
    sides = [network.get_layer(application.frozen_until).output.shape[1], network.layers[-1].input.shape[1]]
    assert sides == {"inceptionv3": [7, 3], "densenet121": [3, 3]}.get(name, [6, 3])
    assert count_macs(whole) == count_macs(network) > 5_000_000


def test_gray_images_become_three_equal_channels() -> None:
    application = dataclasses.replace(APPLICATIONS["vgg16"], pixels=16)  # its preprocessing treats channels differently
    pixels = keras.Input((16, 16, 3))
    nothing = keras.Model(pixels, keras.layers.Identity()(pixels))
    gray = images(8)[..., :1]
    features = around(nothing, application, (8, 8, 1)).predict(gray, verbose=0)
    coloured = around(nothing, application, (8, 8, 3)).predict(np.repeat(gray, 3, axis=-1), verbose=0)
    assert features.shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(features, coloured)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mobilenetv2", "mobilenetv3small-tuned"])
def test_a_whole_fit_with_random_weights(
    method: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    application: Application = APPLICATIONS[method.removesuffix("-tuned")]
    weights_file(method.removesuffix("-tuned"), files)
    monkeypatch.setattr(pretrained, "ROUNDS", 1)
    monkeypatch.setenv("KD_SWEEPS_WEIGHTS", str(files))
    digits = load("digits", train_images=200)
    result = fit(method, digits, budget=BUDGET, seed=0, work_dir=tmp_path / "work")
    assert result.val_accuracy > 0.3  # of ten classes
    assert result.provenance["weights_file"] == application.weights_file
    path = tmp_path / "model.keras"
    path.write_bytes(result.model)
    model = keras.models.load_model(path)
    assert result.parameters == model.count_params()
    logits = model.predict(digits.validation.images, verbose=0)
    assert np.mean(logits.argmax(axis=-1) == digits.validation.labels) == result.val_accuracy
