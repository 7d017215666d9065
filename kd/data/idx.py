"""Read idx files, in which MNIST and Fashion-MNIST are published."""

import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["read_idx", "unzipped"]


def read_idx(content: bytes) -> npt.NDArray[np.uint8]:
    """Return the array of an idx file: two zero bytes, 8 for uint8, the dimensions, big-endian sizes, the bytes.

    Source: http://yann.lecun.com/exdb/mnist/, "FILE FORMATS FOR THE MNIST DATABASE".

    Raises:
        ValueError, struct.error: it is no such file, or cut short.
    """
    if content[:3] != b"\0\0\x08":
        raise ValueError("not an idx file of uint8")
    shape = struct.unpack_from(f">{content[3]}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def unzipped(path: Path, most_bytes: int) -> bytes:
    """Return what a gzip file holds.

    Raises:
        ValueError: more than `most_bytes`.
        OSError, EOFError, zlib.error: it is no gzip file, or damaged.
    """
    with gzip.open(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"{path.name} unpacks to more than {most_bytes} bytes")
    return content
