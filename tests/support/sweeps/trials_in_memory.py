"""Optuna's trials in memory, for tests of what our own tables say: writing a trial costs most of a task."""

import copy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from optuna.storages import InMemoryStorage
from sqlalchemy import URL, Engine

from storage.db.engine import open_engine
from storage.url import resolve


class _Trials(InMemoryStorage):
    def remove_session(self) -> None:
        """Nothing is open."""


_kept: dict[str, _Trials] = {}  # by the URL of their storage


@contextmanager
def trials_in_memory() -> Iterator[None]:
    """Studies opened in this process keep their trials in memory.

    Our own tables are in the database as ever. Not for tests of studies, audit, deletion, dashboard or other processes.
    """

    def connect(url: URL, *, create: bool = False) -> tuple[InMemoryStorage, Engine]:
        return _kept.setdefault(str(url), _Trials()), open_engine(url, must_exist=not create)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.studies.adapter.connect", connect)
        yield


def copied(file: Path, to: Path) -> URL:
    """Copy a SQLite file, and the trials that go with it."""
    old, new = (resolve(f"sqlite:///{path}") for path in (file, to))
    shutil.copy(file, to)
    _kept[str(new)] = copy.deepcopy(_kept[str(old)])
    return new
