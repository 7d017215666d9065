"""Every page of a few planted sweeps is, byte for byte, the one in the repository."""

import pytest

from tests.support.sweeps.golden_pages import SWEEPS, kept


@pytest.mark.parametrize("name", SWEEPS)
def test_the_pages_in_the_repository_are_those_that_are_written(name: str) -> None:
    """After an intended change, rewrite them: python -m tests.support.sweeps.golden_pages."""
    assert SWEEPS[name]() == kept(name)
