"""Find, lock and store datasets in the cache, and find them in the user's data folder.

The cache holds one verified, uncompressed .npz file for each fetched dataset. Every reader checks the content, so a
damaged file is never used. Writers work in a hidden folder in the cache and move the finished file into place, so that
a reader sees a whole file or none.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import numpy as np
import platformdirs

from kd.data.arrays import Arrays, read_npz, save_npz
from kd.data.downloads import DOWNLOADS, read_archive
from kd.data.known import KNOWN_DATASETS
from kd.errors import DataError

log = logging.getLogger(__name__)


def cache_dir() -> Path:
    """Return the folder of fetched datasets, which need not exist. KD_SWEEPS_CACHE moves the cache elsewhere."""
    if chosen := os.environ.get("KD_SWEEPS_CACHE"):
        return Path(chosen).expanduser().absolute() / "datasets"
    return platformdirs.user_cache_path("kd-sweeps") / "datasets"


def cached_path(name: str) -> Path:
    return cache_dir() / f"{name}.npz"


def read_cached(name: str) -> Arrays:
    path = cached_path(name)
    arrays, known = read_npz(path), KNOWN_DATASETS[name]
    if (difference := known.difference(arrays)) is not None:
        raise DataError(f"{path}: {difference}")
    if not known.hashes:
        with np.load(path, allow_pickle=False) as stored:  # without a published hash, `store` adds the content's
            expected = str(stored["content_hash"]) if "content_hash" in stored.files else "missing"
        if expected != arrays.content_hash:
            raise DataError(f"{path}: its content hash is {arrays.content_hash[:12]}..., not {expected[:12]}...")
    return arrays


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock for writing one dataset; other processes wait. Remove leftovers of killed writers.

    Raises:
        OSError: the cache folder cannot be made or written to.
    """
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        log.info("waiting for another process that is fetching %s", name)
        lock.acquire()
    try:
        for left_over in folder.glob(f".{name}-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        yield
    finally:
        lock.release()


def work_folder(name: str) -> "tempfile.TemporaryDirectory[str]":
    """Make a temporary folder on the cache's disk; use it as a context manager, inside `locked`."""
    return tempfile.TemporaryDirectory(prefix=f".{name}-", dir=cache_dir(), ignore_cleanup_errors=True)


def store(name: str, arrays: Arrays) -> Path:
    """Put verified arrays of a known dataset into the cache; call it inside `locked`.

    They are stored in the published shapes, as uint8, so that the file also serves as a `--data` file.
    """
    known, path = KNOWN_DATASETS[name], cached_path(name)
    kept = {key: getattr(arrays, key).astype(np.uint8, copy=False).reshape(known.shapes[key]) for key in known.shapes}
    if not known.hashes:
        kept["content_hash"] = np.array(arrays.content_hash)
    save_npz(path, **kept)
    return path


def named_folder(data_dir: Path | None) -> tuple[str, Path] | None:
    """Return the option or variable that names the user's data folder, and the folder; None if neither is set.

    Args:
        data_dir: from --data; else KD_SWEEPS_DATA is read.

    Raises:
        DataError: it is not a folder.
    """
    if data_dir is not None:
        origin, folder = "--data", Path(data_dir)
    elif value := os.environ.get("KD_SWEEPS_DATA"):
        origin, folder = "KD_SWEEPS_DATA", Path(value)
    else:
        return None
    folder = folder.expanduser()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"{origin}: {folder} {what}; give a folder that holds mnist.npz or cifar10.npz")
    return origin, folder


def named_file(name: str, folder: Path) -> Path | None:
    """Return the file of a known dataset in the user's folder, NAME.npz or its published archive, or None."""
    files = [folder / f"{name}.npz"]
    if archive := KNOWN_DATASETS[name].archive:
        files.append(folder / archive)
    return next((file for file in files if file.exists()), None)


def read_named(name: str, path: Path) -> Arrays:
    """Return the verified arrays of a known dataset in NAME.npz or its published archive.

    Raises:
        DataError: the file holds something else. It is not skipped, because the user relies on it.
    """
    arrays = read_npz(path) if path.suffix == ".npz" else read_archive(DOWNLOADS[name], path)
    if (difference := KNOWN_DATASETS[name].difference(arrays)) is not None:
        raise DataError(
            f"{path} is not the official {name}: {difference}; remove it to fetch the official one, "
            f"or use the path as the name of the dataset"
        )
    return arrays
