"""Put the service together: one ASGI app from a database, its tokens and what it may do."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import anyio.to_thread
import sqlalchemy
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from storage.studies.studies import open_studies
from sweeps.web import dashboard, login, pages
from sweeps.web.gate.etags import ETags
from sweeps.web.gate.guard import Guard
from sweeps.web.gate.limits import BOUNDS, Bounds, Limits
from sweeps.web.gate.outermost import Outermost
from sweeps.web.gate.sessions import Sessions
from sweeps.web.gate.tokens import Tokens
from sweeps.web.metrics import Metrics
from sweeps.web.openapi import describe
from sweeps.web.problems import add_handlers
from sweeps.web.routes import creating, logs, probes, reading, steering
from sweeps.web.served import KeptDatabase, Served
from sweeps.web.views import Views

_THREADS = 8  # that ask the database; it gets three connections of this process, and four of optuna-dashboard's
_DESCRIPTION = """Ask and steer the sweeps of one database.

With `Authorization: Bearer TOKEN`: the role viewer may GET, the role operator everything. Numbers that JSON
does not have are the strings "NaN", "Infinity" and "-Infinity"."""


def make_app(
    url: sqlalchemy.URL,
    sweeps: Iterable[str] | None = None,
    tokens: Tokens | None = None,
    *,
    allow_code: bool = False,
    with_dashboard: bool = True,
    bounds: Bounds = BOUNDS,
) -> FastAPI:
    """Return the service of a database.

    Args:
        sweeps: the names that it serves; None: all of them.
        tokens: None: it answers to programs on this machine only, and lets them do everything.
        allow_code: whether a spec that is sent may name Python code.
        with_dashboard: False leaves optuna-dashboard out.
        bounds: of what a request may cost.

    Raises:
        storage.errors.StorageError: the dashboard cannot open the database.
    """
    studies = open_studies(url) if with_dashboard else None
    served = Served(KeptDatabase(url), None if sweeps is None else frozenset(sweeps), allow_code)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        yield
        served.database.close()
        if studies is not None:
            studies.close()

    app = FastAPI(
        title="kd-sweeps",
        description=_DESCRIPTION,
        version="1",  # of this interface; /healthz says that of the program
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # both load scripts from elsewhere
        redoc_url=None,
        lifespan=life,
    )
    app.state.served, app.state.metrics = served, Metrics(served)
    app.state.tokens, app.state.sessions, app.state.followers = tokens, Sessions(), 0
    app.state.views = Views(served, studies.ids if studies is not None else dict)
    describe(app)
    add_handlers(app)
    for module in _MODULES:
        app.include_router(module.router)
    for path in _OURS:
        app.add_route(path, _nothing, methods=_METHODS, include_in_schema=False)
    if studies is not None:
        dashboard.mount(app, studies)
    app.add_middleware(ETags)
    app.add_middleware(Limits, bounds=bounds)
    app.add_middleware(Guard, tokens=tokens, sessions=app.state.sessions)
    app.add_middleware(Outermost)  # added last, it stands first
    return app


_OURS = ("/api/v1/{rest:path}", "/sweeps/{rest:path}", "/events/{rest:path}", "/healthz", "/readyz", "/metrics")
_MODULES = (probes, reading, logs, creating, steering, login, pages)
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


async def _nothing(request: Request) -> Response:
    """Keep what is not there from optuna-dashboard, which would answer with a page."""
    routes = [route for module in _MODULES for route in module.router.routes if isinstance(route, Route)]
    allowed = [sorted(one.methods or ()) for one in routes if one.matches(request.scope)[0] is Match.PARTIAL]
    headers = {"Allow": ", ".join(dict.fromkeys(one for methods in allowed for one in methods))}
    raise HTTPException(405, headers=headers) if allowed else HTTPException(404)
