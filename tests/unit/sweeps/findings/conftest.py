"""Make the tests fast: no Optuna tables, and one fit of a surface for equal runs."""

from collections.abc import Iterator
from unittest import mock

import pytest

from tests.support.sweeps.builders import top_once
from tests.support.sweeps.trials_in_memory import trials_in_memory


@pytest.fixture(scope="package", autouse=True)
def _trials_in_memory() -> Iterator[None]:
    with trials_in_memory(), mock.patch("sweeps.stats.response.top", top_once):
        yield
