"""Every page of a few planted sweeps equals the one in the repository, byte for byte."""

import pytest

from tests.support.sweeps.golden_pages import SWEEPS, kept


@pytest.mark.parametrize("name", SWEEPS)
def test_written_pages_equal_those_in_the_repository(name: str) -> None:
    """After an intended change, rewrite them: python -m tests.support.sweeps.golden_pages."""
    assert SWEEPS[name]() == kept(name)
