"""Make small datasets from scikit-learn's samples, so that a sweep can be tried without a download."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kd.data.arrays import Arrays
from kd.data.splits import stratified_order
from kd.errors import DataError

__all__ = ["make"]

SEED = 19981109  # of the patches; any fixed number would do, but it must never change
TEST_SHARE = 5  # one image in five is a test image

Pixels = npt.NDArray[np.uint8]


def make(name: str) -> Arrays:
    """Return a synthetic dataset; the same bytes every time.

    Args:
        name: "digits": 28x28x1, light on black. "digits-rgb": the same digits, 32x32x3, over photographs.

    Returns:
        1,438 training and 359 test images of 10 classes, the test part stratified by class.

    Raises:
        DataError: scikit-learn is not installed, or no longer brings the samples.
    """
    with gzip.open(_sample("data/digits.csv.gz"), "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.int64)  # (1797, 65): 64 pixels of 0..16, the label
    labels = table[:, -1].copy()
    # To 0..255 in integers: the same on every machine.
    small = (table[:, :-1] * 255 // 16).astype(np.uint8).reshape(-1, 8, 8)
    images = _plain(small) if name == "digits" else _over_photographs(small)

    order = stratified_order(labels)
    tests = len(order) // TEST_SHARE
    train, test = order[:-tests], order[-tests:]
    return Arrays(x_train=images[train], y_train=labels[train], x_test=images[test], y_test=labels[test], classes=10)


def _plain(small: Pixels) -> Pixels:
    """Enlarge uint8 digits (n, 8, 8) to (n, 28, 28, 1): each pixel becomes 3 x 3, with a border of 2."""
    large = np.kron(small, np.ones((1, 3, 3), dtype=np.uint8))
    return np.pad(large, ((0, 0), (2, 2), (2, 2)))[..., np.newaxis]


def _over_photographs(small: Pixels) -> Pixels:
    """Enlarge uint8 digits (n, 8, 8) and blend each with a patch of a photograph: |patch - digit|, (n, 32, 32, 3).

    Source: Ganin and Lempitsky 2015, arXiv:1409.7495, section 4.1 (MNIST-M).
    """
    photographs = [_photograph(name) for name in ("china.jpg", "flower.jpg")]
    rng = np.random.Generator(np.random.PCG64(SEED))
    digits = np.kron(small, np.ones((1, 4, 4), dtype=np.uint8)).astype(np.int16)[..., np.newaxis]
    images = np.empty((len(small), 32, 32, 3), dtype=np.uint8)
    for index, digit in enumerate(digits):
        photograph = photographs[rng.integers(len(photographs))]
        top = rng.integers(photograph.shape[0] - 32 + 1)
        left = rng.integers(photograph.shape[1] - 32 + 1)
        patch = photograph[top : top + 32, left : left + 32].astype(np.int16)
        images[index] = np.abs(patch - digit)
    return images


def _photograph(name: str) -> Pixels:
    """Return one of scikit-learn's two sample photographs, uint8 (427, 640, 3)."""
    from PIL import Image

    with Image.open(_sample(f"images/{name}")) as photograph:
        return np.asarray(photograph.convert("RGB"))


def _sample(name: str) -> Path:
    """Return the path of a data file of scikit-learn, without importing it, which would take seconds."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("digits and digits-rgb are made from scikit-learn's samples; type: pip install scikit-learn")
    path = Path(package.origin).parent / "datasets" / name
    if not path.is_file():
        raise DataError(
            f"scikit-learn no longer brings {path.name}, from which digits and digits-rgb are made; "
            f"type: pip install 'scikit-learn<2'"
        )
    return path
