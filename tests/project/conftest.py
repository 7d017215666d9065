"""The wheel, built once."""

from pathlib import Path

import pytest

from tests.support import wheel as of_clone


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return of_clone.built(tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel"))
