"""What stands around the routes: access log and headers, bounds on bodies and times, ETags."""

import asyncio
import hashlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage.db.transaction import retry_deadline
from storage.url import is_loopback
from sweeps.contrib.server.problems import LOG, problem
from sweeps.contrib.server.work import PREFIX as WORK_PREFIX
from sweeps.contrib.server.work import UPLOAD_S
from sweeps.hints import Commands, for_client
from sweeps.terminal import escape_control_chars

SAFE = frozenset({"GET", "HEAD"})
HEADERS_BYTES = 32_768
PATIENCE_S = 3.0  # with a database that is away
_PROGRAM = re.compile(r"(?:[\w.-]+/){0,20}kd-sweeps")
_ADDRESS = re.compile(r"https?://[\x21-\x7e]{1,400}")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
PREFIX = "/api/v1/"


def header(scope: Scope, name: bytes) -> str:
    """Return a header by its name in lower case; "" if it was not sent, the first one if it was sent twice."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


def is_safe(scope: Scope) -> bool:
    return scope["method"] in SAFE


def is_upload(scope: Scope) -> bool:
    return scope["method"] == "PUT" and str(scope["path"]).startswith(WORK_PREFIX)


def is_of_this_page(scope: Scope, *, must_say: bool) -> bool:
    """Return whether a request comes from a page of this service, or from no page at all.

    Browsers say where a page comes from in Sec-Fetch-Site and Origin, and no page can change these. must_say: refuse
    who says neither, as no browser of these years does.
    """
    site = header(scope, b"sec-fetch-site")
    if site:
        return site in ("same-origin", "none")
    origin = header(scope, b"origin")
    return urlsplit(origin).netloc == header(scope, b"host") if origin else not must_say


def is_local_name(scope: Scope) -> bool:
    """Return whether the service was called by a name of this machine. A page's own name may lead here, too."""
    return is_loopback(urlsplit(f"//{header(scope, b'host')}").hostname or "")


@dataclass(frozen=True)
class AccessLogMiddleware:
    """Stands before all else. A line holds no query and no header: a token may stand there."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        try:
            if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADERS_BYTES:
                await problem(431, f"headers of more than {HEADERS_BYTES:,} bytes are not read")(scope, receive, sent)
                return
            with retry_deadline(PATIENCE_S), for_client(_reader(scope)):
                await self.app(scope, receive, sent)
        except Exception:
            status = 500  # what stands around all of this answers so, and logs the traceback
            raise
        finally:
            who = scope.get("state", {}).get("role", "nobody")
            took, path = time.monotonic() - began, escape_control_chars(scope["path"]).replace("\n", "\\n")
            LOG.info("%s %s %s %.0f ms %s", scope["method"], path[:300], status or "-", 1000 * took, who)


def _reader(scope: Scope) -> Commands:
    """Return the commands as the sender can type them: `HttpClient` says how it was called, and with which URL."""
    program, url = header(scope, b"kd-sweeps-program"), header(scope, b"kd-sweeps-url")
    called = program if _PROGRAM.fullmatch(program) else "kd-sweeps"
    if url == "-":  # its environment names the service
        return Commands(called)
    at = url or f"{scope['scheme']}://{header(scope, b'host')}"
    return Commands(called, service=at if _ADDRESS.fullmatch(at) else "")


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """What a request may cost: bytes of its body, seconds until that is here, seconds until an answer begins."""

    body_bytes: int = 1_000_000
    body_s: float = 15.0
    answer_s: float = 60.0


REQUEST_LIMITS = RequestLimits()


@dataclass(frozen=True)
class LimitsMiddleware:
    """Read the body before a route sees it, and answer for a route that takes too long.

    A route that answers by events has all the time it wants once it has begun.
    """

    app: ASGIApp
    bounds: RequestLimits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if is_upload(scope):  # which reads its body itself, a few of them at a time
            await self._answer(scope, receive, send, UPLOAD_S)
            return
        body = await self._body(scope, receive)
        if body is None:
            return  # the sender has gone
        if isinstance(body, Response):
            await body(scope, receive, send)
            return
        await self._answer(scope, _again(body, receive), send, self.bounds.answer_s)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | Response | None:
        declared = header(scope, b"content-length")
        most = self.bounds.body_bytes
        text = f"a body of more than {most:,} bytes is not read here"
        too_large = problem(413, text, headers={"Connection": "close"})
        if declared.isdecimal() and (len(declared) > 15 or int(declared) > most):
            return too_large
        parts, size = list[bytes](), 0
        try:
            async with asyncio.timeout(self.bounds.body_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        return too_large
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            text = f"the body did not come within {self.bounds.body_s:g} s"
            return problem(408, text, headers={"Connection": "close"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send, most_s: float) -> None:
        begun, over, streams = False, False, False

        async def sent(message: Message) -> None:
            nonlocal begun, streams
            if over:
                return
            if message["type"] == "http.response.start":
                begun, streams = True, _is_stream(message)
            await send(message)

        task = asyncio.ensure_future(self.app(scope, receive, sent))
        try:
            await asyncio.wait({task}, timeout=most_s)
            if task.done() or streams:
                await task
                return
            over = True
            if not begun:
                text = f"no answer within {most_s:g} s; try again"
                await problem(503, text, headers={"Retry-After": "10"})(scope, receive, send)
        finally:
            task.cancel()


def _is_stream(message: Message) -> bool:
    headers: list[tuple[bytes, bytes]] = message.get("headers", [])
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body that was read before, then whatever comes."""
    given = False

    async def next_message() -> dict[str, Any]:
        nonlocal given
        if given:
            return dict(await receive())
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return next_message


@dataclass(frozen=True)
class ETagMiddleware:
    """Stands before the API. What is sent by events passes through."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_safe(scope) or not scope["path"].startswith(PREFIX):
            await self.app(scope, receive, send)
            return
        held, parts = list[Message](), list[bytes]()
        passing = False

        async def sent(message: Message) -> None:
            nonlocal passing
            if message["type"] == "http.response.start":
                passing = message["status"] != 200 or _is_stream(message)
                if not passing:
                    held.append(message)
                    return
            if passing:
                is_head_body = scope["method"] == "HEAD" and message["type"] == "http.response.body"
                await send({**message, "body": b""} if is_head_body else message)
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                await _answer(scope, held[0], b"".join(parts), send)

        await self.app({**scope, "method": "GET"}, receive, sent)


async def _answer(scope: Scope, start: Message, body: bytes, send: Send) -> None:
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = [*start["headers"], (b"etag", tag.encode()), (b"cache-control", b"private, no-cache")]
    known = [value.strip().removeprefix("W/") for value in header(scope, b"if-none-match").split(",")]
    if tag in known or "*" in known:
        kept = [pair for pair in headers if pair[0] not in (b"content-length", b"content-type")]
        await send({"type": "http.response.start", "status": 304, "headers": kept})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({**start, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
