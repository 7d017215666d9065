"""Look at an .npz file before anything in it is unpacked: what it is, and how much memory its arrays take."""

import math
import os
import stat
import zipfile
from collections.abc import Container
from pathlib import Path

import numpy as np

from kd.errors import DataError

__all__ = ["check_memory", "check_size", "memory_bytes", "not_a_file", "said_bytes"]

# Images shrink to a half or a tenth, drawings to a hundredth. A file of zeros shrinks to a thousandth: 5 MB fill 5 GB.
MOST_TIMES = 200
HARMLESS_BYTES = 256 * 1024**2  # so much is unpacked from any file


def not_a_file(path: Path) -> str | None:
    """Return what a path is if it is no plain file, to be said after its name; None if it is one.

    Asked before it is opened: opening a FIFO waits for somebody who writes into it.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
    if stat.S_ISREG(mode):
        return None
    kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket"}
    return f"is a {kinds.get(stat.S_IFMT(mode), 'device')}, not a file"


def check_size(path: Path, keys: Container[str] | None = None) -> None:
    """Check that the arrays of an .npz file fit: by its table of contents and their headers, which are read alone.

    Args:
        keys: the arrays that are to be read; None is all of them.

    Raises:
        DataError: they take more than HARMLESS_BYTES and MOST_TIMES as much as the file, or more than this machine's
            memory; or an array says that it is larger than what is stored of it.
        zipfile.BadZipFile, OSError, ValueError: it is no zip file of arrays.
    """
    total = 0
    with zipfile.ZipFile(path) as file:
        for member in file.infolist():
            name, array = os.path.splitext(member.filename)
            if array != ".npy" or (keys is not None and name not in keys):
                continue
            found = _bytes_of(file, member)
            if found > member.file_size:
                raise DataError(
                    f"{path}: {member.filename} says {said_bytes(found)}, but holds {said_bytes(member.file_size)}"
                )
            total += found
    packed = path.stat().st_size
    if total > max(HARMLESS_BYTES, MOST_TIMES * packed):
        raise DataError(
            f"{path} of {said_bytes(packed)} would unpack to {said_bytes(total)}, more than {MOST_TIMES} times its"
            " size; if it is meant, write it with numpy.savez, which does not compress"
        )
    check_memory(str(path), total)


def check_memory(what: str, total: int) -> None:
    """Check that so many bytes of arrays fit into this machine's memory.

    Raises:
        DataError: they do not; one line.
    """
    if total > (memory := memory_bytes()):
        raise DataError(
            f"{what} holds {said_bytes(total)} of arrays, and this machine has {said_bytes(memory)} of memory; give"
            " fewer or smaller images"
        )


def _bytes_of(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Return how much memory an array takes, by its header; 0 for one of objects, which nobody here reads."""
    with file.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    return 0 if dtype.hasobject else math.prod(shape) * int(dtype.itemsize)


def memory_bytes() -> int:
    """Return how much memory this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def said_bytes(count: float) -> str:
    """Return a number of bytes as people say it, such as "11.49 MB"."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"
