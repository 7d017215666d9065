"""kd.models.named: the named models, seeds, and a user's own."""

import keras
import numpy as np
import pytest
from keras import ops

from kd.errors import ModelError
from kd.models.named import build


def logits_of(model, images):
    """Return the model's logits, after checking that they are no probabilities and the same for float images."""
    logits = ops.convert_to_numpy(model(images))
    assert logits.dtype == np.float32
    assert not np.allclose(logits.sum(axis=-1), 1.0)
    np.testing.assert_array_equal(logits, ops.convert_to_numpy(model(images.astype(np.float32))))
    return logits


def convolution(size, inputs, outputs):
    return size * size * inputs * outputs + outputs  # weights and biases


def resnet8(channels):
    """Return the parameters of MLPerf Tiny's network, counted by hand."""
    total = convolution(3, channels, 16) + 4 * 16  # the stem; BatchNorm has four numbers a channel
    for inputs, outputs in ((16, 16), (16, 32), (32, 64)):
        total += convolution(3, inputs, outputs) + convolution(3, outputs, outputs) + 2 * 4 * outputs
    total += convolution(1, 16, 32) + convolution(1, 32, 64)  # the two shortcuts
    return total + 64 * 10 + 10


@pytest.mark.parametrize(
    ("name", "parameters", "shape"),
    [
        ("keras-teacher", 1_433_610, (28, 28, 1)),
        ("keras-student", 20_490, (28, 28, 1)),
        ("cnn-small", 71_338, (28, 28, 1)),
        ("cnn-small-narrow", 19_546, (28, 28, 1)),
        ("resnet20", 273_754, (28, 28, 1)),
        ("resnet8", resnet8(channels=3), (32, 32, 3)),
        ("mlp-800", (3072 * 800 + 800) + (800 * 800 + 800) + (800 * 10 + 10), (32, 32, 3)),
    ],
)
def test_named_models_have_the_published_sizes_and_give_logits(name, parameters, shape):
    model = build(name, shape, 10, seed=0)
    assert model.count_params() == parameters
    images = np.random.default_rng(0).integers(0, 256, size=(3, *shape), dtype=np.uint8)
    assert logits_of(model, images).shape == (3, 10)


# One of each kind: the others have more or wider layers of the same kinds.
@pytest.mark.parametrize("name", ["keras-student", "cnn-small-narrow", "resnet8", "mlp-800"])
def test_a_seed_gives_the_same_weights_and_a_saved_model_loads_without_custom_code(name, tmp_path):
    first, same, other = (build(name, (16, 16, 3), 4, seed) for seed in (5, 5, 6))
    weights = [[ops.convert_to_numpy(v) for v in model.variables] for model in (first, same, other)]
    assert all(np.array_equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))
    images = np.random.default_rng(0).integers(0, 256, size=(2, 16, 16, 3), dtype=np.uint8)
    first.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={}, safe_mode=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(loaded(images)), logits_of(first, images))


def test_images_are_scaled_inside_the_model():
    # biases start at 0, so the student is linear up to LeakyReLU: half the brightness, half the logits
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
