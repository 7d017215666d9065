"""Define the blocks that AutoKeras builds networks from: three kinds of small blocks, one of them its own.

Its own `ResNetBlock` and `XceptionBlock` are the ImageNet networks: 23.6 million parameters at 32 px, and 20.9 million
on images blown up to 71 px. The two here keep the idea and the names, at the size of the images. AutoKeras' search
chooses among them. Source for custom blocks: https://autokeras.com/tutorial/customized/
"""

from __future__ import annotations

from typing import Any

import autokeras as ak
import keras
from keras import layers

__all__ = ["BLOCK_TYPE", "Blocks", "first_trial"]

BLOCK_TYPE = "block_type"  # as AutoKeras' own ImageBlock calls it


class Blocks(ak.Block):  # type: ignore[misc]
    """Normalizes images and applies one kind of block; the search chooses the kind.

    Args:
        kinds: keys of `_KINDS`, at least one.
    """

    def __init__(self, kinds: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kinds = kinds

    def get_config(self) -> dict[str, Any]:
        """Return the settings that the search writes to its folder."""
        return {**super().get_config(), "kinds": self.kinds}

    def build(self, hp: Any, inputs: Any = None) -> keras.KerasTensor:
        """Build the layers for the hyperparameters `hp`, as every block of AutoKeras does."""
        images = ak.Normalization(name="normalization").build(hp, inputs)
        kind = hp.Choice(BLOCK_TYPE, list(self.kinds))
        with hp.conditional_scope(BLOCK_TYPE, [kind]):
            return _KINDS[kind](name=kind).build(hp, images)


class _ResNet(ak.Block):  # type: ignore[misc]
    """Three stages of residual blocks of two 3x3 convolutions; each stage but the first halves the image.

    Source: He et al. 2015, arXiv:1512.03385, section 4.2, with projections where the size changes.
    """

    convolution: type[layers.Layer] = layers.Conv2D
    widths = (8, 16, 32)  # of the first stage; the later ones are two and four times as wide
    first_width = 16

    def build(self, hp: Any, inputs: Any = None) -> keras.KerasTensor:
        width = hp.Choice("width", list(self.widths), default=self.first_width)
        depth = hp.Choice("depth", [1, 2, 3], default=1)  # blocks per stage
        x = layers.ReLU()(_norm(layers.Conv2D(width, 3, padding="same", use_bias=False)(inputs)))
        for stage in range(3):
            for block in range(depth):
                x = self._residual(x, width * 2**stage, strides=2 if stage and not block else 1)
        return x

    def _residual(self, x: keras.KerasTensor, width: int, *, strides: int) -> keras.KerasTensor:
        shortcut = x
        if strides > 1:
            shortcut = _norm(layers.Conv2D(width, 1, strides=strides, use_bias=False)(x))
        x = layers.ReLU()(_norm(self.convolution(width, 3, strides=strides, padding="same", use_bias=False)(x)))
        x = _norm(self.convolution(width, 3, padding="same", use_bias=False)(x))
        return layers.ReLU()(layers.Add()([x, shortcut]))


class _Xception(_ResNet):
    """The same with separable convolutions, as in Xception; they are cheap, so it is twice as wide.

    Source: Chollet 2016, arXiv:1610.02357, section 3: separable convolutions with residual connections.
    """

    convolution = layers.SeparableConv2D
    widths = (16, 32, 64)
    first_width = 32


def _norm(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.BatchNormalization(momentum=0.9)(x)  # as in kd.models.named: Keras' 0.99 needs hundreds of steps


_KINDS: dict[str, type[ak.Block]] = {"vanilla": ak.ConvBlock, "xception": _Xception, "resnet": _ResNet}

# The first trial of each kind; vanilla's is the first of AutoKeras' own, `task_specific.IMAGE_CLASSIFIER`.
_FIRST: dict[str, dict[str, Any]] = {
    "vanilla": {
        "kernel_size": 3,
        "num_blocks": 1,
        "num_layers": 2,
        "max_pooling": True,
        "separable": False,
        "dropout": 0.25,
        "filters_0_0": 32,
        "filters_0_1": 64,
    },
    "xception": {"width": 32, "depth": 1},
    "resnet": {"width": 16, "depth": 1},
}
_FIRST_HEAD = {
    "vanilla": {"spatial_reduction_1/reduction_type": "flatten", "dropout": 0.5},
    "xception": {"spatial_reduction_1/reduction_type": "global_avg", "dropout": 0.0},
    "resnet": {"spatial_reduction_1/reduction_type": "global_avg", "dropout": 0.0},
}


def first_trial(kind: str, *, blocks: str, head: str) -> dict[str, Any]:
    """Return the hyperparameters that AutoKeras tries first with this kind of block, by their full names.

    Args:
        kind: a key of `_KINDS`.
        blocks, head: the names of the `Blocks` and of the classification head in the search.
    """
    return {
        f"{blocks}/{BLOCK_TYPE}": kind,
        **{f"{blocks}/{kind}/{name}": value for name, value in _FIRST[kind].items()},
        **{f"{head}/{name}": value for name, value in _FIRST_HEAD[kind].items()},
        "optimizer": "adam",
        "learning_rate": 1e-3,
    }
