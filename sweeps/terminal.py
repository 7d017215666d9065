"""Output on the terminal, and the name by which this program was called."""

import contextlib
import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable

# Characters that control a terminal: C0 except newline and tab, DEL, C1, and those that reverse or hide text: direction
# marks, zero-width spaces. The codes of `grey` and of Typer's green pass, and joiners of letters or emoji.
_STEERING = re.compile(
    r"\x1b(?!\[(?:0|32|90)m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f"
    r"\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
WIDTH = 100
"""Maximum columns of text: longer lines are hard to read."""

HELD = "\ue000"  # a non-breaking space, as wide as a space, also for rich
_TOGETHER = re.compile(
    # Commands.
    r"\S*kd-sweeps (?:data |database |storage )?[a-z]+(?: [^\s;,)]+)?(?: -[^\s;,)]+(?: [^\s;,)-][^\s;,)]*)?)*"
    r"|\d (?:%|[A-Za-z]+)|\w+ = \S+"  # 95 %, 3 points, T = 3
)


def program() -> str:
    """Return the name by which this program was called, for suggested commands."""
    called = sys.argv[0]
    is_typed = called.endswith("kd-sweeps") and os.sep in called and not os.path.isabs(called)
    return shlex.quote(called) if is_typed else "kd-sweeps"


def say(text: str) -> None:
    """Print to stderr; on a terminal, wrap between words."""
    wide = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    sys.stdout.flush()  # keeps the order if both go into one pipe or file
    with contextlib.suppress(OSError):  # stderr is closed or full
        print(wrap(escape_control_chars(text), wide), file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Print a result to stdout; on a terminal, wrap between words."""
    print(wrap(text, columns()), flush=True)


def escape_control_chars(text: str) -> str:
    """Return the text with characters that control a terminal escaped as in JSON: \\u001b.

    Names, reasons and logs may come from another user's archive and could move the cursor, or type.
    """
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def duration(seconds: float) -> str:
    """Return a duration such as "45 s", "10 min", "3 h"."""
    if seconds < 90:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.3g} h"


def columns() -> int | None:
    """Return the width of the terminal on stdout; None if stdout is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def wrap(text: str, width: int | None) -> str:
    """Return the text with long lines wrapped between words.

    Continuation lines are indented to the text after the labels, as in "verdict  a long sentence".

    Args:
        width: None returns the text unchanged, for programs that read it line by line.
    """
    return text if width is None else "\n".join(part for line in text.split("\n") for part in _broken(line, width))


def _broken(line: str, width: int) -> list[str]:
    if len(re.sub(r"\x1b\[\d+m", "", line)) <= width:  # without colour codes
        return [line]
    label = re.match(r" *(?:\S+ {2,}){0,2}", line)
    return wrapped(line, width, then=" " * (len(label[0]) if label else 0))


def wrapped(text: str, width: int, *, first: str = "", then: str = "") -> list[str]:
    """Return the text as lines, wrapped between words, but not in commands or between a number and its unit.

    Args:
        first, then: prefix of the first line and of the others.
    """
    lines = textwrap.wrap(
        hold(text, width - len(then)),
        width,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(HELD, " ") for line in lines]


def hold(text: str, width: int) -> str:
    """Return the text with non-breaking spaces in commands, and between numbers and units, as far as these fit."""
    return _TOGETHER.sub(lambda match: match[0].replace(" ", HELD if len(match[0]) <= width else " "), text)


def p_value(value: float | None) -> str:
    """Return a p value as text: "< 0.0001", "0.031"; "" for None."""
    if value is None:
        return ""
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def p_equals(value: float | None) -> str:
    """Return a p value for a sentence: "p = 0.017", "p < 0.0001"."""
    return f"p {text}" if (text := p_value(value)).startswith("<") else f"p = {text}"


def truncated(text: str, most: int) -> str:
    """Return a text of at most so many characters; a longer one ends in "..."."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def number_of(number: int, noun: str) -> str:
    """Return a number with its noun, for example "1 task" or "1,000 tasks"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def joined(names: Iterable[str], word: str = "and") -> str:
    """Return names as a list in a sentence: "a, b and c"; "" for none."""
    *first, last = [*names] or [""]
    return f"{', '.join(first)} {word} {last}" if first else last


def grey(text: str) -> str:
    """Return the text in grey if stdout is a terminal and NO_COLOR is not set."""
    return f"\x1b[90m{text}\x1b[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text
