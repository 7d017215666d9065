"""Parts of public datasets, with labels 0, 1, 8 and 9 or with 2 to 7; and CIFAR-10 in grey.

The parts of CIFAR-10 are its four vehicles and its six animals. MNIST and Fashion-MNIST are cut by the same labels.
"""

import numpy as np
import numpy.typing as npt

from kd.data.sources import obtain

Arrays = dict[str, npt.NDArray[np.uint8]]
_FOUR = (0, 1, 8, 9)  # of CIFAR-10: airplane, automobile, ship, truck
_SIX = tuple(label for label in range(10) if label not in _FOUR)
_LUMA = (299, 587, 114)  # thousandths of red, green, blue: ITU-R BT.601


def animals() -> Arrays:
    """Bird, cat, deer, dog, frog, horse: 30,000 training and 6,000 test images."""
    return _only("cifar10", _SIX)


def vehicles() -> Arrays:
    """Airplane, automobile, ship, truck: 20,000 training and 4,000 test images."""
    return _only("cifar10", _FOUR)


def mnist_four() -> Arrays:
    """The digits 0, 1, 8 and 9."""
    return _only("mnist", _FOUR)


def mnist_six() -> Arrays:
    """The digits 2 to 7."""
    return _only("mnist", _SIX)


def fashion_four() -> Arrays:
    """T-shirt, trouser, bag, ankle boot."""
    return _only("fashion_mnist", _FOUR)


def fashion_six() -> Arrays:
    """Pullover, dress, coat, sandal, shirt, sneaker."""
    return _only("fashion_mnist", _SIX)


def cifar10_grey() -> Arrays:
    """Convert CIFAR-10 to its luma as the only channel."""
    whole = obtain("cifar10").arrays
    grey: Arrays = {}
    for split in ("train", "test"):
        images = getattr(whole, f"x_{split}")
        luma = sum(images[..., channel] * np.uint32(weight) for channel, weight in enumerate(_LUMA))
        grey[f"x_{split}"] = (luma // np.uint32(1000)).astype(np.uint8)[..., None]
        grey[f"y_{split}"] = np.asarray(getattr(whole, f"y_{split}")).ravel().astype(np.uint8)
    return grey


def _only(name: str, classes: tuple[int, ...]) -> Arrays:
    whole = obtain(name).arrays
    part: Arrays = {}
    for split in ("train", "test"):
        labels = np.asarray(getattr(whole, f"y_{split}")).ravel()
        chosen = np.isin(labels, classes)
        part[f"x_{split}"] = getattr(whole, f"x_{split}")[chosen]
        part[f"y_{split}"] = np.searchsorted(np.asarray(classes), labels[chosen]).astype(np.uint8)
    return part
