"""The public files that Keras downloads, fetched without importing Keras.

Source: keras/src/datasets/mnist.py and cifar10.py, Keras 3.15 (addresses and sha256).
"""

import hashlib
import http.client
import pickle
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from kd.data.arrays import Arrays, checked, read_npz
from kd.errors import DataError

__all__ = ["DOWNLOADS", "Download", "Progress", "download"]

Progress = Callable[[int, int | None], None]
"""Called with the bytes done so far and the bytes in all, where known."""

TIMEOUT_S = 10.0  # to connect, and for any silence after that
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Download:
    """A public file: where it is, what it must be, and how to read it.

    Attributes:
        url: http or https address.
        sha256: of the whole file; checked before anything in it is read.
        size: expected bytes, for messages and progress.
        read: turns the verified file into checked arrays.
    """

    url: str
    sha256: str
    size: int
    read: Callable[[Path], Arrays]


def download(what: Download, folder: Path, progress: Progress | None = None) -> Arrays:
    """Download a public file into a folder, verify it, and read it.

    Args:
        what: the file.
        folder: an empty folder for the file; removing it is the caller's.
        progress: told about every chunk.

    Raises:
        DataError: no connection within 10 s, a broken transfer, or another file than expected.
    """
    target = folder / "download"
    try:
        received = _stream(what, target, progress)
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise DataError(f"{what.url}: {reason or type(error).__name__}") from error
    if received != what.sha256:
        raise DataError(
            f"{what.url}: got another file than the public one (sha256 {received[:12]}..., not {what.sha256[:12]}...)"
        )
    return what.read(target)


def _stream(what: Download, target: Path, progress: Progress | None) -> str:
    """Copy the address into a file; its sha256."""
    digest = hashlib.sha256()
    done = 0
    with urllib.request.urlopen(what.url, timeout=TIMEOUT_S) as response, target.open("wb") as file:
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if done > 2 * what.size:
                raise DataError(f"{what.url}: sends more than {2 * what.size} bytes; expected {what.size}")
            if progress is not None:
                progress(done, total)
    if total is not None and done < total:
        raise DataError(f"{what.url}: the connection broke after {done} of {total} bytes")
    return digest.hexdigest()


def read_cifar10_tar(path: Path) -> Arrays:
    """CIFAR-10 from its "python version" archive, which must have been verified: it holds pickles.

    Source: https://www.cs.toronto.edu/~kriz/cifar.html, "Python / Matlab versions".
    """
    train = [f"data_batch_{number}" for number in range(1, 6)]
    batches: dict[str, tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for name in (*train, "test_batch"):
                member = archive.extractfile(f"cifar-10-batches-py/{name}")
                if member is None:
                    raise DataError(f"cifar-10-batches-py/{name} is not a file in the archive")
                batches[name] = _read_batch(cast(BinaryIO, member))
    except (tarfile.TarError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"the CIFAR-10 archive cannot be read: {error}") from error
    return checked(
        {
            "x_train": np.concatenate([batches[name][0] for name in train]),
            "y_train": np.concatenate([batches[name][1] for name in train]),
            "x_test": batches["test_batch"][0],
            "y_test": batches["test_batch"][1],
        },
        "CIFAR-10 archive",
    )


def _read_batch(file: BinaryIO) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images (n, 32, 32, 3) and labels (n,) of one pickled batch."""
    batch = _BatchUnpickler(file, encoding="bytes").load()
    planes = np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32)  # channels first
    return planes.transpose(0, 2, 3, 1), np.asarray(batch[b"labels"], dtype=np.uint8)


class _BatchUnpickler(pickle.Unpickler):
    """Reads the batches as Python 2 wrote them."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "dtype"):
            # The pickles pass align=0; numpy 2.4 deprecates any other value than a bool there.
            return lambda kind, align, copy: np.dtype(kind, align=bool(align), copy=bool(copy))
        return super().find_class(module, name)


DOWNLOADS: Mapping[str, Download] = {
    "mnist": Download(
        url="https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
        sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
        size=11_490_434,
        read=read_npz,
    ),
    "cifar10": Download(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        size=170_498_071,
        read=read_cifar10_tar,
    ),
}
