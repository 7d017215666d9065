"""Values that must exist: a check for mypy and the reader. Imports no pytest."""

from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """Return the value, which must not be None."""
    assert value is not None
    return value
