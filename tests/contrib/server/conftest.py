"""A service for the tests that change nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sweeps import reported_sweeps
from tests.support.web.services import TOKENS, Service, serving


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield a service with tokens on a finished sweep "s" in SQLite."""
    folder: Path = tmp_path_factory.mktemp("service")
    url = reported_sweeps.worked(folder)
    with serving(url, folder=folder, tokens=TOKENS) as service:
        yield service
