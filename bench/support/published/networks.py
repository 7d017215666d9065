"""The networks of the papers that `kd.models.named` does not have, as "module:function" for `kd.models.named.build`.

Hinton et al. 2015, arXiv:1503.02531, section 3: the teacher has two layers of 1200 rectified linear units, "strongly
regularized using dropout and weight-constraints", and images "jittered by up to two pixels in any direction"; the
students have two layers of 800, 300 or 30 units and no regularization. The constants of the regularization are those
of the paper that it cites for them, Hinton et al. 2012, arXiv:1207.0580, appendix A.
"""

import keras
import tensorflow as tf
from keras import layers

JITTER = 2  # pixels
DROPPED = (0.2, 0.5)  # of the pixels, of the hidden units
MOST_SQUARED = 15.0  # length of the weights into one hidden unit


@keras.saving.register_keras_serializable("published")
class Jitter(layers.Layer):
    """Move each image of a training batch by up to `pixels` up, down, left and right; what comes in is 0.

    Images are float, shape (batch, h, w, c). In inference they stay as they are. A whole number of pixels is drawn
    anew for each image and step, uniform and independent in both directions.
    """

    def __init__(self, pixels: int, **options: object) -> None:
        super().__init__(**options)
        self.pixels = pixels
        self.seed_generator = keras.random.SeedGenerator()  # from the global seed, as that of dropout

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return the moved images, of the same shape."""
        if not training:
            return images
        moves = keras.random.randint((tf.shape(images)[0], 2), 0, 2 * self.pixels + 1, seed=self.seed_generator)
        return moved(images, moves, self.pixels)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the images."""
        return input_shape

    def get_config(self) -> dict[str, object]:
        """Return the arguments, as Keras' layers do."""
        return {**super().get_config(), "pixels": self.pixels}


def moved(images: tf.Tensor, moves: tf.Tensor, pixels: int) -> tf.Tensor:
    """Crop each image at its place out of itself with a border of `pixels` zeros.

    Args:
        images: float, shape (batch, h, w, c).
        moves: whole numbers in 0..2*pixels, shape (batch, 2): row and column of the crop; `pixels` is the middle.
        pixels: width of the border.
    """
    _, height, width, _ = images.shape
    padded = tf.pad(images, [(0, 0), (pixels, pixels), (pixels, pixels), (0, 0)])
    rows = moves[:, :1] + tf.range(height)  # (batch, h)
    columns = moves[:, 1:] + tf.range(width)  # (batch, w)
    rows_taken = tf.gather(padded, rows, batch_dims=1)  # (batch, h, w + border, c)
    turned = tf.gather(tf.transpose(rows_taken, (0, 2, 1, 3)), columns, batch_dims=1)  # (batch, w, h, c)
    return tf.transpose(turned, (0, 2, 1, 3))


def mlp_30(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build the student with two layers of 30 units and no regularization."""
    return _plain(input_shape, classes, 30)


def mlp_300(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build the student with two layers of 300 units and no regularization."""
    return _plain(input_shape, classes, 300)


def dropout_1200(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build the teacher of Hinton et al. 2015: 2 x 1200, jitter, dropout, constrained weights."""
    return _jittered(input_shape, classes, 1200, dropped=DROPPED)


def dropout_300(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build the same with 2 x 300 units: a smaller teacher."""
    return _jittered(input_shape, classes, 300, dropped=DROPPED)


def jitter_1200(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build the teacher without dropout and constraint, for "label smoothing instead of dropout".

    Source: Mueller, Kornblith & Hinton 2019, arXiv:1906.02629, section 4.
    """
    return _jittered(input_shape, classes, 1200, dropped=None)


def _plain(input_shape: tuple[int, int, int], classes: int, units: int) -> keras.Model:
    inputs = keras.Input(input_shape, dtype="uint8")
    x = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    for _ in range(2):
        x = layers.Dense(units, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(classes)(x))


def _jittered(
    input_shape: tuple[int, int, int], classes: int, units: int, *, dropped: tuple[float, float] | None
) -> keras.Model:
    inputs = keras.Input(input_shape, dtype="uint8")
    x = layers.Flatten()(Jitter(JITTER)(layers.Rescaling(1 / 255)(inputs)))
    if dropped:
        x = layers.Dropout(dropped[0])(x)
    for _ in range(2):
        limit = keras.constraints.MaxNorm(MOST_SQUARED**0.5, axis=0) if dropped else None
        x = layers.Dense(units, activation="relu", kernel_constraint=limit)(x)
        if dropped:
            x = layers.Dropout(dropped[1])(x)
    return keras.Model(inputs, layers.Dense(classes)(x))
