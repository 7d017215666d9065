"""Read, check and hash the four arrays of an image dataset."""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kd.data.npz import check_size, not_a_file
from kd.errors import DataError

__all__ = ["KEYS", "SMALLEST_SIDE", "Arrays", "checked", "content_hash_of", "raw_npz", "read_npz"]

KEYS = ("x_train", "y_train", "x_test", "y_test")
SMALLEST_SIDE = 8  # pixels

# What numpy and zipfile raise on a file that is damaged, encrypted, or not what its name says.
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
)

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Arrays:
    """A checked dataset, before it is split for validation.

    Attributes:
        x_train, x_test: uint8, shape (n, h, w, c), C-contiguous; c is 1 or 3, h and w at least 8.
        y_train, y_test: int64, shape (n,), in 0..classes-1; every class occurs in y_train.
        classes: at least 2.
        class_names: of class 0, 1, ..., where a folder of images gave them; else empty.
    """

    x_train: Images
    y_train: Labels
    x_test: Images
    y_test: Labels
    classes: int
    class_names: tuple[str, ...] = ()

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Return the sha256 of each array's raw bytes, by key.

        Labels are hashed as uint8 (as int64 when there are more than 256 classes), so that the hash does
        not depend on the integer type that a file happens to store; for MNIST and CIFAR-10 these are the
        hashes of the official arrays.
        """
        stored = np.uint8 if self.classes <= 256 else np.dtype("<i8")
        return {
            "x_train": _sha256(self.x_train),
            "y_train": _sha256(self.y_train.astype(stored)),
            "x_test": _sha256(self.x_test),
            "y_test": _sha256(self.y_test.astype(stored)),
        }

    @property
    def content_hash(self) -> str:
        """Return one sha256 for the whole dataset; equal for equal images, labels, image shape and class names."""
        return content_hash_of(self.hashes, self.x_train.shape[1:], self.class_names)


def content_hash_of(hashes: Mapping[str, str], image_shape: tuple[int, ...], class_names: tuple[str, ...] = ()) -> str:
    """Return the sha256 over the image shape (h, w, c), the sha256 of the four arrays, and the class names, if any.

    The shape takes part because the raw bytes of 8x32 and 16x16 images can be the same.
    """
    lines = [f"image {'x'.join(map(str, image_shape))}", *(f"{key} {hashes[key]}" for key in KEYS)]
    if class_names:
        lines.append(f"classes {json.dumps(class_names)}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_npz(path: Path) -> Arrays:
    """Read and check the dataset in an .npz file; nothing in it is unpickled.

    Args:
        path: file with the keys x_train, y_train, x_test, y_test, compressed or not.

    Returns:
        The checked arrays.

    Raises:
        DataError: no such file, not a readable .npz, one that unpacks to too much (see `kd.data.npz`), or not a
            dataset (see `checked`).
    """
    return checked(raw_npz(path), str(path))


def raw_npz(path: Path, needed: tuple[str, ...] = KEYS) -> dict[str, npt.NDArray[Any]]:
    """Return those of the four arrays that an .npz file has, as they are stored; nothing in it is unpickled.

    Args:
        path: file, compressed or not.
        needed: the keys that it must have.

    Raises:
        DataError: as for `read_npz`, before the arrays are checked.
    """
    if (what := not_a_file(path)) is not None:
        raise DataError(f"{path} {what}; give the path of an .npz file with the keys {', '.join(KEYS)}")
    try:
        if not zipfile.is_zipfile(path):  # np.load would take it for a pickle and say so, confusingly
            raise DataError(f"{path} is not an .npz file, or is cut short; write it again with numpy.savez(path, ...)")
        check_size(path, KEYS)
        # Opened here, because np.load leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            missing = [key for key in needed if key not in stored.files]
            if missing:
                raise DataError(
                    f"{path} lacks {', '.join(missing)}; it has {', '.join(stored.files) or 'nothing'}; "
                    f"an .npz dataset needs {', '.join(KEYS)}"
                )
            return {key: stored[key] for key in KEYS if key in stored.files}
    except UNREADABLE as error:
        raise DataError(
            f"{path} cannot be read: {_one_line(error)}; write it again with numpy.savez(path, ...) from "
            f"uint8 images and integer labels"
        ) from error


def checked(raw: Mapping[str, npt.NDArray[Any]], what: str, class_names: tuple[str, ...] = ()) -> Arrays:
    """Check four raw arrays and return them as a dataset.

    Args:
        raw: x_train and x_test, uint8, (n, h, w) or (n, h, w, c);
            y_train and y_test, integers, (n,) or (n, 1).
        what: name of the dataset in messages, such as its path.
        class_names: of class 0, 1, ..., if it has any.

    Raises:
        DataError: they are not a valid dataset; one line with the array, what it is, and what is allowed.
    """
    x_train, x_test = (_images(raw[key], f"{what}: {key}") for key in ("x_train", "x_test"))
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"{what}: x_train has images of shape {x_train.shape[1:]} and x_test of {x_test.shape[1:]} "
            f"(height, width, channels); they must be the same"
        )
    y_train = _labels(raw["y_train"], len(x_train), f"{what}: y_train")
    y_test = _labels(raw["y_test"], len(x_test), f"{what}: y_test")

    present = np.unique(y_train)
    classes = int(present[-1]) + 1
    if len(present) != classes:
        absent = int(np.flatnonzero(present != np.arange(len(present)))[0])
        raise DataError(
            f"{what}: y_train goes up to {classes - 1} but has no image of class {absent}; "
            f"labels must be 0..classes-1, every class present"
        )
    if classes < 2:
        raise DataError(f"{what}: y_train has one class only; at least 2 are needed")
    if y_test.max() >= classes:
        raise DataError(f"{what}: y_test has label {y_test.max()}, which y_train lacks; allowed: 0..{classes - 1}")
    return Arrays(
        x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, classes=classes, class_names=class_names
    )


def _images(array: npt.NDArray[Any], what: str) -> Images:
    if array.dtype != np.uint8:
        raise DataError(f"{what} is {array.dtype}; images must be uint8, 0..255")
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        raise DataError(f"{what} has shape {array.shape}; allowed: (n, h, w), (n, h, w, 1), (n, h, w, 3)")
    if len(array) == 0:
        raise DataError(f"{what} holds no image")
    if min(array.shape[1:3]) < SMALLEST_SIDE:
        raise DataError(f"{what} has shape {array.shape}; images must be {SMALLEST_SIDE}x{SMALLEST_SIDE} or larger")
    return np.ascontiguousarray(array if array.ndim == 4 else array[..., np.newaxis])


def _labels(array: npt.NDArray[Any], images: int, what: str) -> Labels:
    if array.dtype.kind not in "iu":
        raise DataError(f"{what} is {array.dtype}; labels must be integers")
    if array.shape not in ((images,), (images, 1)):
        raise DataError(f"{what} has shape {array.shape}; allowed for {images} images: ({images},), ({images}, 1)")
    lowest, highest = int(array.min()), int(array.max())
    if lowest < 0 or highest >= 2**31:
        wrong = lowest if lowest < 0 else highest
        raise DataError(f"{what} has label {wrong}; labels must be 0..classes-1")
    return array.reshape(-1).astype(np.int64)


def _sha256(array: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
