"""Build networks by name.

Every model takes images with pixel values 0..255 (uint8 or float), scales them itself, and returns logits. So an
exported student takes a camera's images, and its .keras file loads without this package.
"""

from collections.abc import Callable
from pathlib import Path

import keras
from keras import layers

from kd.config import MODEL_NAMES as NAMES
from kd.errors import ModelError, suggestion
from kd.models import custom, files

SMALLEST_SIDE = 8  # px; cnn-small halves it three times, to 1


def build(name: str, input_shape: tuple[int, int, int], classes: int, seed: int) -> keras.Model:
    """Build a new model with the initial weights of the seed.

    Seeds Python's, NumPy's and the backend's global generators: initial weights and dropout draw from them.

    Args:
        name: one of `NAMES`; "package.module:build" or "./file.py:build" for a function `build(input_shape, classes)`
            that returns a keras.Model with the same interface, pixel values 0..255 in, logits out; or the path of a
            .keras file, whose architecture is used without its weights.
        input_shape: (height, width, channels) of one image; each side >= 8 px for the named models.
        classes: number of logits.
        seed: in [0, 2**32 - 1].

    Returns:
        A built model, input (batch, height, width, channels), output (batch, classes).

    Raises:
        ModelError: unknown name, or a user's model that cannot be imported or trained (`kd.models.custom`).
    """
    if name.endswith(".keras"):
        return files.build_from_file(Path(name), input_shape, classes, seed)
    own = _BUILDERS.get(name)
    if own is None and ":" not in name:
        known = f"Known: {', '.join(NAMES)}, or your own as package.module:build"
        raise ModelError(f"no model {name!r}{suggestion(name, NAMES)} {known}")
    keras.utils.set_random_seed(seed)
    if own is None:
        return custom.build_users(name, input_shape, classes)
    if min(input_shape[:2]) < SMALLEST_SIDE:
        raise ModelError(f"{name} needs images of at least {SMALLEST_SIDE}x{SMALLEST_SIDE} px, got {input_shape}")
    inputs = keras.Input(input_shape, dtype="uint8")
    logits = own(layers.Rescaling(1 / 255)(inputs), classes)
    return keras.Model(inputs, logits, name=name.replace("-", "_"))


def _keras_io(x: keras.KerasTensor, classes: int, *, widths: tuple[int, int]) -> keras.KerasTensor:
    """Build the teacher (widths 256, 512) or the student (16, 32) of the keras.io example.

    Source: https://keras.io/examples/vision/knowledge_distillation/
    """
    first, second = widths
    x = layers.Conv2D(first, 3, strides=2, padding="same")(x)
    x = layers.LeakyReLU(negative_slope=0.2)(x)
    x = layers.MaxPooling2D(2, strides=1, padding="same")(x)
    x = layers.Conv2D(second, 3, strides=2, padding="same")(x)
    x = layers.Flatten()(x)
    return layers.Dense(classes)(x)


def _cnn_small(x: keras.KerasTensor, classes: int, *, widths: tuple[int, int]) -> keras.KerasTensor:
    """Build two blocks of two 3x3 convolutions and a pooling, then dropout and one dense layer.

    The first convolution halves the image: at full size the first block would cost more than the rest together. On
    10,000 images of CIFAR-10 the accuracy is the same in half the time (bench/README.md).
    """
    for width in widths:
        x = _conv_norm_relu(x, width, strides=2 if width == widths[0] else 1)
        x = _conv_norm_relu(x, width)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dropout(0.3)(x)
    return layers.Dense(classes)(x)


def _resnet20(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Build ResNet-20 for small images, with 1x1 projections where the size changes (option B, not the paper's A).

    Option A pads channels with zeros, for which Keras has no layer; B costs 2,944 parameters more.

    Source: He et al. 2015, arXiv:1512.03385, section 4.2.
    """
    x = _conv_norm_relu(x, 16)
    for width in (16, 32, 64):
        for block in range(3):
            strides = 2 if width > 16 and block == 0 else 1
            shortcut = x
            if strides == 2:
                shortcut = layers.Conv2D(width, 1, strides=2, use_bias=False, kernel_initializer="he_normal")(x)
                shortcut = norm(shortcut)
            x = _conv_norm_relu(x, width, strides=strides)
            x = norm(_conv(x, width))
            x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dense(classes)(x)


def _resnet8(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Build MLPerf Tiny's image classifier: a stem and three residual blocks; 78,666 parameters on CIFAR-10.

    The architecture is theirs, with biases before the normalization and shortcuts without one. Differences: no L2 of
    1e-4 on the convolutions (a training here has no weight decay), inputs scaled to [0, 1] instead of 0..255, and a
    BatchNorm momentum of 0.9 instead of 0.99.

    Source: https://github.com/mlcommons/tiny, benchmark/training/image_classification/keras_model.py at bceb91c; newer
    versions have 26 filters in the stem instead of 16.
    """

    def conv(x: keras.KerasTensor, width: int, size: int, strides: int = 1) -> keras.KerasTensor:
        return layers.Conv2D(width, size, strides=strides, padding="same", kernel_initializer="he_normal")(x)

    x = layers.ReLU()(norm(conv(x, 16, 3)))
    for width, strides in ((16, 1), (32, 2), (64, 2)):
        shortcut = x if strides == 1 else conv(x, width, 1, strides)
        x = layers.ReLU()(norm(conv(x, width, 3, strides)))
        x = norm(conv(x, width, 3))
        x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dense(classes, kernel_initializer="he_normal")(x)


def _mlp_800(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Build two layers of 800 rectified linear units: the small net that learned MNIST from a larger one.

    Source: Hinton et al. 2015, arXiv:1503.02531, section 3. As there, the student has no regularization.
    """
    x = layers.Flatten()(x)
    for _ in range(2):
        x = layers.Dense(800, activation="relu")(x)
    return layers.Dense(classes)(x)


def _conv_norm_relu(x: keras.KerasTensor, width: int, *, strides: int = 1) -> keras.KerasTensor:
    return layers.ReLU()(norm(_conv(x, width, strides=strides)))


def _conv(x: keras.KerasTensor, width: int, *, strides: int = 1) -> keras.KerasTensor:
    return layers.Conv2D(width, 3, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal")(x)


def norm(x: keras.KerasTensor) -> keras.KerasTensor:
    """Normalize a batch."""
    # Keras' default momentum of 0.99 needs hundreds of steps; preset tiny has a few dozen.
    return layers.BatchNormalization(momentum=0.9)(x)


_BUILDERS: dict[str, Callable[[keras.KerasTensor, int], keras.KerasTensor]] = {
    "keras-teacher": lambda x, classes: _keras_io(x, classes, widths=(256, 512)),
    "keras-student": lambda x, classes: _keras_io(x, classes, widths=(16, 32)),
    "cnn-small": lambda x, classes: _cnn_small(x, classes, widths=(32, 64)),
    "cnn-small-narrow": lambda x, classes: _cnn_small(x, classes, widths=(16, 32)),
    "resnet20": _resnet20,
    "resnet8": _resnet8,
    "mlp-800": _mlp_800,
}
