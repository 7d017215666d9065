"""Run the service in this process until it is told to stop."""

import errno
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence

import sqlalchemy
import uvicorn

from storage.db.engine import create_lock, create_tables, open_engine
from storage.records import queries
from storage.studies.studies import open_studies
from sweeps.errors import SpecError, SweepError
from sweeps.service.database.addresses import ALLOWED, check_host
from sweeps.spec.model import check_name
from sweeps.terminal import say
from sweeps.web.app import make_app
from sweeps.web.gate.asks import is_of_this_machine
from sweeps.web.gate.outermost import HEADERS_BYTES
from sweeps.web.gate.tokens import VARIABLE, Tokens

_CONNECTIONS = 200
_IDLE_S = 15
_STOP_S = 5


def serve(
    url: sqlalchemy.URL,
    names: Sequence[str] | None,
    *,
    host: str,
    port: int,
    tokens: Tokens | None,
    allow_code: bool = False,
    path: str = "",
    listening: Callable[[str], None] = say,
) -> None:
    """Serve the sweeps of a database until SIGINT or SIGTERM.

    Args:
        names: None: all of them; a storage without tables, or an SQLite file that is missing, is then made.
        port: 0 takes any that is free.
        tokens: None: only for an address of this machine.
        path: of the page that is named to whoever started it.
        listening: is told where, once it does.

    Raises:
        SpecError: the address is one that others reach, and there are no tokens.
        storage.errors.StorageError: no database, or no such sweep in it.
        SweepError: it cannot listen there.
    """
    check_address(host, tokens)
    _check_sweeps(url, names)
    app = make_app(url, names, tokens, allow_code=allow_code)
    _log_to_stderr()
    with _listen(host, port) as opened:
        bound = opened.getsockname()[1]
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        listening(f"serving at http://{f'[{shown}]' if ':' in shown else shown}:{bound}/{path}; stop with Ctrl-C")
        if tokens is None:
            listening("no tokens: every program on this machine may do everything; see: kd-sweeps serve --help")
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            h11_max_incomplete_event_size=HEADERS_BYTES,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=_STOP_S,
        )
        uvicorn.Server(config).run(sockets=[opened])


def check_address(host: str, tokens: Tokens | None) -> None:
    """Raise SpecError for what is no address, and where others reach a service that asks nobody for a token."""
    check_host(host)
    if tokens is None and not is_of_this_machine(host.strip("[]")):
        raise SpecError(
            f"--host: got {host}; without tokens only 127.0.0.1, ::1 and localhost are allowed: give --tokens FILE or"
            f" {VARIABLE} first, lines such as: operator TOKEN"
        )


def _check_sweeps(url: sqlalchemy.URL, names: Sequence[str] | None) -> None:
    if names is None:
        _make_storage(url)
        return
    for name in names:
        check_name(name)
    engine = open_engine(url, read_only=True)
    try:
        for name in names:
            queries.find_sweep(engine, name)
    finally:
        engine.dispose()


def _make_storage(url: sqlalchemy.URL) -> None:
    with create_lock(url):
        studies = open_studies(url, create=True)
        try:
            create_tables(studies.engine)
        finally:
            studies.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((str(address[0]), port), family=family, backlog=_CONNECTIONS)
    except OSError as error:  # Python adds the address to what the system says
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise SpecError(f"--host: got {host!r}, which is no address of this machine; {ALLOWED}") from None
        said = os.strerror(error.errno) if error.errno else str(error)
    another = f"; choose another: --port {port + 1}" if 0 < port < 65_535 else ""
    raise SweepError(f"cannot listen on {host}:{port}: {said}{another}")


def _log_to_stderr() -> None:
    """Let our lines and the server's warnings go to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name, level in (("kd-sweeps", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
