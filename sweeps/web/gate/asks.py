"""Read what a request says of itself, before any framework does."""

import ipaddress
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.types import Scope

SAFE = frozenset({"GET", "HEAD"})


def header(scope: Scope, name: bytes) -> str:
    """Return a header by its name in lower case; "" if it was not sent, the first one if it was sent twice."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


def cookie(scope: Scope, name: str) -> str:
    """Return a cookie; "" if there is none."""
    try:
        found = SimpleCookie(header(scope, b"cookie")).get(name)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def is_safe(scope: Scope) -> bool:
    """Return whether the method changes nothing."""
    return scope["method"] in SAFE


def is_of_this_page(scope: Scope, *, must_say: bool) -> bool:
    """Return whether a request comes from a page of this service, or from no page at all.

    Browsers say where a page comes from in Sec-Fetch-Site and Origin, and no page can change these.

    Args:
        must_say: refuse who says neither, as no browser of these years does.
    """
    site = header(scope, b"sec-fetch-site")
    if site:
        return site in ("same-origin", "none")
    origin = header(scope, b"origin")
    return urlsplit(origin).netloc == header(scope, b"host") if origin else not must_say


def is_local_name(scope: Scope) -> bool:
    """Return whether the service was called by a name of this machine. A page's own name may lead here, too."""
    return is_of_this_machine(urlsplit(f"//{header(scope, b'host')}").hostname or "")


def is_of_this_machine(host: str) -> bool:
    """Return whether only programs on this machine reach an address, without brackets; a name may stand for any."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
