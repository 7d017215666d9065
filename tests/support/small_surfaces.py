"""Hand-made surfaces for the tests of the benches; bench/ must be on sys.path."""

import numpy as np

from support.surfaces import Array, Surface


def surface_of(scores: Array, *, dataset: str = "mnist") -> Surface:
    """A surface with these scores, shape (seeds, t, a, epochs): temperatures 1, 2, 4, ... and alphas from 0 to 1."""
    _, temperatures, alphas, _ = scores.shape
    return Surface(
        name="surface-made.csv",
        header={"dataset": dataset},
        temperatures=2.0 ** np.arange(temperatures),
        alphas=np.linspace(0, 1, alphas),
        scores=scores,
    )


def curves(first: Array, last: Array, *, epochs: int = 8, seeds: int = 3) -> Array:
    """Scores of shape (seeds, t, a, epochs) that go straight from `first` to `last`, the same for every seed."""
    way = np.linspace(0, 1, epochs)
    one = first[..., None] * (1 - way) + last[..., None] * way
    return np.repeat(one[None], seeds, axis=0)
