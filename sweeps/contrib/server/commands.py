"""The commands serve and dashboard. They import the app late, so that `--help` loads no web framework."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.options import Storage, SweepName, note_storage, storage_url, whole_number
from sweeps.errors import SpecError
from sweeps.extensions import require

app = typer.Typer()
dashboard_app = typer.Typer()  # --help lists it before data and serve

Port = Annotated[str, typer.Option(metavar="N", help="Port to listen on; 0 picks a free one.")]


@app.command()
def serve(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Sweeps to serve.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Serve all sweeps, including new ones.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen on; any but the default needs tokens.")] = "127.0.0.1",
    port: Port = "8080",
    tokens: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File of ROLE TOKEN lines (viewer, operator, worker); else KD_SWEEPS_TOKENS."
        ),
    ] = None,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Accept specs that name Python code, package.module:build.")
    ] = False,
    storage: Storage = None,
) -> None:
    """Serve sweeps to a team over HTTP.

    Serves queries, commands, metrics, web pages and optuna-dashboard. With --all, creates the storage if needed.

    Example: kd-sweeps serve --all --tokens tokens.txt --host 0.0.0.0
    """
    require("server", "serve")
    from sweeps.contrib.server import app as server
    from sweeps.contrib.server.auth import VARIABLE, read_tokens

    if bool(names) == every:
        raise SpecError("give the sweeps to serve, or --all; for example: kd-sweeps serve --all")
    number = _port(port)
    url = storage_url(storage)
    known = read_tokens(tokens, os.environ)
    os.environ.pop(VARIABLE, None)  # child processes do not need them
    server.check_address(host, known)
    note_storage(url)
    with _folder_kept_out():
        server.serve(url, None if every else names, host=host, port=number, tokens=known, allow_code=allow_code)


@dashboard_app.command()
def dashboard(name: SweepName, port: Port = "8080", storage: Storage = None) -> None:
    """Show a live page of a sweep in your browser.

    Serves this machine until Ctrl-C; for a team: kd-sweeps serve. The page links to optuna-dashboard on the same
    storage.
    """
    require("server", "dashboard")
    from sweeps.contrib.server import app as server
    from sweeps.spec.stored import check_name

    check_name(name)
    url = storage_url(storage)
    number = _port(port)
    note_storage(url)
    with _folder_kept_out():
        server.serve(url, [name], host="127.0.0.1", port=number, tokens=None, path=f"sweeps/{name}")


@contextmanager
def _folder_kept_out() -> Iterator[None]:
    """Keep the current folder off the Python path of child processes, as it is off this one's."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]


def _port(text: str) -> int:
    return whole_number("--port", text, least=0, most=65_535, example="8080")
