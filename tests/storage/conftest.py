"""An empty storage of either kind."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from tests.support.sweeps.storage_sweeps import new_storage


@pytest.fixture
def engine(storage_url: str) -> Iterator[Engine]:
    """Of an empty storage, once on SQLite and once on Postgres."""
    with new_storage(storage_url) as engine:
        yield engine
