"""kd.models.named: the named models, seeds, and a user's own."""

import keras
import numpy as np
import pytest
from keras import ops

from kd.config import MODEL_NAMES
from kd.errors import ModelError
from kd.models.named import build


def logits_of(model, images):
    """The model's logits, which are the same for uint8 and float images, and no probabilities."""
    logits = ops.convert_to_numpy(model(images))
    assert logits.dtype == np.float32
    assert not np.allclose(logits.sum(axis=-1), 1.0)
    np.testing.assert_array_equal(logits, ops.convert_to_numpy(model(images.astype(np.float32))))
    return logits


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
def test_named_models_have_the_published_sizes_on_mnist_and_give_logits(name, parameters):
    model = build(name, (28, 28, 1), 10, seed=0)
    assert model.count_params() == parameters
    images = np.random.default_rng(0).integers(0, 256, size=(3, 28, 28, 1), dtype=np.uint8)
    assert logits_of(model, images).shape == (3, 10)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_seed_gives_the_same_weights_and_a_saved_model_loads_without_custom_code(name, tmp_path):
    first, same, other = (build(name, (16, 16, 3), 4, seed) for seed in (5, 5, 6))
    weights = [[ops.convert_to_numpy(v) for v in model.variables] for model in (first, same, other)]
    assert all(np.array_equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))
    images = np.random.default_rng(0).integers(0, 256, size=(2, 16, 16, 3), dtype=np.uint8)
    first.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={}, safe_mode=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(loaded(images)), logits_of(first, images))


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


def test_images_are_scaled_inside_the_model():
    # the student without biases' help is linear up to LeakyReLU: half the brightness, half the logits
    student = build("keras-student", (28, 28, 1), 10, seed=0)
    images = np.full((1, 28, 28, 1), 200, np.uint8)
    bright, dim = (ops.convert_to_numpy(student(x)) for x in (images, images // 2))
    np.testing.assert_allclose(dim, bright / 2, rtol=1e-4, atol=1e-6)
    assert np.abs(bright).max() < 10


def test_an_unknown_name_lists_the_names_and_the_closest():
    with pytest.raises(ModelError, match=r"did you mean 'cnn-small'.*keras-teacher, keras-student.*package\.module"):
        build("cnn-smal", (28, 28, 1), 10, seed=0)


def test_too_small_images_are_refused():
    with pytest.raises(ModelError, match="at least 8x8 px, got"):
        build("cnn-small", (4, 4, 1), 10, seed=0)
