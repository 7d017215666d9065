"""Networks for images, with tiny networks in place of those of ImageNet."""

import dataclasses
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest

from kd.baselines.applications import APPLICATIONS
from kd.baselines.autokeras import BLOCK_TYPE, Blocks, first_trial
from kd.baselines.methods import Budget
from kd.baselines.pretrained import around, build_network, cut
from kd.errors import ModelError, Unavailable
from kd.models.files import export, load
from kd.models.measure import count_macs

SMALL = dataclasses.replace(APPLICATIONS["mobilenet"], pixels=8, preprocess=lambda x: x, title="Small")


def pooled() -> keras.Model:
    """Return a network from preprocessed images to the mean of each channel."""
    images = keras.Input((8, 8, 3))
    x = keras.layers.Activation("linear", name="middle")(images)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_made_rgb_resized_and_preprocessed(channels: int) -> None:
    doubled = dataclasses.replace(SMALL, preprocess=keras.layers.Rescaling(2.0))
    model = around(pooled(), doubled, (4, 5, channels))
    images = np.full((2, 4, 5, channels), 7, np.uint8)
    np.testing.assert_allclose(model.predict_on_batch(images), np.full((2, 3), 14.0))


def test_the_two_parts_of_a_network_compose_to_the_whole() -> None:
    network = pooled()
    first, second = cut(network, "middle")
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(second(first(images)), network(images))


@pytest.mark.parametrize("error", [OSError("no signature\nof HDF5"), ValueError(""), KeyError("conv1")])
def test_a_file_of_another_network_is_named_with_what_to_type(error: Exception) -> None:
    def fail(pixels: int, weights: Path) -> keras.Model:
        raise error

    with pytest.raises(Unavailable, match=r"^some\.h5 is not a valid .* of Small .*KD_SWEEPS_WEIGHTS") as caught:
        build_network(dataclasses.replace(SMALL, network=fail), Path("some.h5"))
    assert "\n" not in str(caught.value)


def built(kind: str, side: int = 16, **changes: int) -> tuple[keras.Model, keras_tuner.HyperParameters]:
    """Return a kind's network on RGB images, with the first trial's hyperparameters and the changes."""
    hp = keras_tuner.HyperParameters()
    hp.values.update(first_trial(kind))
    hp.values.update({f"blocks/{kind}/{name}": value for name, value in changes.items()})
    images = keras.Input((side, side, 3))
    return keras.Model(images, Blocks((kind,), name="blocks").build(hp, images)), hp


@pytest.mark.parametrize(("kind", "width"), [("resnet", 16), ("xception", 32)])
def test_each_stage_but_the_first_halves_the_images_and_doubles_the_width(kind: str, width: int) -> None:
    network, _ = built(kind)
    assert network.output.shape == (None, 4, 4, 4 * width)


def test_the_residual_network_has_the_weights_and_macs_of_its_paper() -> None:
    network, _ = built("resnet", side=32)
    stem, first = 3 * 9 * 16, 2 * 16 * 9 * 16  # the kernels, without biases
    second = 16 * 9 * 32 + 32 * 9 * 32 + 16 * 32  # with its projection
    third = 32 * 9 * 64 + 64 * 9 * 64 + 32 * 64
    norms = 4 * (3 * 16 + 3 * 32 + 3 * 64)  # scale, shift, mean, variance
    normalization = 3 + 3 + 1  # mean and variance of each channel, and a count
    assert network.count_params() == stem + first + second + third + norms + normalization
    assert count_macs(network) == 32 * 32 * (stem + first) + 16 * 16 * second + 8 * 8 * third


@pytest.mark.parametrize(("kind", "width"), [("resnet", 32), ("xception", 64)])
def test_the_largest_proposals_are_within_the_default_size_limit(kind: str, width: int) -> None:
    limit = Budget(trials=1, epochs=1, seconds=1).max_parameters
    assert built(kind, side=32, width=width, depth=3)[0].count_params() < limit


@pytest.mark.parametrize("kind", ["vanilla", "xception", "resnet"])
def test_the_first_trial_gives_names_that_the_search_asks_for(kind: str) -> None:
    _, hp = built(kind)
    names = {param.name for param in hp.space}
    block_names = {name for name in first_trial(kind) if name.startswith("blocks/")}
    assert f"blocks/{BLOCK_TYPE}" in block_names
    assert block_names <= names


PROBE = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)], name="small")


def test_the_bytes_predict_what_the_model_did() -> None:
    network = model()
    expected = network.predict_on_batch(PROBE)
    data = export(network, probe=PROBE, expected=expected)
    np.testing.assert_allclose(load(data).predict_on_batch(PROBE), expected, rtol=1e-5)


def test_a_file_that_predicts_otherwise_is_refused() -> None:
    network = model()
    with pytest.raises(ModelError, match=r"the saved small differs .* on 5 images differ by 5,"):
        export(network, probe=PROBE, expected=network.predict_on_batch(PROBE) + 5)
