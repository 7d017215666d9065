"""Let in who may: readers with the role viewer, everything that changes something with the role operator."""

from urllib.parse import quote

from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sweeps.web.gate.asks import cookie, header, is_local_name, is_of_this_page, is_safe
from sweeps.web.gate.sessions import COOKIE, Sessions
from sweeps.web.gate.tokens import Role, Tokens
from sweeps.web.problems import problem

OPEN = frozenset({"/healthz", "/readyz", "/login", "/logout"})
"""Paths that need no token."""

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="kd-sweeps"'}


class Guard:
    """Stands before every route, optuna-dashboard's as well: the rule is by method, so no route can be forgotten.

    Args:
        tokens: None: nobody is asked, and only programs on this machine are answered.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens | None, sessions: Sessions) -> None:
        """See the class."""
        self._app, self._tokens, self._sessions = app, tokens, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on with the role of whoever asks in its state."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websocket is served
            await send({"type": "websocket.close", "code": 1008})
            return
        refused = self._without_tokens(scope) if self._tokens is None else self._with_tokens(scope, self._tokens)
        if refused is None:
            await self._app(scope, receive, send)
        else:
            await refused(scope, receive, send)

    def _without_tokens(self, scope: Scope) -> Response | None:
        if not is_local_name(scope):
            return problem(403, "this service has no tokens, so it answers to 127.0.0.1 and localhost only")
        if not is_safe(scope) and not is_of_this_page(scope, must_say=False):
            return _from_elsewhere()
        _note(scope, "operator")
        return None

    def _with_tokens(self, scope: Scope, tokens: Tokens) -> Response | None:
        path = scope["path"]
        sent = header(scope, b"authorization")
        if path in OPEN:
            return None if is_safe(scope) or is_of_this_page(scope, must_say=False) else _from_elsewhere()
        if sent:
            kind, _, token = sent.partition(" ")
            role = tokens.role(token.strip()) if kind.lower() == "bearer" else None
            if role is None:
                return problem(401, "that token opens nothing here; ask who started the service", headers=_CHALLENGE)
        else:
            role = self._sessions.role(cookie(scope, COOKIE))
            if role is None:
                return _asked_to_log_in(scope)
            if not is_safe(scope) and not is_of_this_page(scope, must_say=True):
                return _from_elsewhere()
        _note(scope, role)
        if role == "viewer" and not is_safe(scope):
            return problem(403, "your token lets you read only; this needs one of the role operator")
        return None


def _note(scope: Scope, role: Role) -> None:
    scope.setdefault("state", {})["role"] = role


def _from_elsewhere() -> Response:
    return problem(403, "that request came from a page of another site; only pages of this service change anything")


def _asked_to_log_in(scope: Scope) -> Response:
    if is_safe(scope) and "text/html" in header(scope, b"accept"):
        query = scope["query_string"].decode("latin-1")
        wanted = quote(scope["path"]) + (f"?{query}" if query else "")
        return RedirectResponse(f"/login?next={quote(wanted, safe='')}", 303, {"Cache-Control": "no-store"})
    return problem(
        401, "this service asks for a token: set KD_SWEEPS_TOKEN to the one that you were given", headers=_CHALLENGE
    )
