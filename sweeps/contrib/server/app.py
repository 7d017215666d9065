"""The ASGI app with optuna-dashboard below its routes, its connections, and the process that serves it."""

import asyncio
import errno
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing, nullcontext
from typing import Any

import sqlalchemy
import uvicorn
from anyio import CapacityLimiter
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from storage.db.engine import create_lock, create_tables, open_engine
from storage.records import queries
from storage.studies.studies import open_studies
from storage.url import is_loopback, is_wildcard
from sweeps.cli.options import HOSTS, check_host
from sweeps.contrib.server import auth, middleware, pages, problems, queues, routes, state, worker_routes
from sweeps.contrib.server.dashboard import Dashboard
from sweeps.errors import SpecError, SweepError
from sweeps.plan import trials
from sweeps.spec.stored import check_name
from sweeps.terminal import say

_DESCRIPTION = """Query and steer the sweeps of one database.

With `Authorization: Bearer TOKEN`: the role viewer may GET, operator may use everything except the routes of workers,
worker only those. Non-finite numbers are the strings "NaN", "Infinity" and "-Infinity"."""
_ROLES = "viewer: only GET; operator: everything except the routes of workers; worker: only those"
_OURS = ("/api/v1/{rest:path}", "/sweeps/{rest:path}", "/events/{rest:path}", "/healthz", "/readyz", "/metrics")
_ROUTERS = (
    *(routes.probes_router, routes.router, routes.steering_router),
    *(auth.login_router, pages.router, worker_routes.router),
)
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
_BACKLOG = 200
_IDLE_S = 15
_STOP_S = 5
HEADERS_S = 10.0
MOST_CONNECTIONS = 500  # most systems allow a process 1,024 open files


class BoundedProtocol(H11Protocol):
    """A connection of uvicorn with a time limit on request headers, besides uvicorn's own between two requests.

    Above MOST_CONNECTIONS, the connection that has been silent for longest is closed, so that idle clients keep no one
    out. (uvicorn's `limit_concurrency` would answer new requests with 503 instead, probes included.)
    """

    _headers: asyncio.TimerHandle | None = None  # limits the wait for the headers of the next request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_headers()
        if len(self.connections) > MOST_CONNECTIONS:
            ours = [other for other in self.connections if isinstance(other, BoundedProtocol)]
            open_ = [other for other in ours if not other.transport.is_closing()]
            if len(open_) > MOST_CONNECTIONS:  # this one is among them, and silent
                min(filter(BoundedProtocol._deadline, open_), key=BoundedProtocol._deadline).end()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._stop_waiting()
        elif self._headers is None:
            self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def end(self) -> None:
        self.timeout_keep_alive_handler()

    def _wait_for_headers(self) -> None:
        self._headers = self.loop.call_later(HEADERS_S, self.end)

    def _stop_waiting(self) -> None:
        if self._headers is not None:
            self._headers.cancel()
            self._headers = None

    def _deadline(self) -> float:
        """Return when its wait ends, by the clock of the loop; 0 while a request is running."""
        timer = self._headers or self.timeout_keep_alive_task
        return timer.when() if timer else 0.0


def describe(app: FastAPI) -> None:
    """Add the bearer token and its roles to the OpenAPI document of an app."""
    openapi = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = openapi()
            schema["components"]["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer", "description": _ROLES}
            }
            schema["security"] = [{"token": []}]
            for path in middleware.PROBES:
                schema["paths"][path]["get"]["security"] = []
            app.openapi_schema = schema
        return app.openapi_schema or {}

    app.openapi = document  # type: ignore[method-assign]


def make_app(
    url: sqlalchemy.URL,
    sweeps: Iterable[str] | None = None,
    tokens: auth.Tokens | None = None,
    *,
    allow_code: bool = False,
    with_dashboard: bool = True,
    bounds: middleware.RequestLimits = middleware.REQUEST_LIMITS,
) -> FastAPI:
    """Build the service of a database.

    sweeps: names of those to serve; None: all. tokens: None: only programs on this machine get answers, with full
    access. allow_code: whether a spec in a request may name Python code.
    """
    studies = open_studies(url) if with_dashboard else None
    served = state.serve_database(url, None if sweeps is None else frozenset(sweeps), allow_code=allow_code)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        with trials.mirroring(url, served.names) if with_dashboard else nullcontext():
            yield
        served.database.close()
        app.state.desk.queues.close()
        if studies is not None:
            studies.close()

    app = FastAPI(
        title="kd-sweeps",
        description=_DESCRIPTION,
        version="1",  # of this interface; /healthz has that of the program
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # both would load scripts from other sites
        redoc_url=None,
        lifespan=life,
    )
    app.state.served, app.state.followers = served, CapacityLimiter(state.MOST_FOLLOWERS)
    app.state.tokens, app.state.sessions = tokens, auth.Sessions()
    app.state.desk = worker_routes.Desk(queues.Queues(url, allow_code=allow_code))
    app.state.views = state.Views(served, studies.ids if studies is not None else dict)
    describe(app)
    problems.add_handlers(app)
    for router in _ROUTERS:
        app.include_router(router)
    for path in _OURS:
        app.add_route(path, _nothing, methods=_METHODS, include_in_schema=False)
    if studies is not None:
        app.mount("/", Dashboard(url))
    app.add_middleware(middleware.ETagMiddleware)
    app.add_middleware(middleware.LimitsMiddleware, bounds=bounds)
    app.add_middleware(auth.AuthMiddleware, tokens=tokens, sessions=app.state.sessions)
    app.add_middleware(middleware.AccessLogMiddleware)  # the last one added is the outermost
    return app


async def _nothing(request: Request) -> Response:
    # Otherwise optuna-dashboard would answer with a page.
    ours = [route for router in _ROUTERS for route in router.routes if isinstance(route, Route)]
    allowed = [sorted(route.methods or ()) for route in ours if route.matches(request.scope)[0] is Match.PARTIAL]
    headers = {"Allow": ", ".join(dict.fromkeys(method for methods in allowed for method in methods))}
    raise HTTPException(405, headers=headers) if allowed else HTTPException(404)


def serve(
    url: sqlalchemy.URL,
    names: Sequence[str] | None,
    *,
    host: str,
    port: int,
    tokens: auth.Tokens | None,
    allow_code: bool = False,
    path: str = "",
    listening: Callable[[str], None] = say,
) -> None:
    """Serve the sweeps of a database until SIGINT or SIGTERM.

    names: None: all; the storage is then created if it does not exist. port: 0 takes a free one. path: of the page
    in the first message. listening: called with the messages once the port is open.
    """
    check_address(host, tokens)
    _check_sweeps(url, names)
    app = make_app(url, names, tokens, allow_code=allow_code)
    _log_to_stderr()
    with _listen(host, port) as opened:
        bound = opened.getsockname()[1]
        address = "127.0.0.1" if is_wildcard(host) else host
        listening(f"serving at http://{f'[{address}]' if ':' in address else address}:{bound}/{path}; stop with Ctrl-C")
        if tokens is None:
            listening("no tokens set: anyone on this machine has full access; see: kd-sweeps serve --help")
        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=middleware.HEADERS_BYTES,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=_STOP_S,
        )
        uvicorn.Server(config).run(sockets=[opened])


def check_address(host: str, tokens: auth.Tokens | None) -> None:
    check_host(host)
    if tokens is None and not is_loopback(host):
        raise SpecError(
            f"--host: got {host}; without tokens only 127.0.0.1, ::1 and localhost are allowed: give --tokens FILE or"
            f" {auth.VARIABLE} first, lines such as: operator TOKEN"
        )


def _check_sweeps(url: sqlalchemy.URL, names: Sequence[str] | None) -> None:
    if names is None:
        with create_lock(url), closing(open_studies(url, create=True)) as studies:
            create_tables(studies.engine)
        return
    for name in names:
        check_name(name)
    engine = open_engine(url, read_only=True)
    try:
        for name in names:
            queries.find_sweep(engine, name)
    finally:
        engine.dispose()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((str(address[0]), port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise SpecError(f"--host: got {host!r}, which is not an address of this machine; {HOSTS}") from None
        # Python's own text has the address, too.
        reason = os.strerror(error.errno) if error.errno else str(error)
    hint = f"; choose another: --port {port + 1}" if 0 < port < 65_535 else ""
    raise SweepError(f"cannot listen on {host}:{port}: {reason}{hint}")


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name, level in (("kd-sweeps", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
