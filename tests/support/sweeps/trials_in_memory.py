"""Optuna's trials in memory, for tests of our own tables: writing trials takes most of a task's time."""

import copy
import functools
import hashlib
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from filelock import FileLock
from optuna.storages import InMemoryStorage
from sqlalchemy import URL, Engine

from storage.url import resolve
from tests.support.paths import MADE


class _Trials(InMemoryStorage):
    def remove_session(self) -> None:
        """Do nothing: there is no connection to close."""


_kept: dict[Path, _Trials] = {}  # by the file of their storage
_active: list[bool] = []


@contextmanager
def trials_in_memory() -> Iterator[None]:
    """Keep the trials of studies opened in this process in memory.

    Our own tables stay in the database. Not for tests of studies, audit, deletion, dashboard or other processes.
    """

    def optuna_storage(engine: Engine, *, create: bool = False) -> InMemoryStorage:
        return _kept.setdefault(Path(str(engine.url.database)).absolute(), _Trials())

    studies = "storage.studies.studies"
    with mock.patch(f"{studies}.optuna_storage", optuna_storage), mock.patch(f"{studies}._check_version"):
        _active.append(True)
        try:
            yield
        finally:
            _active.pop()


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Return the folder of a process outside any session."""
    return tempfile.TemporaryDirectory(prefix="kd-sweeps-made-")


def copied(file: Path, to: Path) -> URL:
    """Copy an SQLite file with its trials in memory."""
    shutil.copy(file, to)
    if file.absolute() in _kept:
        _kept[to.absolute()] = copy.deepcopy(_kept[file.absolute()])
    return resolve(f"sqlite:///{to}")


def made_once(key: object, to: URL, make: Callable[[URL], object]) -> None:
    """Make a storage; a new SQLite file is a copy of the one that the session's first call with this key made.

    Args:
        key: its text must cover everything that the content depends on.
    """
    if to.get_backend_name() != "sqlite" or to.database is None or Path(to.database).exists():
        make(to)
        return
    name = hashlib.sha256(repr((key, bool(_active))).encode()).hexdigest()[:24]
    path = Path(os.environ.get(MADE) or _folder().name) / f"{name}.db"
    trials = path.with_suffix(".trials")
    with FileLock(path.with_suffix(".lock")):
        if not trials.exists():
            path.unlink(missing_ok=True)  # left by a call that failed midway
            make(resolve(f"sqlite:///{path}"))
            trials.write_bytes(pickle.dumps(_kept.get(path)))
    if path not in _kept and (kept := pickle.loads(trials.read_bytes())) is not None:
        _kept[path] = kept
    copied(path, Path(to.database))
