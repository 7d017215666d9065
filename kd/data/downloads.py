"""Download files with limits on time and size, and the public dataset files that Keras downloads.

Source of the addresses and hashes: keras/src/datasets/mnist.py and cifar10.py, Keras 3.15. Why not pooch:
docs/decisions/downloads.md.
"""

import hashlib
import http.client
import pickle
import queue
import tarfile
import threading
import time
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

__all__ = ["DOWNLOADS", "Download", "Progress", "download", "download_arrays"]

Progress = Callable[[int, int | None], None]
"""Called with the number of bytes received so far and the number in all, or None where the server does not say."""

CONNECT_S = 10.0  # until the first byte of the answer: name look-up, connection and redirects together
SILENCE_S = 10.0  # the longest pause in the middle of a download
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Download:
    """A public dataset file.

    Attributes:
        url: http or https address.
        sha256: of the whole file; checked before anything in it is read.
        size: expected bytes, for messages, progress and the limit of a download.
        read: reads the verified file into checked arrays.
    """

    url: str
    sha256: str
    size: int
    read: Callable[[Path], Arrays]


def download_arrays(what: Download, folder: Path, progress: Progress | None = None) -> Arrays:
    """Download a public dataset file into a folder, verify it, and read it.

    Args:
        what: the file.
        folder: an empty folder for the file; the caller removes it.
        progress: called after every chunk.

    Raises:
        DataError: the download failed, or the file is another one than expected.
    """
    target = folder / "download"
    received = download(what.url, target, most_bytes=2 * what.size, progress=progress)
    if received != what.sha256:
        raise DataError(
            f"{what.url}: got another file than the public one (sha256 {received[:12]}..., not {what.sha256[:12]}...)"
        )
    return what.read(target)


def download(
    url: str,
    target: Path,
    *,
    most_bytes: int | None = None,
    seconds: float | None = None,
    progress: Progress | None = None,
) -> str:
    """Copy what a web address sends into a file; return the sha256 of it as 64 hexadecimal digits.

    Args:
        url: http or https address.
        target: the file to write; after an error it may hold a part.
        most_bytes: the download stops once more than this has arrived; None is no limit.
        seconds: for the whole download; None is no limit.
        progress: called after every chunk.

    Raises:
        DataError: one line: no answer within CONNECT_S, silence for SILENCE_S, an HTTP error, a broken or too large
            transfer, or no time left.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    try:
        with _open(url) as response, target.open("wb") as file:
            return _copy(response, file, url, most_bytes, deadline, progress)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
            raise DataError(f"{url}: {error.reason}") from error
        raise DataError(f"{url}: {str(error) or type(error).__name__}") from error


def _copy(
    response: Any, file: BinaryIO, url: str, most_bytes: int | None, deadline: float | None, progress: Progress | None
) -> str:
    digest, done = hashlib.sha256(), 0
    length = response.headers.get("Content-Length")
    total = int(length) if length and length.isdigit() else None
    while chunk := response.read(CHUNK_BYTES):
        file.write(chunk)
        digest.update(chunk)
        done += len(chunk)
        if most_bytes is not None and done > most_bytes:
            raise DataError(f"{url}: sends more than the {most_bytes} bytes that are allowed")
        if deadline is not None and time.monotonic() > deadline:
            raise DataError(f"{url}: the time limit passed after {done} bytes")
        if progress is not None:
            progress(done, total)
    if total is not None and done < total:
        raise DataError(f"{url}: the connection broke after {done} of {total} bytes")
    return digest.hexdigest()


def _open(url: str) -> Any:
    """Return the response, or raise TimeoutError after CONNECT_S.

    In a thread, because a socket's time-out holds for each address of a host in turn, and not at all for the name
    look-up. A thread that no longer matters is a daemon and delays nothing.
    """
    answer: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(urllib.request.urlopen(url, timeout=SILENCE_S))
        except Exception as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection
            answer.put(error)

    threading.Thread(target=ask, daemon=True, name="download").start()
    try:
        response = answer.get(timeout=CONNECT_S)
    except queue.Empty:
        raise TimeoutError(f"no answer within {CONNECT_S:.0f} s") from None
    if isinstance(response, Exception):
        raise response
    return response


def read_cifar10_tar(path: Path) -> Arrays:
    """Read CIFAR-10 from its "python version" archive, which must have been verified: it holds pickles.

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
    """Return the images, uint8 (n, 32, 32, 3), and the labels, uint8 (n,), of one pickled batch."""
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
