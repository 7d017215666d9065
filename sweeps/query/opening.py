"""Open a sweep by its name: for reading, without Optuna or TensorFlow, or for changing it."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy

from storage.db.engine import open_engine
from storage.records import queries
from storage.records.queries import SweepRecord
from storage.url import resolve
from sweeps.spec.model import check_name


@contextmanager
def open_sweep(
    storage: sqlalchemy.URL | str | None, name: str, *, write: bool = False
) -> Iterator[tuple[sqlalchemy.Engine, SweepRecord]]:
    """Open the storage and find the sweep of that name; both are given back at the end of the block.

    Args:
        storage: a resolved URL, or what the user gave: text, or None for the environment's or the default.
        write: whether anything may be changed; through the engine of a reader nothing can be written.

    Raises:
        storage.errors.StorageError: no storage there, or no such sweep in it; nothing is created.
        sweeps.errors.SpecError: no sweep can have that name.
    """
    check_name(name)
    url = storage if isinstance(storage, sqlalchemy.URL) else resolve(storage)
    engine = open_engine(url, read_only=not write)
    try:
        yield engine, queries.find_sweep(engine, name)
    finally:
        engine.dispose()
