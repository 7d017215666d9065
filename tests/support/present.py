"""What has to be there: for mypy, and in one word for the reader. Imports no pytest."""

from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """The value, which may not be None."""
    assert value is not None
    return value
