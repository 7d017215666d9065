"""The commands database start, stop and status."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.options import whole_number
from sweeps.terminal import say

if TYPE_CHECKING:
    from sweeps.contrib.postgres_folder.folder import Database


app = typer.Typer()
database_app = typer.Typer(help="Run your own Postgres in a folder, without root.", no_args_is_help=True)
app.add_typer(database_app, name="database")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the database; start creates it.")]


@database_app.command("start")
def database_start(
    folder: Folder,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on (default: 127.0.0.1, or the previous one).")
    ] = None,
    port: Annotated[
        str | None, typer.Option(metavar="N", help="Port (default: the next free one from 5432, or the previous one).")
    ] = None,
) -> None:
    """Start a database; print the line that connects to it.

    Evaluate that line to use the database in this shell. The database runs until `database stop` and requires a
    password, which is in DIR/url. Starting it again changes nothing.

    Example: eval "$(kd-sweeps database start db)"
    """
    from sweeps.contrib.postgres_folder import folder as databases

    number = None if port is None else whole_number("--port", port, least=1, most=65_535, example="5432")
    database = databases.start(folder, host=host, port=number)
    _describe(database, "started" if database.started else "is already running")
    if database.open_to_others:
        say(
            "warning: any machine that reaches this address can try passwords, and traffic is not encrypted;"
            " to allow this machine only: --host 127.0.0.1"
        )
    print(database.export)


@database_app.command("stop")
def database_stop(folder: Folder) -> None:
    """Stop a database; its data is kept."""
    from sweeps.contrib.postgres_folder import folder as databases

    was_running = databases.stop(folder)
    command = databases.command("start", folder)
    say(f"stopped. To start it again: {command}" if was_running else f"it was not running. To start it: {command}")


@database_app.command("status")
def database_status(folder: Folder) -> None:
    """Print the address of a running database.

    Exits with 1 if it is not running.
    """
    from sweeps.contrib.postgres_folder import folder as databases

    database = databases.status(folder)
    if not database.running:
        say(f"the database in {database.folder} is not running. To start it: {databases.command('start', folder)}")
        raise typer.Exit(1)
    _describe(database, "is running")
    print(database.export)


def _describe(database: "Database", how: str) -> None:
    from storage.url import masked

    say(f"database {masked(database.url)} {how}; log: {database.folder / 'server.log'}")
