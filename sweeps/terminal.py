"""The person at the terminal: what is said beside the result, and how this program was called."""

import os
import sys


def program() -> str:
    """How this program was called, so that the commands we suggest can be typed as they stand."""
    called = sys.argv[0]
    return called if called.endswith("kd-sweeps") and os.sep in called and not os.path.isabs(called) else "kd-sweeps"


def say(text: str) -> None:
    """One line for the person at the terminal, beside the result: on stderr."""
    print(text, file=sys.stderr, flush=True)
