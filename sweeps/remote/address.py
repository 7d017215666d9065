"""The address of a service, as it is typed or set in the environment."""

import ipaddress
import re
from urllib.parse import urlsplit

from sweeps.errors import SpecError

ALLOWED = "allowed: http://HOST:PORT and https://HOST[:PORT][/PATH]"
_LONGEST = 500


def checked(text: str) -> str:
    """Return the address without a slash at its end.

    Raises:
        SpecError: it is no such address, or holds a password: a token has a variable of its own.
    """
    text = text.strip()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
        if "@" not in text:
            raise SpecError(f"--url: got {text[:80]!r}; {ALLOWED}") from None
    if "@" in parts.netloc:
        raise SpecError("--url: got an address with a user or a password in it; put a token into KD_SWEEPS_TOKEN")
    shown = repr(text if len(text) <= 80 else f"{text[:77]}...")
    if "://" in text and parts.scheme not in ("http", "https"):
        raise SpecError(f"--url: got {shown.partition('://')[0]}://...', which is no service; {ALLOWED}")
    if not parts.hostname or port == 0 or parts.query or parts.fragment or len(text) > _LONGEST:
        raise SpecError(f"--url: got {shown}; {ALLOWED}")
    if not re.fullmatch(r"[\x21-\x7e]+", text):  # a line break in it would end a header
        raise SpecError(f"--url: got {shown}; {ALLOWED}")
    return text.rstrip("/")


def is_loopback(address: str) -> bool:
    """Return whether an address is of this machine: no proxy stands between."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
