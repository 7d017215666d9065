"""The blocks of the search: their shapes and sizes from arithmetic, and the names of the first trials."""

import keras
import keras_tuner
import pytest

from kd.baselines.autokeras import BLOCK_TYPE, Blocks, first_trial

pytestmark = pytest.mark.training


def built(kind: str) -> tuple[keras.Model, keras_tuner.HyperParameters]:
    """The first trial's network of a kind on images (16, 16, 3)."""
    hp = keras_tuner.HyperParameters()
    hp.values.update(first_trial(kind, blocks="blocks", head="head"))
    images = keras.Input((16, 16, 3))
    return keras.Model(images, Blocks((kind,), name="blocks").build(hp, images)), hp


@pytest.mark.parametrize(("kind", "width"), [("resnet", 16), ("xception", 32)])
def test_each_stage_but_the_first_halves_the_images_and_doubles_the_width(kind: str, width: int) -> None:
    network, _ = built(kind)
    assert network.output.shape == (None, 4, 4, 4 * width)


def test_the_residual_network_has_the_weights_that_its_paper_says() -> None:
    network, _ = built("resnet")
    kernels = 3 * 9 * 16 + 2 * 16 * 9 * 16  # the stem and the first stage, without biases
    kernels += 16 * 9 * 32 + 32 * 9 * 32 + 16 * 32  # the second, with its projection
    kernels += 32 * 9 * 64 + 64 * 9 * 64 + 32 * 64
    norms = 4 * (3 * 16 + 3 * 32 + 3 * 64)  # scale, shift, mean, variance
    normalization = 3 + 3 + 1  # mean and variance of each channel, and a count
    assert network.count_params() == kernels + norms + normalization


@pytest.mark.parametrize("kind", ["vanilla", "xception", "resnet"])
def test_the_first_trial_gives_names_that_the_search_asks_for(kind: str) -> None:
    _, hp = built(kind)
    asked = {param.name for param in hp.space}
    given = {name for name in first_trial(kind, blocks="blocks", head="head") if name.startswith("blocks/")}
    assert f"blocks/{BLOCK_TYPE}" in given
    assert given <= asked
