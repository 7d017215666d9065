"""Answer HEAD as GET, and say with an ETag whether an answer has changed since it was last asked for."""

import hashlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sweeps.web.gate.asks import header

PREFIX = "/api/v1/"


class ETags:
    """Stands before the API. What is sent by events passes through."""

    def __init__(self, app: ASGIApp) -> None:
        """See the module."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        if not reads or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        held, parts = list[Message](), list[bytes]()
        passing = False

        async def sent(message: Message) -> None:
            nonlocal passing
            if message["type"] == "http.response.start":
                kind = next((value for name, value in message["headers"] if name == b"content-type"), b"")
                passing = message["status"] != 200 or kind.startswith(b"text/event-stream")
                if not passing:
                    held.append(message)
                    return
            if passing:
                await send(message if not _is_head_body(scope, message) else {**message, "body": b""})
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                await _answer(scope, held[0], b"".join(parts), send)

        await self._app({**scope, "method": "GET"}, receive, sent)


def _is_head_body(scope: Scope, message: Message) -> bool:
    return bool(scope["method"] == "HEAD" and message["type"] == "http.response.body")


async def _answer(scope: Scope, start: Message, body: bytes, send: Send) -> None:
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = [*start["headers"], (b"etag", tag.encode()), (b"cache-control", b"private, no-cache")]
    known = [one.strip().removeprefix("W/") for one in header(scope, b"if-none-match").split(",")]
    if tag in known or "*" in known:
        kept = [pair for pair in headers if pair[0] not in (b"content-length", b"content-type")]
        await send({"type": "http.response.start", "status": 304, "headers": kept})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({**start, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
