"""The commands database start, stop and status."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.options import whole_number
from sweeps.terminal import say

if TYPE_CHECKING:
    from sweeps.contrib.postgres_folder.folder import Database


app = typer.Typer()
database_app = typer.Typer(help="A Postgres of your own in a folder, without root.", no_args_is_help=True)
app.add_typer(database_app, name="database")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the database; a new one is made by start.")]


@database_app.command("start")
def database_start(
    folder: Folder,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; 127.0.0.1, or the one of before, when not given.")
    ] = None,
    port: Annotated[
        str | None, typer.Option(metavar="N", help="Port; the next free one from 5432 on, or the one of before.")
    ] = None,
) -> None:
    """Start a database, and print the line that lets this shell use it.

    It goes on until stop, and asks for a password, which stands in DIR/url. Doing it again changes nothing.

    Example: eval "$(kd-sweeps database start db)"
    """
    from sweeps.contrib.postgres_folder import folder as databases

    number = None if port is None else whole_number("--port", port, least=1, most=65_535, example="5432")
    database = databases.start(folder, host=host, port=number)
    _describe(database, "started" if database.started else "runs already")
    if database.open_to_others:
        say(
            "warning: every machine that reaches this address may try passwords, and what is sent is not encrypted;"
            " for programs on this machine alone: --host 127.0.0.1"
        )
    print(database.export)


@database_app.command("stop")
def database_stop(folder: Folder) -> None:
    """Stop a database; what is stored stays."""
    from sweeps.contrib.postgres_folder import folder as databases

    ran = databases.stop(folder)
    again = databases.command("start", folder)
    say(f"stopped. To go on: {again}" if ran else f"it did not run. To start it: {again}")


@database_app.command("status")
def database_status(folder: Folder) -> None:
    """Say where a database runs; exits 1 if it does not."""
    from sweeps.contrib.postgres_folder import folder as databases

    database = databases.status(folder)
    if not database.running:
        say(f"the database in {database.folder} does not run. To start it: {databases.command('start', folder)}")
        raise typer.Exit(1)
    _describe(database, "runs")
    print(database.export)


def _describe(database: "Database", how: str) -> None:
    from storage.url import masked

    say(f"database {masked(database.url)} {how}; its log: {database.folder / 'server.log'}")
