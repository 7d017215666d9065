"""Describe the public datasets by shapes and hashes, and generate the synthetic ones."""

import gzip
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kd.data.arrays import KEYS, Arrays, content_hash_of, stratified_order
from kd.errors import DataError

TOLERANCE = 5e-4  # published values differ in the fourth decimal


@dataclass(frozen=True, kw_only=True)
class KnownDataset:
    """The shapes and hashes that the arrays of a public dataset must have.

    Attributes:
        shapes: by key, as in the .npz files that people share; all arrays are uint8.
        hashes: by key, sha256 of the raw array bytes in the published order; empty if unknown, and arrays are then
            checked for equal numbers of images per class and for `statistics`.
        classes: number of classes.
        statistics: published mean and sd of each channel of x_train / 255, to within TOLERANCE.
        archive: name of the published file, if a user's folder may hold it instead of an .npz file.
    """

    shapes: Mapping[str, tuple[int, ...]]
    hashes: Mapping[str, str]
    classes: int = 10
    statistics: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    archive: str = ""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        height, width, *channels = self.shapes["x_train"][1:]
        return height, width, channels[0] if channels else 1

    @property
    def content_hash(self) -> str:
        """The `Arrays.content_hash`, without reading the data; "" if unknown."""
        return content_hash_of(self.hashes, self.image_shape) if self.hashes else ""

    def difference(self, arrays: Arrays) -> str | None:
        """Return how arrays differ from this dataset; None if they do not: by hashes, in not one bit."""
        for key in ("x_train", "x_test"):
            images = getattr(arrays, key)
            expected = (self.shapes[key][0], *self.image_shape)
            if images.shape != expected:
                return f"{key} has shape {images.shape}, not {expected}"
        if not self.hashes:
            return self._other_statistics(arrays)
        for key in KEYS:
            if arrays.hashes[key] != self.hashes[key]:
                return f"{key} has sha256 {arrays.hashes[key][:12]}..., not {self.hashes[key][:12]}..."
        return None

    def _other_statistics(self, arrays: Arrays) -> str | None:
        for key in ("y_train", "y_test"):
            counts, each = np.bincount(getattr(arrays, key)), self.shapes[key][0] // self.classes
            if counts.tolist() != [each] * self.classes:
                return f"{key} has {counts.min()} to {counts.max()} images of {len(counts)} classes, not {each} of each"
        for what, wanted, actual in zip(("mean", "sd"), self.statistics, _statistics(arrays.x_train), strict=True):
            if any(abs(value - other) > TOLERANCE for value, other in zip(wanted, actual, strict=True)):
                text = ", ".join(f"{value:.4f}" for value in actual)
                return f"x_train has a {what} of {text} by channel, not {', '.join(map(str, wanted))}"
        return None


def _statistics(images: npt.NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Return mean and sd by channel of uint8 images (n, h, w, c) / 255, from counts: exact, without a float copy."""
    counts = np.zeros((images.shape[3], 256), np.int64)
    for part in np.array_split(images, max(1, len(images) // 5000)):
        for channel, count in enumerate(counts):
            count += np.bincount(part[..., channel].ravel(), minlength=256)
    levels = np.arange(256) / 255
    means = [float(np.average(levels, weights=count)) for count in counts]
    pairs = zip(means, counts, strict=True)
    return means, [float(np.average((levels - mean) ** 2, weights=count)) ** 0.5 for mean, count in pairs]


_MNIST = {"x_train": (60000, 28, 28), "y_train": (60000,), "x_test": (10000, 28, 28), "y_test": (10000,)}
_CIFAR = {"x_train": (50000, 32, 32, 3), "y_train": (50000, 1), "x_test": (10000, 32, 32, 3), "y_test": (10000, 1)}

KNOWN_DATASETS: Mapping[str, KnownDataset] = {
    "mnist": KnownDataset(
        shapes=_MNIST,
        hashes={
            "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
            "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
            "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
            "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
        },
    ),
    "cifar10": KnownDataset(
        shapes=_CIFAR,
        hashes={
            "x_train": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
            "y_train": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
            "x_test": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
            "y_test": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
        },
    ),
    # The four files of Debian's dataset-fashion-mnist, put back into gzip files with the names and times that the
    # originals had, have the MD5 that https://github.com/zalandoresearch/fashion-mnist publishes: these are its arrays.
    "fashion_mnist": KnownDataset(
        shapes=_MNIST,
        hashes={
            "x_train": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
            "y_train": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
            "x_test": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
            "y_test": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
        },
    ),
    # The hashes of its arrays are unknown: they were never read here. The sha256 of the archive is Keras'. The
    # statistics are those by which most programs normalise CIFAR-100.
    "cifar100": KnownDataset(
        shapes=_CIFAR,
        hashes={},
        classes=100,
        statistics=((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
        archive="cifar-100-python.tar.gz",
    ),
}


SEED = 19981109  # of the patches; any number would do, but it must never change
TEST_SHARE = 5  # one image in five is a test image

Pixels = npt.NDArray[np.uint8]


@cache
def make(name: str) -> Arrays:
    """Return a synthetic dataset, read-only: always the same bytes, generated once in a process.

    "digits": 28x28x1, light on black. "digits-rgb": the same digits, 32x32x3, over photographs. Both have 1,438
    training and 359 test images of 10 classes, the test part stratified by class.

    Raises:
        DataError: scikit-learn is not installed, or no longer has the samples.
    """
    with gzip.open(_sample("data/digits.csv.gz"), "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.int64)  # (1797, 65): 64 pixels of 0..16, the label
    labels = table[:, -1].copy()
    # Scaled to 0..255 in integers, the same on every machine.
    small = (table[:, :-1] * 255 // 16).astype(np.uint8).reshape(-1, 8, 8)
    images = _plain(small) if name == "digits" else _over_photographs(small)

    order = stratified_order(labels)
    tests = len(order) // TEST_SHARE
    train, test = order[:-tests], order[-tests:]
    arrays = Arrays(x_train=images[train], y_train=labels[train], x_test=images[test], y_test=labels[test], classes=10)
    for array in (arrays.x_train, arrays.y_train, arrays.x_test, arrays.y_test):
        array.flags.writeable = False  # every caller gets the same arrays
    return arrays


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
    from PIL import Image

    with Image.open(_sample(f"images/{name}")) as photograph:
        return np.asarray(photograph.convert("RGB"))


def _sample(name: str) -> Path:
    """Return the path of a data file of scikit-learn, without importing it, which takes seconds."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("digits and digits-rgb need scikit-learn's samples; type: pip install scikit-learn")
    path = Path(package.origin).parent / "datasets" / name
    if not path.is_file():
        raise DataError(
            f"digits and digits-rgb need {path.name}, which this scikit-learn lacks; type: pip install 'scikit-learn<2'"
        )
    return path
