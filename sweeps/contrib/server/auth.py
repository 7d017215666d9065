"""Authorization: bearer tokens and their roles, the login page, and its cookie."""

import hashlib
import hmac
import re
import secrets
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from sweeps.contrib.server.middleware import PROBES, header, is_local_name, is_of_this_page, is_safe
from sweeps.contrib.server.pages import render
from sweeps.contrib.server.problems import problem
from sweeps.contrib.server.work import PREFIX
from sweeps.errors import SpecError

Role = Literal["viewer", "operator", "worker"]
ROLES: tuple[Role, ...] = get_args(Role)
VARIABLE = "KD_SWEEPS_TOKENS"
SHORTEST = 16
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750, section 2.1
_EXAMPLE = "lines such as: operator TOKEN; make a token with: openssl rand -hex 24"
COOKIE = "kd_sweeps_session"
LASTS_S = 12 * 3600
MOST_SESSIONS = 10_000  # at once, so that a program that logs in for every request cannot fill the memory
OPEN = PROBES | {"/login", "/logout"}
"""Paths that do not need a token."""
_NO_WORKER = "this token cannot run workers; a worker needs one of the role worker"
_OTHER_ROLE: Mapping[Role, str] = {
    "worker": "this token is for workers; commands and pages need one of the role viewer or operator",
    "viewer": _NO_WORKER,
    "operator": _NO_WORKER,
}
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="kd-sweeps"'}
POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, repr=False)
class Tokens:
    """The tokens of a service. Holds only their hashes, so that no output can contain a token."""

    roles: Mapping[bytes, Role]

    def role(self, token: str) -> Role | None:
        """Return the role of a token; None if it is unknown. Takes the same time for every token."""
        digest, granted = _hashed(token), None
        for known, role in self.roles.items():
            if hmac.compare_digest(known, digest):
                granted = role
        return granted


def read_tokens(path: Path | None, environ: Mapping[str, str]) -> Tokens | None:
    """Return the tokens in a file, else those in KD_SWEEPS_TOKENS, else None.

    Raises:
        SpecError: the file cannot be read, other users can read it, or a line is wrong.
    """
    if path is None:
        text = environ.get(VARIABLE, "")
        return _parsed(text.replace(";", "\n"), VARIABLE) if text.strip() else None
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"--tokens: cannot read {path}: {error.strerror}; give a file with {_EXAMPLE}") from None
    except UnicodeDecodeError:
        raise SpecError(f"--tokens: {path} is not a text file; give one with {_EXAMPLE}") from None
    if mode & 0o077:
        raise SpecError(f"--tokens: other users can read {path} (mode {mode:04o}); type: chmod 600 {path}")
    return _parsed(text, str(path))


def _parsed(text: str, origin: str) -> Tokens:
    """Parse the tokens of a text. No message quotes a line, since it may contain a token."""
    roles: dict[bytes, Role] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        role = next((known for known in ROLES if known == words[0]), None)
        if role is None or len(words) != 2 or not _TOKEN.fullmatch(words[1]):
            raise SpecError(f"{origin}, line {number}: allowed: {', '.join(ROLES)}, a space, a token; {_EXAMPLE}")
        if len(words[1]) < SHORTEST:
            raise SpecError(
                f"{origin}, line {number}: a token of {len(words[1])} characters is too short; allowed:"
                f" {SHORTEST} or more; {_EXAMPLE}"
            )
        hashed = _hashed(words[1])
        if roles.get(hashed, role) != role:
            raise SpecError(f"{origin}, line {number}: the same token for two roles; use a token for each")
        roles[hashed] = role
    if not roles:
        raise SpecError(f"{origin} has no token; allowed: {_EXAMPLE}")
    return Tokens(roles)


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class Sessions:
    """The logins of browsers. A cookie is a random id; role and expiry are kept here, in memory, so that logout works.

    Not Starlette's SessionMiddleware, which stores the session in the cookie, and fixes `secure` when the app is made:
    behind a proxy with TLS, that is known per request.
    """

    def __init__(self) -> None:
        self._sessions: dict[bytes, tuple[Role, float]] = {}  # role and expiry by hashed id, oldest first

    def issue(self, role: Role) -> str:
        """Start a session and return its cookie. Above MOST_SESSIONS, the oldest one ends."""
        now = time.time()
        self._sessions = {session: kept for session, kept in self._sessions.items() if kept[1] > now}
        if len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        cookie = secrets.token_urlsafe(24)
        self._sessions[_hashed(cookie)] = role, now + LASTS_S
        return cookie

    def role(self, cookie: str) -> Role | None:
        """Return the role of a cookie; None if its session has ended or another process issued it."""
        role, end = self._sessions.get(_hashed(cookie), (None, 0.0))
        return role if end > time.time() else None

    def end(self, cookie: str) -> None:
        """End the session of a cookie and of all its copies."""
        self._sessions.pop(_hashed(cookie), None)


@dataclass(frozen=True)
class AuthMiddleware:
    """Authorize every request, also of optuna-dashboard, by its method, so that no route can be forgotten.

    The routes of workers are for the role worker alone, which may use no other.

    Args:
        tokens: None: no token is needed, and only programs on this machine get answers.
    """

    app: ASGIApp
    tokens: Tokens | None
    sessions: Sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on with the role of its sender in its state."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websocket is served
            await send({"type": "websocket.close", "code": 1008})
            return
        refused = self._without_tokens(scope) if self.tokens is None else self._with_tokens(scope, self.tokens)
        if refused is None:
            await self.app(scope, receive, send)
        else:
            await refused(scope, receive, send)

    def _without_tokens(self, scope: Scope) -> Response | None:
        if not is_local_name(scope):
            return problem(403, "this service has no tokens, so it answers only to 127.0.0.1 and localhost")
        if not is_safe(scope) and not is_of_this_page(scope, must_say=False):
            return _from_elsewhere()
        scope.setdefault("state", {})["role"] = "operator"
        return None

    def _with_tokens(self, scope: Scope, tokens: Tokens) -> Response | None:
        path = scope["path"]
        value = header(scope, b"authorization")
        if path in OPEN:
            return None if is_safe(scope) or is_of_this_page(scope, must_say=False) else _from_elsewhere()
        if value:
            kind, _, token = value.partition(" ")
            role = tokens.role(token.strip()) if kind.lower() == "bearer" else None
            if role is None:
                return problem(401, "unknown token; ask the person who runs the service", headers=_CHALLENGE)
        else:
            role = self.sessions.role(HTTPConnection(scope).cookies.get(COOKIE, ""))
            if role is None:
                return _login_needed(scope)
            if not is_safe(scope) and not is_of_this_page(scope, must_say=True):
                return _from_elsewhere()
        scope.setdefault("state", {})["role"] = role
        if (role == "worker") != path.startswith(PREFIX):
            return problem(403, _OTHER_ROLE[role])
        if role == "viewer" and not is_safe(scope):
            return problem(403, "this token is read-only; the request needs one of the role operator")
        return None


def _from_elsewhere() -> Response:
    return problem(403, "the request came from a page of another site; only pages of this service may change anything")


def _login_needed(scope: Scope) -> Response:
    if is_safe(scope) and "text/html" in header(scope, b"accept"):
        query = scope["query_string"].decode("latin-1")
        wanted = quote(scope["path"]) + (f"?{query}" if query else "")
        return RedirectResponse(f"/login?next={quote(wanted, safe='')}", 303, {"Cache-Control": "no-store"})
    return problem(401, "this service needs a token: set KD_SWEEPS_TOKEN to yours", headers=_CHALLENGE)


login_router = APIRouter(include_in_schema=False)


@login_router.get("/login")
async def form(request: Request, next: str = "/") -> Response:
    """Show the login form."""
    if request.app.state.tokens is None:
        return RedirectResponse("/", 303)
    return _form("", next, 200)


@login_router.post("/login")
async def login(
    request: Request, token: Annotated[str, Form(max_length=1000)], next: Annotated[str, Form(max_length=2000)] = "/"
) -> Response:
    """Exchange a token for a cookie with its role."""
    tokens: Tokens | None = request.app.state.tokens
    sessions: Sessions = request.app.state.sessions
    role = tokens.role(token.strip()) if tokens is not None else None
    if role is None or role == "worker":  # workers may not open pages
        return _form("Unknown token; ask the person who runs the service.", next, 403)
    response = RedirectResponse(_within(next), 303, {"Cache-Control": "no-store"})
    response.set_cookie(
        COOKIE,
        sessions.issue(role),
        max_age=LASTS_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@login_router.post("/logout")
async def logout(request: Request) -> Response:
    """End the session and delete its cookie in the browser."""
    sessions: Sessions = request.app.state.sessions
    sessions.end(request.cookies.get(COOKIE, ""))
    response = RedirectResponse("/login", 303, {"Cache-Control": "no-store"})
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def _form(message: str, wanted: str, status: int) -> Response:
    page = render("login.html", title="kd-sweeps: log in", message=message, next=_within(wanted))
    return HTMLResponse(page, status, POLICY)


def _within(wanted: str) -> str:
    """Return the path after the login; "/" for one that leads to another site."""
    inside = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if inside else "/"
