"""Optuna's trials in memory, for tests of what our own tables say: writing a trial costs most of a task."""

import copy
import shutil
import tempfile
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from optuna.storages import InMemoryStorage
from sqlalchemy import URL, Engine

from storage.db.engine import open_engine
from storage.url import resolve


class _Trials(InMemoryStorage):
    def remove_session(self) -> None:
        """Nothing is open."""


_kept: dict[str, _Trials] = {}  # by the URL of their storage
_active: list[bool] = []


@contextmanager
def trials_in_memory() -> Iterator[None]:
    """Studies opened in this process keep their trials in memory.

    Our own tables are in the database as ever. Not for tests of studies, audit, deletion, dashboard or other processes.
    """

    def connect(url: URL, *, create: bool = False) -> tuple[InMemoryStorage, Engine]:
        return _kept.setdefault(str(url), _Trials()), open_engine(url, must_exist=not create)

    with mock.patch("storage.studies.studies.connect", connect):
        _active.append(True)
        try:
            yield
        finally:
            _active.pop()


def copied(file: Path, to: Path) -> URL:
    """Copy a SQLite file, and the trials in memory that go with it."""
    old, new = (resolve(f"sqlite:///{path}") for path in (file, to))
    shutil.copy(file, to)
    if str(old) in _kept:
        _kept[str(new)] = copy.deepcopy(_kept[str(old)])
    return new


_folder = tempfile.TemporaryDirectory(prefix="kd-sweeps-made-")
_made: dict[tuple[Hashable, bool], Path] = {}


def made_once(key: Hashable, to: Path, make: Callable[[Path], object]) -> None:
    """Make a SQLite file, or copy the one that the first call with this key in this process made."""
    whole = key, bool(_active)
    if whole not in _made:
        path = Path(_folder.name) / f"{len(_made)}.db"
        make(path)
        _made[whole] = path
    copied(_made[whole], to)
