"""Talk to the person at the terminal, and know how this program was called."""

import contextlib
import os
import shutil
import sys


def program() -> str:
    """Return how this program was called, so that the commands we suggest can be typed as they stand."""
    called = sys.argv[0]
    return called if called.endswith("kd-sweeps") and os.sep in called and not os.path.isabs(called) else "kd-sweeps"


def say(text: str) -> None:
    """Print one line to stderr, beside the result. Where stderr takes nothing, there is nobody to tell."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def columns() -> int | None:
    """Return how wide the terminal is that stdout goes to; None where it goes to a file or another program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
