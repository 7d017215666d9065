"""The command serve."""

import os
from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.options import Storage, whole_number
from sweeps.terminal import say

app = typer.Typer()


@app.command()
def serve(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Sweeps to serve.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Serve every sweep, and those that come.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen on; another one needs tokens.")] = "127.0.0.1",
    port: Annotated[str, typer.Option(metavar="N", help="Port to listen on; 0 takes a free one.")] = "8080",
    tokens: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Lines 'viewer TOKEN', 'operator TOKEN'; else KD_SWEEPS_TOKENS.")
    ] = None,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Take specs that name Python code, package.module:build.")
    ] = False,
    storage: Storage = None,
) -> None:
    """Serve sweeps over HTTP: questions, orders, metrics, a page, and optuna-dashboard.

    With --all it makes the storage if there is none yet.

    Example: kd-sweeps serve --all --tokens tokens.txt --host 0.0.0.0
    """
    from storage.url import masked, resolve
    from sweeps.contrib.server import app
    from sweeps.contrib.server.auth import VARIABLE, read_tokens
    from sweeps.errors import SpecError

    if bool(names) == every:
        raise SpecError("give the sweeps to serve, or --all; for example: kd-sweeps serve --all")
    number = whole_number("--port", port, least=0, most=65_535, example="8080")
    url = resolve(storage)
    found = read_tokens(tokens, os.environ)
    os.environ.pop(VARIABLE, None)  # no child of this process needs them
    app.check_address(host, found)
    say(f"storage {masked(url)}")
    app.serve(url, None if every else names, host=host, port=number, tokens=found, allow_code=allow_code)
