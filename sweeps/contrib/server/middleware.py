"""The middleware: access log and security headers, limits on requests, HEAD, ETags."""

import asyncio
import hashlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage.url import is_loopback
from sweeps.contrib.server.problems import LOG, problem
from sweeps.contrib.server.work import PREFIX as WORK_PREFIX
from sweeps.hints import Commands, for_client

SAFE = frozenset({"GET", "HEAD"})
HEADERS_BYTES = 32_768
HEADERS = 100
PROBES = frozenset({"/healthz", "/readyz"})
_HOST = re.compile(r"([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]+\])?(:[0-9]*)?")
_PROGRAM = re.compile(r"(?:[\w.-]+/){0,20}kd-sweeps")
_ADDRESS = re.compile(r"https?://[\x21-\x7e]{1,400}")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # With no-referrer browsers send "Origin: null" with a form, and over plain HTTP nothing else says where it is from.
    (b"referrer-policy", b"same-origin"),
]
PREFIX = "/api/v1/"


def header(scope: Scope, name: bytes) -> str:
    """Return the first header of that lower-case name; "" if there is none."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


def is_safe(scope: Scope) -> bool:
    return scope["method"] in SAFE


def is_upload(scope: Scope) -> bool:
    return scope["method"] == "PUT" and str(scope["path"]).startswith(WORK_PREFIX)


def is_of_this_page(scope: Scope, *, must_say: bool) -> bool:
    """Return whether a request comes from a page of this service, or from no page at all.

    Browsers send the origin of a page in Sec-Fetch-Site and Origin, which no page can change. must_say: refuse requests
    with neither header; current browsers send one.
    """
    site = header(scope, b"sec-fetch-site")
    if site:
        return site in ("same-origin", "none")
    origin, host = header(scope, b"origin"), header(scope, b"host")
    return bool(host) and origin.partition("://")[2] == host if origin else not must_say


def is_local_name(scope: Scope) -> bool:
    """Return whether the header Host names this machine: the domain of a foreign page may resolve to it, too."""
    return is_loopback(urlsplit(f"//{header(scope, b'host')}").hostname or "")


@dataclass(frozen=True)
class AccessLogMiddleware:
    """Log every request, outside all other middleware. Leaves out query and headers, which may contain a token."""

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
            if refused := _refused(scope):
                await refused(scope, receive, sent)
                return
            scope["headers"] = _one_cookie(scope["headers"])
            with for_client(_reader(scope)):
                await self.app(scope, receive, sent)
        except Exception:
            status = 500  # Starlette answers so, and logs the traceback
            raise
        finally:
            role = scope.get("state", {}).get("role", "-")
            took, path = time.monotonic() - began, ascii(scope["path"][:300])[1:-1]
            LOG.info("%s %s %s %.0f ms %s", scope["method"], path, status or "-", 1000 * took, role)


def _refused(scope: Scope) -> Response | None:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if sum(len(name) + len(value) for name, value in headers) > HEADERS_BYTES or len(headers) > HEADERS:
        return problem(431, f"too many headers; allowed: {HEADERS} lines, {HEADERS_BYTES:,} bytes")
    return None if _is_host(header(scope, b"host")) else problem(400, "the header Host is not a host name")


def _is_host(text: str) -> bool:
    try:
        port = urlsplit(f"//{text}").port
    except ValueError:
        return False
    return port != 0 and _HOST.fullmatch(text) is not None


def _one_cookie(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Join the Cookie headers that a proxy may split (RFC 9113, 8.2.3): readers take only the first."""
    cookies = [value for name, value in headers if name == b"cookie"]
    if len(cookies) < 2:
        return headers
    return [pair for pair in headers if pair[0] != b"cookie"] + [(b"cookie", b"; ".join(cookies))]


def _reader(scope: Scope) -> Commands:
    """Return the commands as the sender can type them: `HttpClient` sends its program name and URL."""
    program, url = header(scope, b"kd-sweeps-program"), header(scope, b"kd-sweeps-url")
    called = program if _PROGRAM.fullmatch(program) else "kd-sweeps"
    if url == "-":  # its environment names the service
        return Commands(called)
    at = url or f"{scope['scheme']}://{header(scope, b'host')}"
    return Commands(called, service=at if _ADDRESS.fullmatch(at) else "")


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """Limits of a request: bytes of its body, seconds until the body has arrived, seconds until the answer begins.

    at_once: requests in progress, without probes.
    """

    body_bytes: int = 1_000_000
    body_s: float = 15.0
    answer_s: float = 60.0
    at_once: int = 200


REQUEST_LIMITS = RequestLimits()


@dataclass
class LimitsMiddleware:
    """Read the body before the route does, and answer with 503 for a route that takes too long.

    A stream of events has no time limit once it has begun. When the client disconnects, its route is cancelled. HEAD is
    GET without a body.
    """

    app: ASGIApp
    bounds: RequestLimits
    at_work: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        counts = scope["path"] not in PROBES
        if counts and self.at_work >= self.bounds.at_once:
            text = f"{self.bounds.at_once} requests are in progress already; try again"
            await problem(503, text, headers={"Retry-After": "5"})(scope, receive, send)
            return
        self.at_work += counts  # before the first await: many may arrive at once
        try:
            if is_upload(scope):  # its route reads the body, of a few uploads at a time
                await self.app(scope, receive, send)
                return
            body = await self._body(scope, receive)
            if isinstance(body, Response):
                await body(scope, receive, send)
            elif body is not None:  # otherwise the client has disconnected
                await self._answer(scope, body, receive, send)
        finally:
            self.at_work -= counts

    async def _body(self, scope: Scope, receive: Receive) -> bytes | Response | None:
        declared = header(scope, b"content-length")
        most = self.bounds.body_bytes
        text = f"the body may have at most {most:,} bytes"
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
            text = f"the body did not arrive within {self.bounds.body_s:g} s"
            return problem(408, text, headers={"Connection": "close"})

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        begun, over, streams = False, False, False

        async def sent(message: Message) -> None:
            nonlocal begun, over, streams
            if over:
                return
            if message["type"] == "http.response.start":
                begun, streams = True, _is_stream(message)
            await send(message)
            if scope["method"] == "HEAD" and begun:
                over = True
                await send({"type": "http.response.body"})
                if streams:
                    task.cancel()

        read = False

        async def again() -> Message:
            nonlocal read
            if read:
                await asyncio.wait({gone})
                return {"type": "http.disconnect"}
            read = True
            return {"type": "http.request", "body": body, "more_body": False}

        gone = asyncio.ensure_future(_disconnected(receive))
        task = asyncio.ensure_future(
            self.app({**scope, "method": "GET"} if scope["method"] == "HEAD" else scope, again, sent)
        )
        task.add_done_callback(lambda task: task.cancelled() or task.exception())  # retrieved, so asyncio logs nothing
        try:
            await asyncio.wait({task, gone}, timeout=self.bounds.answer_s, return_when=asyncio.FIRST_COMPLETED)
            if streams:
                await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled():
                task.result()
            if not begun and not gone.done():
                over = True
                text = f"no answer within {self.bounds.answer_s:g} s; try again"
                await problem(503, text, headers={"Retry-After": "10"})(scope, receive, send)
        finally:
            over = True
            task.cancel()
            gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _is_stream(message: Message) -> bool:
    headers: list[tuple[bytes, bytes]] = message.get("headers", [])
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)


@dataclass(frozen=True)
class ETagMiddleware:
    """Add ETags to answers of the API, except streams of events."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(PREFIX):
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
                await send(message)
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                await _answer(scope, held[0], b"".join(parts), send)

        await self.app(scope, receive, sent)


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
    await send({"type": "http.response.body", "body": body})
