"""What surrounds every answer: a line in the log, headers that browsers obey, and commands as the reader types them."""

import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage.db.transaction import impatient
from sweeps.hints import Commands, worded_for
from sweeps.terminal import visible
from sweeps.web.gate.asks import header
from sweeps.web.problems import LOG, problem

HEADERS_BYTES = 32_768
PATIENCE_S = 3.0  # with a database that is away
_PROGRAM = re.compile(r"(?:[\w.-]+/){0,20}kd-sweeps")
_ADDRESS = re.compile(r"https?://[\x21-\x7e]{1,400}")

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]


class Outermost:
    """Stands before all else. A line holds no query and no header: somebody may have put a token there."""

    def __init__(self, app: ASGIApp) -> None:
        """See the module."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
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
            with impatient(PATIENCE_S), worded_for(_reader(scope)):
                await self._app(scope, receive, sent)
        except Exception:
            status = 500  # what stands around all of this answers so, and logs the traceback
            raise
        finally:
            who = scope.get("state", {}).get("role", "nobody")
            took, path = time.monotonic() - began, visible(scope["path"]).replace("\n", "\\n")
            LOG.info("%s %s %s %.0f ms %s", scope["method"], path[:300], status or "-", 1000 * took, who)


def _reader(scope: Scope) -> Commands:
    """Return the commands as whoever asks can type them: our own client says how it was called, and with which URL."""
    program, url = header(scope, b"kd-sweeps-program"), header(scope, b"kd-sweeps-url")
    called = program if _PROGRAM.fullmatch(program) else "kd-sweeps"
    if url == "-":  # its environment names the service
        return Commands(called)
    at = url or f"{scope['scheme']}://{header(scope, b'host')}"
    return Commands(called, service=at if _ADDRESS.fullmatch(at) else "")
