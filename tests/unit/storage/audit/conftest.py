"""A finished sweep for the tests of the audit, made once per kind of database by a real worker, and copies of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sweeps.audited_sweeps import copied, drop_database, finish_sweep, new_database


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest) -> str | None:
    """The Postgres server, or None for SQLite."""
    return request.getfixturevalue("postgres_server") if request.param == "postgres" else None


@pytest.fixture(scope="session")
def template(server: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the finished sweep; nobody touches it."""
    url = new_database(server) if server else f"sqlite:///{tmp_path_factory.mktemp('template')}/kd-sweeps.db"
    finish_sweep(url)
    yield url
    if server:
        drop_database(server, url)


@pytest.fixture
def url(template: str, tmp_path: Path, server: str | None) -> Iterator[str]:
    """URL of a copy of the finished sweep."""
    with copied(template, tmp_path, server) as copy:
        yield copy
