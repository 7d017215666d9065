"""Talk to the person at the terminal, and know how this program was called."""

import contextlib
import os
import re
import shutil
import sys
import textwrap


def program() -> str:
    """Return how this program was called, so that the commands we suggest can be typed as they stand."""
    called = sys.argv[0]
    return called if called.endswith("kd-sweeps") and os.sep in called and not os.path.isabs(called) else "kd-sweeps"


def say(text: str) -> None:
    """Print to stderr, beside the result; on a terminal no line breaks inside a word."""
    wide = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    with contextlib.suppress(OSError):  # where stderr takes nothing, there is nobody to tell
        print(fitted(text, wide), file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Return a length of time in one word: "45 s", "10 min", "3 h"."""
    if seconds < 90:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.3g} h"


def columns() -> int | None:
    """Return how wide the terminal is that stdout goes to; None where it goes to a file or another program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def fitted(text: str, width: int | None) -> str:
    """Return the text with every line that is too long broken between words.

    What follows stands under the words of the line, not under its label: "verdict  a long sentence".

    Args:
        width: None leaves the text as it is: a program reads it line by line.
    """
    return text if width is None else "\n".join(part for line in text.split("\n") for part in _broken(line, width))


def _broken(line: str, width: int) -> list[str]:
    if len(re.sub(r"\x1b\[\d+m", "", line)) <= width:  # colours take no room
        return [line]
    label = re.match(r" *(\S+ {2,})?", line)
    indent = " " * (len(label[0]) if label else 0)
    return textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def grey(text: str) -> str:
    """Return the text so that a terminal shows it grey; as it is where stdout goes elsewhere, or NO_COLOR is set."""
    return f"\x1b[90m{text}\x1b[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text
