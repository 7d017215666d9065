"""Talk to the person at the terminal, and know how this program was called."""

import os
import sys


def program() -> str:
    """Return how this program was called, so that the commands we suggest can be typed as they stand."""
    called = sys.argv[0]
    return called if called.endswith("kd-sweeps") and os.sep in called and not os.path.isabs(called) else "kd-sweeps"


def say(text: str) -> None:
    """Print one line to stderr, beside the result."""
    print(text, file=sys.stderr, flush=True)
