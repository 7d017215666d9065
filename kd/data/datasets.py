"""What a dataset is to everybody else: images to train and to validate on; the test images apart."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kd.data import sources
from kd.data.known import KNOWN_DATASETS
from kd.data.splits import split_hash, stratified_order
from kd.errors import DataError

__all__ = ["NAMES", "Dataset", "Split", "content_hash", "load", "load_test", "training_images"]

NAMES = (*KNOWN_DATASETS, *sources.GENERATED)

# Images of the official training part that validate; any other dataset gives a tenth.
VALIDATION_IMAGES = {"mnist": 10_000, "cifar10": 5_000, "digits": 359, "digits-rgb": 359}


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels.

    Attributes:
        images: uint8, shape (n, h, w, c), 0..255; c is 1 or 3.
        labels: int64, shape (n,), in 0..classes-1.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a search may see of a dataset: no test image is in it.

    Attributes:
        name: as asked for.
        train: class-balanced in every beginning, so `train_images=N` is a fair smaller dataset.
        validation: stratified by class, always the same images.
        classes: number of classes.
        content_hash: sha256 of the whole dataset, test part included.
        split_hash: sha256 of name, content and the images chosen; equal hashes mean equal training data.
        origin: where the bytes came from, for people.
    """

    name: str
    train: Split
    validation: Split
    classes: int
    content_hash: str
    split_hash: str
    origin: str

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(h, w, c) of every image."""
        _, height, width, channels = self.train.images.shape
        return height, width, channels


def load(name: str, *, train_images: int | None = None, data_dir: Path | None = None) -> Dataset:
    """The training and validation images of a dataset, fetched first when they are not on this machine.

    Args:
        name: "mnist", "cifar10", "digits", "digits-rgb", or the path of a file ending in .npz.
        train_images: keep the first so many of the stratified training order; None keeps all. Validation
            stays the same whatever this is.
        data_dir: folder that may hold mnist.npz and cifar10.npz; None means KD_SWEEPS_DATA, if set.

    Raises:
        DataError: unknown name, no source has it, an invalid file, or train_images out of range.
    """
    found = sources.obtain(name, data_dir=data_dir)
    arrays = found.arrays
    total = len(arrays.y_train)
    available = _available(name, total)
    if available < arrays.classes:
        raise DataError(
            f"{name} has {total} training images for {arrays.classes} classes; too few to train and validate"
        )
    chosen = available if train_images is None else train_images
    if not arrays.classes <= chosen <= available:
        raise DataError(
            f"train_images={chosen} is not possible for {name}: "
            f"allowed are {arrays.classes} (one per class) to {available}"
        )
    order = stratified_order(arrays.y_train)
    # Train from the beginning and validate from the end: a rare class is then never missing in training.
    train, validation = order[:chosen], order[available:]
    return Dataset(
        name=name,
        train=Split(arrays.x_train[train], arrays.y_train[train]),
        validation=Split(arrays.x_train[validation], arrays.y_train[validation]),
        classes=arrays.classes,
        content_hash=arrays.content_hash,
        # The file's name without its folder: the same file elsewhere is the same data.
        split_hash=split_hash(Path(name).name, arrays.content_hash, train, validation),
        origin=found.origin,
    )


def load_test(name: str, *, data_dir: Path | None = None) -> Split:
    """The test images, in official order; apart from `load` so that a search cannot read them by accident.

    Args:
        name, data_dir: as for `load`.

    Raises:
        DataError: as for `load`.
    """
    arrays = sources.obtain(name, data_dir=data_dir).arrays
    return Split(arrays.x_test, arrays.y_test)


@dataclass(frozen=True)
class Contents:
    """What is in a dataset. training_images: those that can be trained on, validation set aside."""

    content_hash: str
    training_images: int


def contents(name: str, data_dir: Path | None = None) -> Contents:
    """Return the sha256 of a dataset and its size; for mnist and cifar10 both are known, and nothing is read.

    Args:
        name, data_dir: as for `load`.

    Raises:
        DataError: unknown name, or an .npz file that is missing or invalid.
    """
    if name in KNOWN_DATASETS:
        known = KNOWN_DATASETS[name]
        return Contents(known.content_hash, _available(name, known.shapes["x_train"][0]))
    arrays = sources.obtain(name, data_dir=data_dir).arrays
    return Contents(arrays.content_hash, _available(name, len(arrays.y_train)))


def training_images(name: str, data_dir: Path | None = None) -> int:
    """Return how many images can be trained on, validation set aside; arguments and errors as `contents`."""
    return contents(name, data_dir).training_images


def content_hash(name: str, data_dir: Path | None = None) -> str:
    """Return the sha256 of the whole dataset; arguments and errors as `contents`."""
    return contents(name, data_dir).content_hash


def _available(name: str, total: int) -> int:
    """Training images of a dataset whose official training part has so many in all."""
    return total - VALIDATION_IMAGES.get(name, max(1, total // 10))
