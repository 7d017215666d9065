"""Distil your own teacher into your own student, on one dataset.

Type: python examples/own_models.py
"""

import keras

from sweeps import Sweep


def teacher(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return a small convolutional network that takes pixels from 0 to 255 and returns logits."""
    images = keras.Input(input_shape)
    x = keras.layers.Rescaling(1 / 255)(images)
    for filters in (16, 32):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D()(x)
    return keras.Model(images, keras.layers.Dense(classes)(keras.layers.Flatten()(x)))


def student(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return a network of one hidden layer, with the same inputs and outputs."""
    images = keras.Input(input_shape)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.Dense(16, activation="relu")(x)
    return keras.Model(images, keras.layers.Dense(classes)(x))


def main(storage: str | None = None, **changes: object) -> Sweep:
    """Search T and alpha on the digits of scikit-learn, and print the best point and the verdict."""
    sweep = Sweep.create(
        "own-models",
        dataset="digits",
        preset="tiny",
        # Workers are other processes: they import this file by its name.
        teacher="own_models:teacher",
        student="own_models:student",
        changes={"baselines.methods": [], **changes},
        storage=storage,
    )
    sweep.run()
    print(sweep.best)
    print(sweep.verdict)
    print(sweep.headline)
    return sweep


if __name__ == "__main__":
    main()
