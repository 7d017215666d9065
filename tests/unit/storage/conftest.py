"""One storage of each kind for all tests of a process, emptied for each: making its tables takes longer than a test.

Tests that damage tables, or stop their server, make their own storage.
"""

import contextlib
from collections.abc import Iterator
from typing import cast

import pytest
from optuna.storages import RDBStorage
from sqlalchemy import URL, Engine

from storage.db.engine import create_lock, create_tables
from storage.db.transaction import write
from storage.studies.studies import Studies, open_studies
from storage.url import resolve
from tests.support.sweeps.audit_checks import OF_TRIALS
from tests.support.sweeps.audited_sweeps import drop_database, new_database

OPTUNAS = [f"trial_{part}" for part in (*OF_TRIALS, "heartbeats")] + [
    "trials", "study_directions", "study_user_attributes", "study_system_attributes", "studies",
]  # fmt: skip


@contextlib.contextmanager
def _made(url: str) -> Iterator[Studies]:
    with create_lock(resolve(url)):
        studies = open_studies(resolve(url), create=True)
        create_tables(studies.engine)
    with contextlib.closing(studies):
        yield studies


@pytest.fixture(scope="session")
def sqlite_storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studies]:
    with _made(f"sqlite:///{tmp_path_factory.mktemp('storage')}/kd-sweeps.db") as studies:
        yield studies


@pytest.fixture(scope="session")
def postgres_storage(postgres_server: str) -> Iterator[Studies]:
    url = new_database(postgres_server)
    with _made(url) as studies:
        yield studies
    drop_database(postgres_server, url)


@pytest.fixture
def storage(request: pytest.FixtureRequest) -> Studies:
    """Return an empty storage with Optuna's tables and ours, on SQLite or as `both` says."""
    used: Studies = request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_storage")
    with write(used.engine) as connection:
        for table in (*OPTUNAS, "sweeps", "blobs", "reserved_studies"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    return Studies(cast(RDBStorage, used.storage), used.engine)  # a new one, since it caches what earlier tests read


@pytest.fixture
def engine(storage: Studies) -> Engine:
    return storage.engine


@pytest.fixture
def url(storage: Studies) -> URL:
    return storage.engine.url
