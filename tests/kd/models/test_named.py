"""kd.models.named: the named models, seeds, and a user's own."""

import keras
import numpy as np
import pytest
from keras import ops

from kd.config import MODEL_NAMES
from kd.errors import ModelError
from kd.models.named import build

pytestmark = pytest.mark.training

SHAPES = [(28, 28, 1), (32, 32, 3)]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("keras-teacher", 1_433_610),
        ("keras-student", 20_490),
        ("cnn-small", 71_338),
        ("cnn-small-narrow", 19_546),
        ("resnet20", 273_754),
        ("resnet8", 78_378),
        ("mlp-800", 1_276_810),
    ],
)
def test_named_models_have_the_published_sizes_on_mnist(name, parameters):
    assert build(name, (28, 28, 1), 10, seed=0).count_params() == parameters


def convolution(size, inputs, outputs):
    return size * size * inputs * outputs + outputs  # weights and biases


def test_resnet8_has_the_parameters_of_mlperf_tiny_counted_by_hand():
    counted = convolution(3, 3, 16) + 4 * 16  # the stem; BatchNorm has four numbers a channel
    for inputs, outputs in ((16, 16), (16, 32), (32, 64)):
        counted += convolution(3, inputs, outputs) + convolution(3, outputs, outputs) + 2 * 4 * outputs
    counted += convolution(1, 16, 32) + convolution(1, 32, 64)  # the two shortcuts
    counted += 64 * 10 + 10
    assert build("resnet8", (32, 32, 3), 10, seed=0).count_params() == counted == 78_666


@pytest.mark.parametrize(("shape", "pixels"), [((28, 28, 1), 784), ((32, 32, 3), 3072)])
def test_mlp_800_has_two_layers_of_800_units_and_one_of_logits(shape, pixels):
    by_hand = (pixels * 800 + 800) + (800 * 800 + 800) + (800 * 10 + 10)
    assert build("mlp-800", shape, 10, seed=0).count_params() == by_hand


@pytest.mark.parametrize("name", MODEL_NAMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_model_takes_uint8_images_and_gives_logits(name, shape):
    model = build(name, shape, 7, seed=0)
    assert model.input_shape == (None, *shape)
    assert model.output_shape == (None, 7)
    images = np.random.default_rng(0).integers(0, 256, size=(3, *shape), dtype=np.uint8)
    logits = ops.convert_to_numpy(model(images))
    assert logits.dtype == np.float32
    assert not np.allclose(logits.sum(axis=-1), 1.0)  # no softmax
    np.testing.assert_array_equal(logits, ops.convert_to_numpy(model(images.astype(np.float32))))


def test_images_are_scaled_inside_the_model():
    # the student without biases' help is linear up to LeakyReLU: half the brightness, half the logits
    student = build("keras-student", (28, 28, 1), 10, seed=0)
    images = np.full((1, 28, 28, 1), 200, np.uint8)
    bright, dim = (ops.convert_to_numpy(student(x)) for x in (images, images // 2))
    np.testing.assert_allclose(dim, bright / 2, rtol=1e-4, atol=1e-6)
    assert np.abs(bright).max() < 10


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_seed_gives_the_same_weights_and_another_seed_others(name):
    one, same, other = (
        [ops.convert_to_numpy(v) for v in build(name, (8, 8, 1), 3, seed).variables] for seed in (5, 5, 6)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_saved_model_loads_without_custom_code(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, size=(2, 16, 16, 3), dtype=np.uint8)
    for name in MODEL_NAMES:
        model = build(name, (16, 16, 3), 4, seed=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={}, safe_mode=True)
        np.testing.assert_array_equal(ops.convert_to_numpy(loaded(images)), ops.convert_to_numpy(model(images)))


def test_an_unknown_name_lists_the_names_and_the_closest():
    with pytest.raises(ModelError, match=r"did you mean 'cnn-small'.*keras-teacher, keras-student.*package\.module"):
        build("cnn-smal", (28, 28, 1), 10, seed=0)


def test_too_small_images_are_refused():
    with pytest.raises(ModelError, match="at least 8x8 px, got"):
        build("cnn-small", (4, 4, 1), 10, seed=0)


OWN = """
import keras

def build(input_shape, classes):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(classes)])

def too_wide(input_shape, classes):
    return build(input_shape, classes + 1)

def other_images(input_shape, classes):
    return build((5, 5, 1), classes)

def breaks(input_shape, classes):
    raise KeyError("depth")

def no_model(input_shape, classes):
    return "a model"
"""


@pytest.fixture
def own_models(tmp_path, monkeypatch):
    (tmp_path / "own_models_of_a_user.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_models_of_a_user"


def test_a_users_own_model_is_built_and_seeded(own_models):
    first, second = (build(f"{own_models}:build", (8, 8, 1), 3, seed=1) for _ in range(2))
    assert first.output_shape == (None, 3)
    np.testing.assert_array_equal(*(ops.convert_to_numpy(model.weights[0]) for model in (first, second)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_here:build", "cannot import.*No module named.*PYTHONPATH"),
        ("{own}:nothing", "cannot import.*has no attribute 'nothing'"),
        (":build", "cannot import"),
        ("{own}:too_wide", r"must output logits of shape \(None, 3\), got \(None, 4\)"),
        ("{own}:other_images", r"does not work with images of \(8, 8, 1\)"),
        ("{own}:breaks", "KeyError: 'depth'"),
        ("{own}:no_model", "must return a keras.Model, got str"),
    ],
)
def test_an_unfit_model_is_refused_in_one_line(own_models, name, message):
    with pytest.raises(ModelError, match=message) as caught:
        build(name.format(own=own_models), (8, 8, 1), 3, seed=0)
    assert "\n" not in str(caught.value)
