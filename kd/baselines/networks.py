"""Build an ImageNet network that resizes and preprocesses a dataset's images, and cut it for fine-tuning."""

from __future__ import annotations

from pathlib import Path

import keras

from kd.baselines.applications import Application
from kd.errors import Unavailable

__all__ = ["around", "build_network", "cut"]


def build_network(application: Application, weights: Path) -> keras.Model:
    """Build a network with the weights of a file: preprocessed images (n, pixels, pixels, 3) to features (n, d).

    Raises:
        Unavailable: the file is damaged or another network's: which, and what to type.
    """
    try:
        return application.network(application.pixels, weights)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unavailable(
            f"{weights} is not a whole weights file of {application.title} ({reason}); "
            "delete it to have it downloaded, or type: export KD_SWEEPS_WEIGHTS=DIR where DIR has a good one"
        ) from error


def around(network: keras.Model, application: Application, input_shape: tuple[int, int, int]) -> keras.Model:
    """Put resizing and preprocessing before a network: images (n, h, w, c) in 0..255, c = 1 or 3, to its output."""
    images = keras.Input(input_shape, name="images")
    x = keras.layers.Concatenate(name="gray_to_rgb")([images] * 3) if input_shape[-1] == 1 else images
    x = keras.layers.Resizing(application.pixels, application.pixels, interpolation="bilinear")(x)
    return keras.Model(images, network(application.preprocess(x)))


def cut(network: keras.Model, layer: str) -> tuple[keras.Model, keras.Model]:
    """Cut a network after a layer into two models, which share their layers with the whole."""
    middle = network.get_layer(layer).output
    return keras.Model(network.input, middle), keras.Model(middle, network.output)
