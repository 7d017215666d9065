"""Fetch Fashion-MNIST from Debian's package of it, on networks that reach package registries only.

The package is unpacked into a folder of ours; nothing is installed, no script in it is run, and no root is needed.
"""

import shutil
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kd.data.arrays import KEYS, Arrays, checked
from kd.data.clients import run_client
from kd.data.downloads import Progress
from kd.data.idx import read_idx, unzipped
from kd.errors import DataError

__all__ = ["DEBIAN", "DebianPackage", "fetch_debian"]

REACH_S = 10
DOWNLOAD_S = 3600
UNPACK_S = 600

# What a missing or damaged gzip or idx file raises.
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, struct.error)


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
    except UNREADABLE as error:
        raise DataError(f"Debian package {what.name} cannot be read: {error}") from error
    return checked(raw, f"Debian package {what.name}")


_FOLDER = "usr/share/datasets/fashion-mnist"

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
