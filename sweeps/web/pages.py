"""The live page: what the sweeps are doing. Rendered here; a few lines of script replace it when something changes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from kd.errors import KdError
from storage.errors import StorageError
from sweeps.errors import SweepError
from sweeps.hints import explain
from sweeps.web import html
from sweeps.web.assets import LEAVE, PAGE, POLICY, SCRIPT, STYLE
from sweeps.web.problems import LOG, problem
from sweeps.web.served import Name
from sweeps.web.views import FRESH_S, Views

router = APIRouter(include_in_schema=False)

_MOST_LISTED = 20
_MOST_WATCHERS = 100
_PING_S = 15
_TROUBLE = "The service cannot read its database now; what you see may be old. Trying again."


@router.get("/")
def index(request: Request) -> Response:
    """Show the latest sweeps."""
    return _page(request, "kd-sweeps", _list(request.app.state.views))


@router.get("/sweeps/{name}")
def one(request: Request, name: Name) -> Response:
    """Show one sweep."""
    return _page(request, f"{name} – kd-sweeps", html.alone(request.app.state.views.of(name)))


@router.get("/events")
async def index_events(request: Request) -> Response:
    """Send the list again whenever it changes."""
    return await _events(request, lambda: _list(request.app.state.views))


@router.get("/events/sweeps/{name}")
async def one_events(request: Request, name: Name) -> Response:
    """Send the page of one sweep again whenever it changes."""
    return await _events(request, lambda: html.alone(request.app.state.views.of(name)))


@router.get("/live.js")
def script() -> Response:
    """Return the script of these pages."""
    return Response(SCRIPT, media_type="text/javascript; charset=utf-8", headers={"Cache-Control": "no-cache"})


@router.get("/live.css")
def style() -> Response:
    """Return their style."""
    return Response(STYLE, media_type="text/css; charset=utf-8", headers={"Cache-Control": "no-cache"})


def _list(views: Views) -> str:
    names, total = views.newest(_MOST_LISTED)
    found = []
    for name in names:
        try:
            found.append(views.of(name))
        except (SweepError, StorageError, KdError) as error:  # deleted just now, or damaged: the others are shown
            LOG.warning("%s is not shown: %s", name, explain(error))
    return html.listed(found, total)


def _page(request: Request, title: str, body: str) -> Response:
    leave = LEAVE if request.app.state.tokens is not None else ""
    text = PAGE.substitute(title=title, body=body, leave=leave)
    return HTMLResponse(text.encode("utf-8", "backslashreplace"), headers=POLICY)


async def _events(request: Request, render: Callable[[], str]) -> Response:
    state = request.app.state
    if state.followers >= _MOST_WATCHERS:
        return problem(503, f"{_MOST_WATCHERS} pages are followed already; reload this one later")
    first = await run_in_threadpool(render)  # what is wrong with the question is told as a problem
    return EventSourceResponse(_changes(state, render, first), ping=_PING_S, sep="\n")


async def _changes(state: Any, render: Callable[[], str], now: str) -> AsyncIterator[ServerSentEvent]:
    state.followers += 1
    sent = ""
    try:
        while True:
            if now != sent:
                sent = now
                yield _event("page", now)
            await asyncio.sleep(FRESH_S)
            try:
                now = await run_in_threadpool(render)
            except (SweepError, KdError, StorageError) as error:
                if isinstance(error, StorageError):
                    LOG.warning("a page is not brought up to date: %s", error)
                yield _event("trouble", _TROUBLE if isinstance(error, StorageError) else str(error))
                now = sent = ""  # the next page is sent, whatever it is: it says that all is well again
    finally:
        state.followers -= 1


def _event(kind: str, text: str) -> ServerSentEvent:
    return ServerSentEvent(event=kind, data=json.dumps(text), sep="\n")
