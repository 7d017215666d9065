"""Make what users' programs say storable: without passwords, of bounded length, in characters every database takes."""

import re
import traceback

from sqlalchemy import URL

from storage.url import without_passwords
from sweeps.terminal import visible

KEPT_LINES, KEPT_BYTES = 200, 64 * 1024
"""Of a log or a traceback: its end."""

MOST_REASON = 2_000
"""Characters of a reason: its beginning."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # Postgres refuses NUL, and UTF-8 has no half of a character


def fit(text: str, url: URL | None) -> str:
    """Return the last 200 lines and 64 KiB of a text, without passwords, as every database can store it.

    Args:
        url: of the storage, whose password is left out; None leaves out only those of URLs in the text.
    """
    # Cut wide before, so that no password is cut in two; then once more.
    lines = _storable(without_passwords(text, url, last=4 * KEPT_BYTES)).splitlines()[-KEPT_LINES:]
    return "\n".join(lines)[-KEPT_BYTES:]


def reason_of(text: str, url: URL | None) -> str:
    """Return a text as it may be stored, printed and logged as a reason: at most 2,000 characters, none that steers.

    Args:
        url: as for `fit`.
    """
    shown = visible(_storable(without_passwords(text, url, first=4 * MOST_REASON)))
    return shown if len(shown) <= MOST_REASON else f"{shown[: MOST_REASON - 3]}..."


def trace_of(error: BaseException, url: URL | None) -> str:
    """Return the traceback of an error, to be stored."""
    return fit("".join(traceback.format_exception(error)), url)


def said(error: BaseException) -> str:
    """Return what an error says. A user's own class may fail even at that."""
    try:
        return str(error)
    except Exception as worse:
        return f"an error that cannot be printed, because of {type(worse).__name__}"


def _storable(text: str) -> str:
    return _UNSTORABLE.sub(lambda found: f"\\u{ord(found[0]):04x}" if found[0] != "\x00" else "\\0", text)
