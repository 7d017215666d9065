"""Read the "python version" archives of CIFAR-10 and CIFAR-100, which must have been verified: they hold pickles.

Source: https://www.cs.toronto.edu/~kriz/cifar.html, "Python / Matlab versions".
"""

import pickle
import tarfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from kd.data.arrays import Arrays, checked
from kd.errors import DataError

__all__ = ["read_cifar10_tar", "read_cifar100_tar"]

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


def read_cifar10_tar(path: Path) -> Arrays:
    """Read CIFAR-10 from its archive."""
    train = [f"data_batch_{number}" for number in range(1, 6)]
    return _read("CIFAR-10", path, "cifar-10-batches-py", train, "test_batch", b"labels")


def read_cifar100_tar(path: Path) -> Arrays:
    """Read CIFAR-100 with its 100 fine labels from its archive."""
    return _read("CIFAR-100", path, "cifar-100-python", ["train"], "test", b"fine_labels")


def _read(what: str, path: Path, folder: str, train: list[str], test: str, labels: bytes) -> Arrays:
    batches: dict[str, Batch] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for name in (*train, test):
                member = archive.extractfile(f"{folder}/{name}")
                if member is None:
                    raise DataError(f"{folder}/{name} is not a file in the archive")
                batches[name] = _read_batch(cast(BinaryIO, member), labels)
    except (tarfile.TarError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"the {what} archive cannot be read: {error}") from error
    return checked(
        {
            "x_train": np.concatenate([batches[name][0] for name in train]),
            "y_train": np.concatenate([batches[name][1] for name in train]),
            "x_test": batches[test][0],
            "y_test": batches[test][1],
        },
        f"{what} archive",
    )


def _read_batch(file: BinaryIO, labels: bytes) -> Batch:
    """Return the images, uint8 (n, 32, 32, 3), and the labels, uint8 (n,), of one pickled batch."""
    batch = _BatchUnpickler(file, encoding="bytes").load()
    planes = np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32)  # channels first
    return planes.transpose(0, 2, 3, 1), np.asarray(batch[labels], dtype=np.uint8)


class _BatchUnpickler(pickle.Unpickler):
    """Reads the batches as Python 2 wrote them."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "dtype"):
            # The pickles pass align=0; numpy 2.4 deprecates any other value than a bool there.
            return lambda kind, align, copy: np.dtype(kind, align=bool(align), copy=bool(copy))
        return super().find_class(module, name)
