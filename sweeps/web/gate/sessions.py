"""Sessions of browsers: a signed cookie that says a role and until when, and holds no token."""

import base64
import hashlib
import hmac
import secrets
import time

from sweeps.web.gate.tokens import ROLES, Role

COOKIE = "kd_sweeps_session"
LASTS_S = 12 * 3600


class Sessions:
    """Issue and read cookies. The key is made at each start: a restart ends every session, and no file holds it."""

    def __init__(self) -> None:
        """Make a key."""
        self._key = secrets.token_bytes(32)

    def issue(self, role: Role) -> str:
        """Return the value of a cookie for a role."""
        text = f"{role}.{int(time.time()) + LASTS_S}.{secrets.token_urlsafe(9)}"
        return f"{text}.{self._signature(text)}"

    def role(self, cookie: str) -> Role | None:
        """Return the role that a cookie gives; None if it is not ours, or its time is over."""
        text, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(self._signature(text).encode(), signature.encode("utf-8", "surrogateescape")):
            return None
        role, until, _ = text.split(".", 2)
        return next((one for one in ROLES if one == role), None) if int(until) > time.time() else None

    def _signature(self, text: str) -> str:
        made = hmac.new(self._key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(made).rstrip(b"=").decode()
