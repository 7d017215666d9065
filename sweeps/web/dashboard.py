"""optuna-dashboard on the same database, behind the same guard."""

from typing import Any

import sqlalchemy
from a2wsgi import WSGIMiddleware
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage.records import queries
from storage.studies.studies import Studies


def mount(app: FastAPI, studies: Studies) -> None:
    """Mount it at "/", after every other route: its pages ask for /static and /api/studies."""
    from optuna_dashboard import wsgi

    dashboard: Any = wsgi(studies.storage)
    dashboard.catchall = False  # what it raises is answered as what we raise
    app.mount("/", _Answering(_bounded(dashboard), studies.engine))


def _bounded(app: Any) -> Any:
    return WSGIMiddleware(app, workers=4)


class _Answering:
    """Tells whoever asks of a database that is away, as every other route does, where optuna-dashboard answers 500."""

    def __init__(self, app: ASGIApp, engine: sqlalchemy.Engine) -> None:
        self._app, self._engine = app, engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held: list[Message] = []

        async def sent(message: Message) -> None:
            if held or message.get("status", 200) >= 500:
                held.append(message)
            else:
                await send(message)

        try:
            await self._app(scope, receive, sent)
        except Exception:
            await run_in_threadpool(self._check)
            raise
        if held:
            await run_in_threadpool(self._check)
        for message in held:
            await send(message)

    def _check(self) -> None:
        """Raise StorageError where the database cannot be read, or is another one than was opened."""
        queries.is_sweep(self._engine, "")
