"""What a service serves: the sweeps of one database, on one engine for all requests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import sqlalchemy
from fastapi import Depends, Path, Request

from storage.db.engine import open_engine
from storage.records import queries
from storage.records.queries import SweepRecord
from sweeps.errors import NotThere
from sweeps.hints import here
from sweeps.places.database import Database
from sweeps.query.listing import SweepRow, sweep_row
from sweeps.spec.model import Name as Pattern
from sweeps.spec.model import check_name


class KeptDatabase(Database):
    """A database whose engine is opened once: a request does not pay for a connection and a look at the schema."""

    def __init__(self, url: sqlalchemy.URL) -> None:
        """See `Database`."""
        super().__init__(url)
        self._engine: sqlalchemy.Engine | None = None
        self._opening = threading.Lock()

    @contextmanager
    def engine(self) -> Iterator[sqlalchemy.Engine]:
        """Give the engine; it is opened by the first who asks, and again after a failure to do so."""
        with self._opening:
            if self._engine is None:
                self._engine = open_engine(self.url, read_only=True)
        yield self._engine

    @contextmanager
    def open(self, name: str) -> Iterator[tuple[sqlalchemy.Engine, SweepRecord]]:
        """Find a sweep, for reading."""
        with self.engine() as engine:
            yield engine, queries.find_sweep(engine, check_name(name))

    def close(self) -> None:
        """Give every connection back; the next question opens new ones."""
        with self._opening:
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None


@dataclass(frozen=True)
class Served:
    """A database and which of its sweeps are shown. names: None shows all. allow_code: specs may name Python code."""

    database: KeptDatabase
    names: frozenset[str] | None
    allow_code: bool

    def shows(self, name: str) -> bool:
        """Return whether a sweep of the database is shown."""
        return self.names is None or name in self.names

    def check(self, name: str) -> str:
        """Return the name; raise NotThere where this service does not serve it, SpecError where none can have it."""
        if self.names is not None and check_name(name) not in self.names:
            raise NotThere(f"this service does not serve {name!r}; those it does: {here().line('list')}")
        return name

    def rows(self, *, limit: int, offset: int) -> tuple[list[SweepRow], int]:
        """Return a page of the sweeps, oldest first, and how many there are."""
        with self.database.engine() as engine:
            found = [one for one in queries.list_sweeps(engine) if self.shows(one.name)]
            return [sweep_row(engine, one) for one in found[offset : offset + limit]], len(found)


def _served(request: Request) -> Served:
    served: Served = request.app.state.served
    return served


Serving = Annotated[Served, Depends(_served)]


_Typed = Annotated[
    str, Path(description="Name of the sweep.", max_length=200, json_schema_extra={"pattern": f"^{Pattern.pattern}$"})
]


def _named(served: Serving, name: _Typed) -> str:
    return served.check(name)


Name = Annotated[str, Depends(_named)]
