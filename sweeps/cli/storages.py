"""Commands about a whole storage, and about a sweep as one file."""

import typer

from sweeps.cli.options import Storage
from sweeps.terminal import say

app = typer.Typer()
storage_app = typer.Typer(help="The storage itself.", no_args_is_help=True)
app.add_typer(storage_app, name="storage")


@storage_app.command("upgrade")
def storage_upgrade(storage: Storage = None) -> None:
    """Bring a storage that an older kd-sweeps made to this one.

    Of an SQLite file a copy is kept beside it. Refused while workers are running.
    """
    from storage.db.upgrade import upgrade
    from storage.url import masked, resolve

    url = resolve(storage)
    say(f"storage {masked(url)}")
    done = upgrade(url)
    if done.before == done.after:
        say(f"schema {done.after} already; nothing to do")
        return
    kept = f"; as it was: {done.copy}" if done.copy else ""
    say(f"upgraded from schema {done.before} to {done.after}{kept}")
