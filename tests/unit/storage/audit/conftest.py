"""A finished sweep for the tests of the audit, made once by a real worker, and copies of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sweeps.audited_sweeps import copied, finish_sweep


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of the finished sweep, which no test changes."""
    url = f"sqlite:///{tmp_path_factory.mktemp('template')}/kd-sweeps.db"
    finish_sweep(url)
    return url


@pytest.fixture
def url(template: str, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a copy of it."""
    with copied(template, tmp_path, None) as copy:
        yield copy
