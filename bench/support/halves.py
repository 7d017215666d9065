"""CIFAR-10 as two datasets that share no class and no image: six animals, and four vehicles."""

import numpy as np
import numpy.typing as npt

from kd.data.sources import obtain

Arrays = dict[str, npt.NDArray[np.uint8]]
_VEHICLES = (0, 1, 8, 9)  # airplane, automobile, ship, truck


def animals() -> Arrays:
    """Bird, cat, deer, dog, frog, horse: 30,000 training and 6,000 test images."""
    return _only([label for label in range(10) if label not in _VEHICLES])


def vehicles() -> Arrays:
    """Airplane, automobile, ship, truck: 20,000 training and 4,000 test images."""
    return _only(_VEHICLES)


def _only(classes: list[int] | tuple[int, ...]) -> Arrays:
    whole = obtain("cifar10").arrays
    found: Arrays = {}
    for split in ("train", "test"):
        labels = np.asarray(getattr(whole, f"y_{split}")).ravel()
        chosen = np.isin(labels, classes)
        found[f"x_{split}"] = getattr(whole, f"x_{split}")[chosen]
        found[f"y_{split}"] = np.searchsorted(np.asarray(classes), labels[chosen]).astype(np.uint8)
    return found
