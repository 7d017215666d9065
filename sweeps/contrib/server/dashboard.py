"""optuna-dashboard in a separate process, since its handlers read whole studies."""

import asyncio
import logging
import re
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any
from urllib.parse import parse_qs

import sqlalchemy
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage.db.transaction import patience
from storage.records import queries
from storage.studies.studies import Studies, open_studies
from sweeps.contrib.server.problems import LOG, problem
from sweeps.contrib.server.shared import Places, in_process

_QUEUE = 50  # one of its pages sends a handful of requests
_CHECK_S = 2.0
_FAULTY = re.compile(r"[\x00-\x1f\x7f]|\d{19,}")  # invalid file names and too large numbers make it fail
_SENT = ("type", "asgi", "http_version", "method", "scheme", "path", "query_string", "root_path", "headers", "server")


@dataclass(frozen=True)
class Dashboard:
    """Serves one request at a time. Its own 500 for an unreachable database becomes a problem document."""

    url: sqlalchemy.URL
    place: Places = field(default_factory=lambda: Places(1, queue=_QUEUE))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _FAULTY.search(scope["path"]):
            await problem(404, f"there is nothing at {scope['path']}")(scope, receive, send)
            return
        after = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("after", ["0"])[-1]
        if not re.fullmatch(r"[0-9]{1,18}", after):
            text = f"after: got {after[:80]!r}; allowed: a whole number, 0 or more"
            await problem(400, text, exit_code=2)(scope, receive, send)
            return
        request = {name: scope[name] for name in _SENT}
        if all(name != b"accept-encoding" for name, _ in scope["headers"]):  # it fails without this header
            request["headers"] = [*scope["headers"], (b"accept-encoding", b"identity")]
        body = (await receive()).get("body", b"")
        messages, errors = await self.place.work(partial(in_process, respond, self.url, request, body))
        for error in errors:
            LOG.error("optuna-dashboard: %s", error)
        for message in messages:
            await send(message)


def respond(url: sqlalchemy.URL, scope: dict[str, Any], body: bytes) -> tuple[list[Message], list[str]]:
    """Return the response of optuna-dashboard and its logged errors, a line each. Runs in its process."""
    app, studies, log = _opened(url)
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def keep(message: Message) -> None:
        messages.append(message)

    async def respond() -> None:
        await app(scope, receive, keep)

    log.lines.clear()
    try:
        asyncio.run(respond())
    except Exception:
        _check(studies)
        raise
    if messages[0]["status"] >= 500:
        _check(studies)
    return messages, log.lines


@cache
def _opened(url: sqlalchemy.URL) -> tuple[ASGIApp, Studies, "_Log"]:
    from a2wsgi import WSGIMiddleware
    from optuna_dashboard import wsgi

    studies, log = open_studies(url), _Log()
    app: Any = wsgi(studies.storage)
    app.catchall = False  # its exceptions become problem documents
    logging.getLogger("optuna_dashboard").addHandler(log)
    bounded: Any = WSGIMiddleware(app, workers=1)
    return bounded, studies, log


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage().partition("\n")[0])


def _check(studies: Studies) -> None:
    """Raise StorageError where the database cannot be read, or is no longer the one that was opened."""
    with patience(retry_s=0, silence_s=_CHECK_S):
        queries.is_sweep(studies.engine, "")
