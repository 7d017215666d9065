"""Networks around images, with tiny networks in place of those of ImageNet."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest

from kd.baselines.applications import APPLICATIONS
from kd.baselines.pretrained import around, build_network, cut
from kd.errors import Unavailable

pytestmark = pytest.mark.training

SMALL = dataclasses.replace(APPLICATIONS["mobilenet"], pixels=8, preprocess=lambda x: x, title="Small")


def pooled() -> keras.Model:
    """Preprocessed images to the mean of each channel."""
    images = keras.Input((8, 8, 3))
    x = keras.layers.Activation("linear", name="middle")(images)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_made_rgb_resized_and_preprocessed(channels: int) -> None:
    doubled = dataclasses.replace(SMALL, preprocess=keras.layers.Rescaling(2.0))
    model = around(pooled(), doubled, (4, 5, channels))
    images = np.full((2, 4, 5, channels), 7, np.uint8)
    np.testing.assert_allclose(model.predict_on_batch(images), np.full((2, 3), 14.0))


def test_the_two_parts_of_a_network_make_the_whole() -> None:
    network = pooled()
    first, second = cut(network, "middle")
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(second(first(images)), network(images))


@pytest.mark.parametrize("error", [OSError("no signature\nof HDF5"), ValueError(""), KeyError("conv1")])
def test_a_file_that_does_not_fit_is_named_with_what_to_type(error: Exception) -> None:
    def fail(pixels: int, weights: Path) -> keras.Model:
        raise error

    with pytest.raises(Unavailable, match=r"^some\.h5 is not a whole .* of Small .*KD_SWEEPS_WEIGHTS") as caught:
        build_network(dataclasses.replace(SMALL, network=fail), Path("some.h5"))
    assert "\n" not in str(caught.value)
