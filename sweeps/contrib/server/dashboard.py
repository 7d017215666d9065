"""optuna-dashboard: few threads of its own, faults told as everywhere, nothing that it stumbles over."""

import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import anyio.to_thread
from a2wsgi import WSGIMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage.db.transaction import patience
from storage.records import queries
from storage.studies.studies import Studies
from sweeps.contrib.server.problems import problem
from sweeps.contrib.server.shared import RETRY_S, SILENCE_S, Places

_THREADS = 2  # its handlers read whole studies, each with a connection; the pool gives them three
_CHECK_S = 2.0
_STUMBLES = re.compile(r"[\x00-\x1f\x7f]|\d{19,}")  # names of files that no system takes, numbers that no database has


def dashboard(studies: Studies) -> ASGIApp:
    # Behind every other route: its pages ask for /static and /api/studies.
    from optuna_dashboard import wsgi

    app: Any = wsgi(studies.storage)
    app.catchall = False  # what it raises is answered as what we raise
    bounded: Any = WSGIMiddleware(app, workers=_THREADS, send_queue_size=0)  # a slow reader holds no thread
    return Dashboard(bounded, studies)


@dataclass(frozen=True)
class Dashboard:
    """Where the database is away optuna-dashboard says 500; every other route says so in a problem."""

    app: ASGIApp
    studies: Studies
    places: Places = field(default_factory=lambda: Places(_THREADS))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _STUMBLES.search(scope["path"]):
            await problem(404, f"there is nothing at {scope['path']}")(scope, receive, send)
            return
        after = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("after", ["0"])[-1]
        if not re.fullmatch(r"[0-9]{1,18}", after):
            text = f"after: got {after[:80]!r}; allowed: a whole number, 0 or more"
            await problem(400, text, exit_code=2)(scope, receive, send)
            return
        if all(name != b"accept-encoding" for name, _ in scope["headers"]):  # it takes the header for granted
            scope = {**scope, "headers": [*scope["headers"], (b"accept-encoding", b"identity")]}
        for message in await self.places.work(partial(self._answer, scope, receive)):
            await send(message)

    async def _answer(self, scope: Scope, receive: Receive) -> list[Message]:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        try:
            with patience(retry_s=RETRY_S, silence_s=SILENCE_S):
                await self.app(scope, receive, keep)
        except Exception:
            await anyio.to_thread.run_sync(self._check)
            raise
        if messages[0].get("status", 200) >= 500:
            await anyio.to_thread.run_sync(self._check)
        return messages

    def _check(self) -> None:
        """Raise StorageError where the database cannot be read, or is another one than was opened."""
        with patience(retry_s=0, silence_s=_CHECK_S):
            queries.is_sweep(self.studies.engine, "")
