"""Load the parts of a dataset; the rest of the project reads datasets only through this file."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kd.data import custom, sources
from kd.data.arrays import Contents as Contents
from kd.data.arrays import Indices, split_hash, stratified_order, validation_images
from kd.data.known import KNOWN_DATASETS
from kd.errors import DataError

NAMES = (*KNOWN_DATASETS, *sources.GENERATED)

# Images of the published training part that are used for validation; of any other dataset, a tenth.
VALIDATION_IMAGES = {
    "mnist": 10_000,
    "fashion_mnist": 10_000,
    "cifar10": 5_000,
    "cifar100": 5_000,
    "digits": 359,
    "digits-rgb": 359,
}


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
        """Return the number of images."""
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The training and validation images of a dataset, all that a search sees.

    Attributes:
        name: as given to `load`.
        train: in an order whose first N are stratified by class, so that `train_images=N` is a fair smaller dataset.
        validation: stratified by class, always the same images.
        classes: number of classes.
        content_hash: sha256 of the whole dataset, test part included.
        split_hash: sha256 of name, content and the chosen images; equal hashes mean equal training data.
        origin: for messages, such as "cache: PATH".
        train_indices: of the training images, in their order, in the published training part.
        published: number of images in that part.
    """

    name: str
    train: Split
    validation: Split
    classes: int
    content_hash: str
    split_hash: str
    origin: str
    train_indices: Indices = field(default_factory=lambda: np.zeros(0, np.int64))
    published: int = 0

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Return (h, w, c) of every image."""
        _, height, width, channels = self.train.images.shape
        return height, width, channels


def load(
    name: str, *, train_images: int | None = None, data_dir: Path | None = None, size: tuple[int, ...] = ()
) -> Dataset:
    """Return the training and validation images of a dataset, which is fetched if it is not on this machine.

    Args:
        name: of `NAMES`, or your own: an .npz file, a folder of images, package.module:load, ./file.py:load.
        train_images: number of training images, the first of the stratified order; None keeps all. The validation
            images are the same for every number.
        data_dir: folder that may hold mnist.npz and other files; None means KD_SWEEPS_DATA, if set.
        size: (height, width) for the images of a folder; empty if they all have one size.

    Raises:
        DataError: unknown name, no source has it, an invalid file, or train_images out of range.
    """
    source = sources.obtain(name, data_dir=data_dir, size=size)
    arrays = source.arrays
    total = len(arrays.y_train)
    available = total - VALIDATION_IMAGES.get(name, validation_images(total))
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
    # Train on the first images and validate on the last ones: no rare class is then missing in training.
    train, validation = order[:chosen], order[available:]
    return Dataset(
        name=name,
        train=Split(arrays.x_train[train], arrays.y_train[train]),
        validation=Split(arrays.x_train[validation], arrays.y_train[validation]),
        classes=arrays.classes,
        content_hash=arrays.content_hash,
        # The file's name without its folder: the same file elsewhere is the same data.
        split_hash=split_hash(Path(name).name, arrays.content_hash, train, validation),
        origin=source.origin,
        train_indices=train,
        published=total,
    )


def load_test(name: str, *, data_dir: Path | None = None, size: tuple[int, ...] = ()) -> Split:
    """Return the test images, in the published order. `load` omits them, so a search cannot read them by accident.

    Args:
        name, data_dir, size: as for `load`.

    Raises:
        DataError: as for `load`.
    """
    arrays = sources.obtain(name, data_dir=data_dir, size=size).arrays
    return Split(arrays.x_test, arrays.y_test)


def contents(name: str, data_dir: Path | None = None, size: tuple[int, ...] = ()) -> Contents:
    """Return a summary of a dataset; arguments and errors as for `load`.

    Most public datasets need not be read for it. A user's dataset is read once in a process.
    """
    if is_own(name):
        return custom.contents_of(name, size=size, data_dir=data_dir)
    known = KNOWN_DATASETS.get(name)
    if known is None or not known.content_hash:
        return sources.obtain(name, data_dir=data_dir).arrays.contents(VALIDATION_IMAGES[name])
    return Contents(
        content_hash=known.content_hash,
        training_images=known.shapes["x_train"][0] - VALIDATION_IMAGES[name],
        input_shape=known.image_shape,
        classes=known.classes,
        validation_images=VALIDATION_IMAGES[name],
        test_images=known.shapes["x_test"][0],
    )


def is_own(name: str) -> bool:
    """Return whether a dataset is the user's own: a file, a folder or a function, and none of `NAMES`."""
    return name not in NAMES and custom.kind_of(name) is not None


def content_hash(name: str, data_dir: Path | None = None, size: tuple[int, ...] = ()) -> str:
    """Return the sha256 of the whole dataset; arguments and errors as `contents`."""
    return contents(name, data_dir, size).content_hash
