"""Log a browser in: a form that takes a token once, and a cookie that holds none."""

from html import escape
from string import Template
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from sweeps.web.gate.sessions import COOKIE, LASTS_S, Sessions
from sweeps.web.gate.tokens import Tokens

router = APIRouter(include_in_schema=False)

POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
}
_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>kd-sweeps: log in</title>
<style>
body { font: 100%/1.5 system-ui, sans-serif; max-width: 24rem; margin: 15vh auto 0; padding: 0 1rem; }
label, input, button { display: block; width: 100%; box-sizing: border-box; font: inherit; }
input, button { margin-top: .5rem; padding: .5rem; }
</style>
</head>
<body>
<h1>kd-sweeps</h1>
<p role="alert">$said</p>
<form method="post" action="/login">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<input name="next" type="hidden" value="$next">
<button>Log in</button>
</form>
</body>
</html>
""")


@router.get("/login")
async def form(request: Request, next: str = "/") -> Response:
    """Show the form."""
    if request.app.state.tokens is None:
        return RedirectResponse("/", 303)
    return _form("", next, 200)


@router.post("/login")
async def login(
    request: Request,
    token: Annotated[str, Form(max_length=1000)],
    next: Annotated[str, Form(max_length=2000)] = "/",
) -> Response:
    """Take a token; give a cookie for its role."""
    tokens: Tokens | None = request.app.state.tokens
    sessions: Sessions = request.app.state.sessions
    role = tokens.role(token.strip()) if tokens is not None else None
    if role is None:
        return _form("That token opens nothing here.", next, 403)
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


@router.post("/logout")
async def logout() -> Response:
    """Forget the cookie."""
    response = RedirectResponse("/login", 303, {"Cache-Control": "no-store"})
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def _form(said: str, wanted: str, status: int) -> Response:
    return HTMLResponse(_PAGE.substitute(said=escape(said), next=escape(_within(wanted))), status, POLICY)


def _within(wanted: str) -> str:
    """Return the path to go on to; "/" for what would lead to another site."""
    inside = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if inside else "/"
