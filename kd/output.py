"""Print without fail: where the disk below the output is full, what is printed is dropped and nothing else happens.

What a user's function prints goes into the log of its worker. A log is no reason to lose a training.
"""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

__all__ = ["forgiving", "unfailing"]


class _Dropping(io.FileIO):
    """An open file that takes everything; what it has no room for is gone."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(memoryview(data).cast("B"))


def unfailing(number: int, *, close: bool = False) -> TextIO:
    """Return a stream to the file with this descriptor. close: the stream closes it when it is closed."""
    file = _Dropping(number, "wb", closefd=close)
    return io.TextIOWrapper(io.BufferedWriter(file), encoding="utf-8", errors="backslashreplace", line_buffering=True)


@contextmanager
def forgiving() -> Iterator[None]:
    """Let whatever is printed in the block go to descriptors 1 and 2 without ever failing."""
    before = sys.stdout, sys.stderr
    sys.stdout.flush()
    sys.stderr.flush()
    sys.stdout, sys.stderr = unfailing(1), unfailing(2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
