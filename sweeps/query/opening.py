"""How every reading command opens a sweep: read-only, on our own tables, without Optuna or TensorFlow."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy

from storage.db import engine as engines
from storage.records import queries
from storage.records.queries import SweepRecord
from storage.url import resolve
from sweeps.spec.model import check_name


@contextmanager
def opened(storage: str | None, name: str) -> Iterator[tuple[sqlalchemy.Engine, SweepRecord]]:
    """A read-only engine and the sweep of that name.

    Raises:
        storage.errors.StorageError: no storage there, or no such sweep in it; nothing is created.
        sweeps.errors.SpecError: no sweep can have that name.
    """
    check_name(name)
    engine = engines.open_engine(resolve(storage), read_only=True)
    try:
        yield engine, queries.find_sweep(engine, name)
    finally:
        engine.dispose()
