"""Keep the decoded images of a folder in the cache, so that a machine decodes them once."""

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kd.data.arrays import KEYS, Arrays, raw_npz
from kd.data.local import cache_dir, locked, work_folder
from kd.data.own.folders import Layout, layout
from kd.data.own.forms import taken
from kd.data.own.pictures import Size, decoded
from kd.errors import DataError

__all__ = ["folder_key", "read_folder"]

log = logging.getLogger(__name__)

VERSION = 1  # of how images are decoded and split; a new one decodes every folder again


def read_folder(folder: Path, size: Size | None) -> tuple[Arrays, tuple[str, ...]]:
    """Return the images of a folder as a dataset, and notes: decoded, or as they were decoded before.

    What was kept counts only for the same files with the same sizes and times. Workers compare the hash of the content
    besides, so an old copy is never trained on by mistake.

    Raises:
        DataError: see `kd.data.own.folders.layout`, `kd.data.own.pictures.decoded` and `kd.data.own.forms.taken`.
    """
    found = layout(folder)
    prefix, key = _names(folder, found, size)
    try:
        with locked(prefix):  # of many workers that begin at once, one decodes
            path = cache_dir() / f"{prefix}-{key}.npz"
            if (kept := _kept(path)) is not None:
                return kept
            made = _decode(folder, found, size)
            for older in cache_dir().glob(f"{prefix}-*.npz"):
                older.unlink(missing_ok=True)
            _keep(path, prefix, *made)
            return made
    except OSError as error:
        log.warning("%s is decoded again by every worker: the cache cannot be used: %s", folder, error)
        return _decode(folder, found, size)


def folder_key(folder: Path, size: Size | None) -> str:
    """Return a text that changes when a file of the folder is added, removed or written, or `size` changes.

    Raises:
        DataError: see `kd.data.own.folders.layout`.
    """
    return "-".join(_names(folder, layout(folder), size))


def _names(folder: Path, found: Layout, size: Size | None) -> tuple[str, str]:
    import PIL
    from PIL import features

    decoder = [VERSION, PIL.__version__, features.version("jpg"), features.version("zlib")]
    files: list[Any] = []
    for path in found.files:
        status = path.stat()
        files.append([str(path.relative_to(folder)), status.st_size, status.st_mtime_ns])
    return f"folder-{_digest([str(folder.absolute()), size])}", _digest([decoder, files])


def _digest(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def _decode(folder: Path, found: Layout, size: Size | None) -> tuple[Arrays, tuple[str, ...]]:
    log.info("decoding %s images of %s", f"{len(found.files):,}", folder)
    pixels = decoded(found.files, str(folder), size)
    trained = sum(map(len, found.train))
    raw: dict[str, npt.NDArray[Any]] = {}
    parts = {"train": (pixels[:trained], found.train), "test": (pixels[trained:], found.test)}
    for part, (images, files) in parts.items():
        if files:
            labels = np.repeat(np.arange(len(files)), [len(one) for one in files])
            order = _by_content(images, labels)
            raw |= {f"x_{part}": images[order], f"y_{part}": labels[order]}
    return taken(raw, str(folder), found.class_names)


def _by_content(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the order by class and by the sha256 of the pixels: files may have any names."""
    digests = np.array([hashlib.sha256(image.data).hexdigest() for image in images])
    return np.lexsort((digests, labels))


def _kept(path: Path) -> tuple[Arrays, tuple[str, ...]] | None:
    if not path.exists():
        return None
    try:
        raw = raw_npz(path)
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
        arrays, _ = taken(raw, str(path), tuple(about["class_names"]))
    except (DataError, KeyError, ValueError, OSError) as error:
        log.warning("%s is damaged and is made again: %s", path, error)
        return None
    if arrays.content_hash != about["content_hash"]:
        log.warning("%s is damaged and is made again", path)
        return None
    return arrays, tuple(about["notes"])


def _keep(path: Path, prefix: str, arrays: Arrays, notes: tuple[str, ...]) -> None:
    about = {"class_names": arrays.class_names, "notes": notes, "content_hash": arrays.content_hash}
    with work_folder(prefix) as folder:
        whole = Path(folder) / "whole.npz"
        np.savez(whole, about=np.array(json.dumps(about)), **{key: getattr(arrays, key) for key in KEYS})
        os.replace(whole, path)
