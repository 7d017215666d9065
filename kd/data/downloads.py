"""Download files within limits of time and size.

Source of the addresses and hashes: keras/src/datasets/mnist.py, fashion_mnist.py, cifar10.py and cifar100.py, Keras
3.15. Why not pooch: docs/decisions/downloads.md.
"""

import hashlib
import http.client
import math
import queue
import struct
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kd.data.arrays import KEYS, Arrays, checked, read_cifar10_tar, read_cifar100_tar, read_idx, read_npz, unzipped
from kd.data.known import KNOWN_DATASETS
from kd.errors import DataError

Progress = Callable[[int, int | None], None]
"""Called with the number of bytes received so far and in total; None if the server does not send a total."""

CONNECT_S = 10.0  # until the first byte of the response: name look-up, connection and redirects together
SILENCE_S = 10.0  # the longest pause during a download
CHUNK_BYTES = 1 << 18
IDX_HEADER = 16  # bytes of an idx file before its array, at most


@dataclass(frozen=True, kw_only=True)
class Download:
    """A public dataset in one file, or in several.

    Attributes:
        url: http or https address; for several files their common prefix, and `parts` the rest of each.
        sha256: of the whole file, checked before reading it; empty if Keras has none, and the arrays' hashes decide.
        size: expected bytes, for messages, progress and the limit of a download.
        read: reads the downloaded files, in the order of `parts`, into checked arrays.
    """

    url: str
    sha256: str
    size: int
    read: Callable[[Sequence[Path]], Arrays]
    parts: tuple[str, ...] = ("",)


def download_arrays(what: Download, folder: Path, progress: Progress | None = None) -> Arrays:
    """Download a public dataset into an empty folder, which the caller removes; verify and read it.

    Raises:
        DataError: the download failed, or the file is not the expected one.
    """
    targets: list[Path] = []
    before = 0

    def on_progress(done: int, total: int | None) -> None:
        if progress is not None:  # for a single file, the server sends the total
            progress(before + done, what.size if len(what.parts) > 1 else total)

    for number, part in enumerate(what.parts):
        target = folder / f"download-{number}"
        url = what.url + part
        received = download(url, target, most_bytes=2 * what.size, progress=on_progress)
        if what.sha256 and received != what.sha256:
            raise DataError(
                f"{url}: this is not the public file (sha256 {received[:12]}..., not {what.sha256[:12]}...)"
            )
        targets.append(target)
        before += target.stat().st_size
    return what.read(targets)


def read_archive(what: Download, path: Path) -> Arrays:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if digest != what.sha256:
        raise DataError(
            f"{path} is not the file at {what.url} (sha256 {digest[:12]}..., not {what.sha256[:12]}...); download it"
            " again"
        )
    return what.read([path])


def download(
    url: str,
    target: Path,
    *,
    most_bytes: int | None = None,
    seconds: float | None = None,
    progress: Progress | None = None,
) -> str:
    """Download a web address to a file; return the file's sha256 as 64 hexadecimal digits.

    After an error the file may be incomplete.

    Raises:
        DataError: one line: no response within CONNECT_S, a pause of SILENCE_S, an HTTP error, a broken transfer, or
            more than `most_bytes` or `seconds`.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    try:
        with _open(url) as response, target.open("wb") as file:
            digest, done = hashlib.sha256(), 0
            length = response.headers.get("Content-Length")
            total = int(length) if length and length.isdigit() else None
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                if most_bytes is not None and done > most_bytes:
                    raise DataError(f"{url}: sends more than the allowed {most_bytes} bytes")
                if deadline is not None and time.monotonic() > deadline:
                    raise DataError(f"{url}: the time limit passed after {done} bytes")
                if progress is not None:
                    progress(done, total)
            if total is not None and done < total:
                raise DataError(f"{url}: the connection broke after {done} of {total} bytes")
            return digest.hexdigest()
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
            raise DataError(f"{url}: {error.reason}") from error
        raise DataError(f"{url}: {str(error) or type(error).__name__}") from error


def _open(url: str) -> Any:
    """Return the response, or raise TimeoutError after CONNECT_S.

    A thread waits for it, because a socket's time-out applies to each address of a host in turn, and not at all to the
    name look-up. As a daemon, an abandoned thread does not delay the exit.
    """
    answer: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(urllib.request.urlopen(url, timeout=SILENCE_S))
        except Exception as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # else it keeps the connection open
            answer.put(error)

    threading.Thread(target=ask, daemon=True, name="download").start()
    try:
        response = answer.get(timeout=CONNECT_S)
    except queue.Empty:
        raise TimeoutError(f"no answer within {CONNECT_S:.0f} s") from None
    if isinstance(response, Exception):
        raise response
    return response


FASHION_FILES = tuple(
    f"{name}-ubyte.gz" for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
)


def read_gzipped_idx(paths: Sequence[Path]) -> dict[str, npt.NDArray[np.uint8]]:
    """Return the arrays in FASHION_FILES, by key.

    Raises:
        OSError, EOFError, ValueError, zlib.error, struct.error: one is missing, damaged, or too large.
    """
    shapes = KNOWN_DATASETS["fashion_mnist"].shapes
    limits = [math.prod(shapes[key]) + IDX_HEADER for key in KEYS]
    return {key: read_idx(unzipped(path, most)) for key, path, most in zip(KEYS, paths, limits, strict=True)}


def _read_fashion_mnist(paths: Sequence[Path]) -> Arrays:
    try:
        raw = read_gzipped_idx(paths)
    except (OSError, EOFError, ValueError, zlib.error, struct.error) as error:
        raise DataError(f"not the gzipped idx files of Fashion-MNIST: {error}") from error
    return checked(raw, "Fashion-MNIST files")


DOWNLOADS: Mapping[str, Download] = {
    "mnist": Download(
        url="https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
        sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
        size=11_490_434,
        read=lambda paths: read_npz(paths[0]),
    ),
    "cifar10": Download(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        size=170_498_071,
        read=lambda paths: read_cifar10_tar(paths[0]),
    ),
    "fashion_mnist": Download(
        url="https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        sha256="",
        size=30_878_645,
        read=_read_fashion_mnist,
        parts=FASHION_FILES,
    ),
    "cifar100": Download(
        url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        size=169_001_437,
        read=lambda paths: read_cifar100_tar(paths[0]),
    ),
}
