"""Make the tests fast: no Optuna tables."""

from collections.abc import Iterator

import pytest

from tests.support.sweeps.trials_in_memory import trials_in_memory


@pytest.fixture(scope="package", autouse=True)
def _trials_in_memory() -> Iterator[None]:
    with trials_in_memory():
        yield
