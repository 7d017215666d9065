"""A fresh database of either kind, and copies of it: several measurements begin at the same state."""

import contextlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Protocol

from sqlalchemy import make_url

from tests.support.postgres_server import PostgresServer, running_server

KINDS = ("sqlite", "postgres")


class Database(Protocol):
    """One kind of database."""

    name: str

    def new(self) -> str:
        """URL of an empty one."""

    def copy(self, url: str) -> str:
        """URL of a copy of one that nobody is connected to."""


class _SQLite:
    name = "SQLite"

    def __init__(self, folder: Path) -> None:
        self._folder, self._numbers = folder, count()

    def new(self) -> str:
        return f"sqlite:///{self._folder}/{next(self._numbers)}.db"

    def copy(self, url: str) -> str:
        copy = self.new()
        shutil.copy(url.removeprefix("sqlite:///"), copy.removeprefix("sqlite:///"))
        return copy


class _Postgres:
    name = "Postgres"

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def new(self) -> str:
        return self._server.new_database()

    def copy(self, url: str) -> str:
        copy = self.new()
        ours, theirs = make_url(copy).database, make_url(url).database
        with self._server.admin() as connection:
            connection.execute(f"DROP DATABASE {ours}")
            connection.execute(f"CREATE DATABASE {ours} TEMPLATE {theirs} OWNER {make_url(url).username}")
        return copy


@contextlib.contextmanager
def opened(kind: str) -> Iterator[Database]:
    """The database of that kind, one of KINDS; gone at the end with everything in it."""
    with contextlib.ExitStack() as stack:
        if kind == "sqlite":
            yield _SQLite(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kd-sweeps-bench-"))))
            return
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")  # platformdirs, asked by the Postgres wheel
        yield _Postgres(stack.enter_context(running_server()))
