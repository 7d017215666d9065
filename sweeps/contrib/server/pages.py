"""Serve the live pages, rendered from templates/, and the events that update them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup
from sse_starlette import EventSourceResponse, ServerSentEvent

from kd.errors import KdError
from storage.errors import StorageError
from sweeps.contrib.server.live.plane import COLOURS
from sweeps.contrib.server.live.view import View
from sweeps.contrib.server.problems import LOG
from sweeps.contrib.server.state import CACHE_TTL_S, PING_S, Name, Serving, Views, follower
from sweeps.errors import SweepError
from sweeps.hints import explain, local
from sweeps.operations.table import CANCEL, PAUSE, RESUME, SweepArgs
from sweeps.report import html_page
from sweeps.terminal import duration, number_of

POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; connect-src 'self'; img-src data:;"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
}
_MOST_LISTED = 20
_TROUBLE = "The service cannot read its database; this page may be out of date. Trying again."


_TEMPLATES = html_page.environment("sweeps.contrib.server")
_TEMPLATES.filters |= {"count_of": number_of, "duration": duration}
_TEMPLATES.globals |= {"local": local, "COLOURS": COLOURS}
_ORDERS = {order.name: order for order in (PAUSE, RESUME, CANCEL)}


def render(template: str, **values: Any) -> str:
    """Return a page or a part of one, rendered from a file in templates/."""
    return _TEMPLATES.get_template(template).render(values)


def sweep_page(view: View, *, may_steer: bool = False) -> str:
    """Return the page of one sweep. may_steer: with buttons to pause, resume and cancel it."""
    return render("sweep.html", view=view, may_steer=may_steer)


router = APIRouter(include_in_schema=False)


@router.get("/")
async def index(request: Request) -> Response:
    """Show the latest sweeps."""
    return _page(request, "kd-sweeps", await _index(request))


@router.get("/sweeps/{name}")
async def sweep(request: Request, name: Name) -> Response:
    """Show one sweep."""
    return _page(request, f"{name} – kd-sweeps", await _sweep(request, name))


@router.post("/sweeps/{name}/{order}")
async def steer(request: Request, served: Serving, name: Name, order: Literal["pause", "resume", "cancel"]) -> Response:
    """Pause, resume or cancel a sweep, and reload its page."""
    await served.orders.ask(lambda: served.database.ask(_ORDERS[order], SweepArgs(name=name)))
    await _sweep(request, name, fresh_s=0.0)  # replaces the shared page from before the order
    return RedirectResponse(f"/sweeps/{quote(name)}", 303, {"Cache-Control": "no-store"})


@router.get("/events", dependencies=[Depends(follower)])
async def index_events(request: Request) -> Response:
    """Send the list whenever it changes."""
    return await _events(lambda: _index(request))


@router.get("/events/sweeps/{name}", dependencies=[Depends(follower)])
async def sweep_events(request: Request, name: Name) -> Response:
    """Send the page of one sweep whenever it changes."""
    return await _events(lambda: _sweep(request, name))


@router.get("/live.js")
async def script() -> Response:
    """Return the script of the pages."""
    return Response(
        render("live.js"), media_type="text/javascript; charset=utf-8", headers={"Cache-Control": "no-cache"}
    )


@router.get("/live.css")
async def style() -> Response:
    """Return the style of the pages."""
    return Response(render("live.css"), media_type="text/css; charset=utf-8", headers={"Cache-Control": "no-cache"})


async def _index(request: Request) -> str:
    views: Views = request.app.state.views
    return await views.served.ask("index", lambda: _list(views), fresh_s=CACHE_TTL_S)


async def _sweep(request: Request, name: str, *, fresh_s: float = CACHE_TTL_S) -> str:
    views: Views = request.app.state.views
    may_steer = request.state.role == "operator"
    return await views.served.ask(
        ("page", name, may_steer), lambda: sweep_page(views.of(name), may_steer=may_steer), fresh_s=fresh_s
    )


def _list(views: Views) -> str:
    names, total = views.newest(_MOST_LISTED)
    latest = []
    for name in names:
        try:
            latest.append(views.of(name))
        except (SweepError, StorageError, KdError) as error:  # just deleted, or damaged: show the others
            LOG.warning("the list leaves out %s: %s", name, explain(error))
    return render("list.html", views=latest, total=total)


def _page(request: Request, title: str, body: str) -> Response:
    text = render("live.html", title=title, body=Markup(body), has_login=request.app.state.tokens is not None)
    return HTMLResponse(text.encode("utf-8", "backslashreplace"), headers=POLICY)


async def _events(body: Callable[[], Awaitable[str]]) -> Response:
    first = await body()  # before the stream starts, an error is a problem document
    return EventSourceResponse(_changes(body, first), ping=PING_S, sep="\n")


async def _changes(body: Callable[[], Awaitable[str]], now: str) -> AsyncIterator[ServerSentEvent]:
    sent = ""
    while True:
        if now != sent:
            sent = now
            yield _event("page", now)
        await asyncio.sleep(CACHE_TTL_S)
        try:
            now = await body()
        except (SweepError, KdError, StorageError) as error:
            if isinstance(error, StorageError):
                LOG.warning("cannot update a page: %s", error)
            yield _event("trouble", _TROUBLE if isinstance(error, StorageError) else str(error))
            now = sent = ""  # send the next page even if unchanged: it ends the warning


def _event(kind: str, text: str) -> ServerSentEvent:
    return ServerSentEvent(event=kind, data=json.dumps(text), sep="\n")
