"""Bound what a request may cost: the size of its body, the time to send it, the time to answer it."""

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sweeps.web.gate.asks import header
from sweeps.web.problems import problem


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a request may cost: bytes of its body, seconds until that is here, seconds until an answer begins."""

    body_bytes: int = 1_000_000
    body_s: float = 15.0
    answer_s: float = 60.0


BOUNDS = Bounds()


class Limits:
    """Read the body before a route sees it, and answer for a route that takes too long.

    A route that answers by events has all the time it wants once it has begun.
    """

    def __init__(self, app: ASGIApp, *, bounds: Bounds) -> None:
        """See the module."""
        self._app, self._bounds = app, bounds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        found = await self._body(scope, receive)
        if found is None:
            return  # whoever asked has gone
        if isinstance(found, Response):
            await found(scope, receive, send)
            return
        await self._answer(scope, _again(found, receive), send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | Response | None:
        declared = header(scope, b"content-length")
        most = self._bounds.body_bytes
        said = f"a body of more than {most:,} bytes is not read here"
        too_large = problem(413, said, headers={"Connection": "close"})
        if declared.isdecimal() and (len(declared) > 15 or int(declared) > most):
            return too_large
        parts, size = list[bytes](), 0
        try:
            async with asyncio.timeout(self._bounds.body_s):
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
            said = f"the body did not come within {self._bounds.body_s:g} s"
            return problem(408, said, headers={"Connection": "close"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, over, streams = False, False, False

        async def sent(message: Message) -> None:
            nonlocal begun, streams
            if over:
                return
            if message["type"] == "http.response.start":
                begun, streams = True, _is_stream(message)
            await send(message)

        task = asyncio.ensure_future(self._app(scope, receive, sent))
        try:
            await asyncio.wait({task}, timeout=self._bounds.answer_s)
            if task.done() or streams:
                await task
                return
            over = True
            if not begun:
                said = f"no answer within {self._bounds.answer_s:g} s; try again"
                await problem(503, said, headers={"Retry-After": "10"})(scope, receive, send)
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
