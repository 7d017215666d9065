"""Task folders on this machine: they pass files from one attempt to the next, and are removed when the task is done.

Each is locked: of two attempts at a task, one that has lost its lease without knowing may still be writing.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

import platformdirs

OLD_S = 30 * 86_400.0  # since the last attempt: the sweep was deleted elsewhere, or the task has failed


def cache() -> Path:
    """Return this machine's cache folder, for files that can be made or fetched again."""
    named = os.environ.get("KD_SWEEPS_CACHE")
    return Path(named).expanduser().absolute() if named else platformdirs.user_cache_path("kd-sweeps")


def _base() -> Path:
    return cache() / "tasks"


@contextmanager
def held(identity: str, key: str) -> Iterator[Path]:
    """Yield the folder of a task; a temporary one if another attempt holds it.

    identity: of the sweep, since two with one spec share nothing.
    """
    path = _base() / identity / quote(key, safe="")
    with _locked(path, make=True) as is_ours:
        if is_ours:
            os.utime(path)  # its age counts from here
            yield path
            return
    with temporary() as folder:
        yield folder


@contextmanager
def temporary() -> Iterator[Path]:
    """Yield an empty folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="kd-sweeps-") as folder:
        yield Path(folder)


def kept(identity: str) -> list[str]:
    """Return the keys of the tasks of a sweep that have a folder."""
    return [unquote(path.name) for path in _folders(_base() / identity)]


def remove(identity: str, key: str) -> None:
    """Remove the folder of a task, unless an attempt is using it."""
    _remove(_base() / identity / quote(key, safe=""))


def remove_sweep(identity: str) -> None:
    """Remove the folders of all tasks of a sweep."""
    for path in _folders(_base() / identity):
        _remove(path)


def remove_old() -> None:
    """Remove the folders of this machine without an attempt for a month."""
    for path in (path for sweep in _folders(_base()) for path in _folders(sweep)):
        with contextlib.suppress(OSError):  # removed by another process
            if time.time() - path.stat().st_mtime > OLD_S:
                _remove(path)


def _folders(path: Path) -> list[Path]:
    try:
        return [inner for inner in path.iterdir() if inner.is_dir()]
    except OSError:  # missing
        return []


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError), _locked(path, make=False) as is_ours:
        if is_ours:
            shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):  # not empty
        path.parent.rmdir()


@contextmanager
def _locked(path: Path, *, make: bool) -> Iterator[bool]:
    """Yield whether the folder could be locked. make: create it if it is missing."""
    lock = _lock(path, make=make)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)


def _lock(path: Path, *, make: bool) -> int | None:
    while True:
        if make:
            path.mkdir(parents=True, exist_ok=True)
        try:
            number = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            if make:
                continue  # removed meanwhile
            return None
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # held; or a file system without locks
            os.close(number)
            return None
        if _is_there(path, number):
            return number
        os.close(number)  # removed, and perhaps recreated, before it was locked


def _is_there(path: Path, number: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(number))
    except FileNotFoundError:
        return False
