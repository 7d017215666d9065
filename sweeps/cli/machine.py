"""Commands of this machine: spec, doctor, data, and the dashboard that it serves."""

from typing import Annotated

import typer

from sweeps.cli.formats import Format, render
from sweeps.cli.options import Data, Form, Storage, SweepName, whole_number
from sweeps.terminal import columns, fitted, say

app = typer.Typer()
data_app = typer.Typer(help="The datasets on this machine.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@app.command()
def spec(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help="tiny, quick, compare or full.")] = "quick",
) -> None:
    """Print a preset as TOML, to edit.

    Example: kd-sweeps spec full > my.toml; kd-sweeps create mnist-kd my.toml
    """
    from sweeps.spec.presets import preset as named
    from sweeps.spec.toml import to_toml

    print(to_toml(named(preset)), end="")


@app.command()
def doctor(storage: Storage = None, data: Data = None) -> None:
    """Check that everything a sweep needs is here."""
    from storage.url import resolve
    from sweeps.service.doctor import examine

    checks = examine(resolve(storage), data)
    # Two spaces at least, so that what does not fit goes on below the text; the name of a sweep may be long.
    print(fitted("\n".join(f"{one.level:<4}  {one.name:<15}  {one.text}" for one in checks), columns()))
    raise typer.Exit(1 if any(check.level == "fail" for check in checks) else 0)


@data_app.command("list")
def data_list(form: Form = Format.table, data: Data = None) -> None:
    """List the datasets: which are here, and where the others would come from."""
    from sweeps.service.datasets import locations

    text = render(locations(data), form)
    print(fitted(text, columns()) if form is Format.table else text)


@data_app.command("fetch")
def data_fetch(
    names: Annotated[list[str], typer.Argument(metavar="DATASET", help="mnist, cifar10")],
    data: Data = None,
) -> None:
    """Download datasets into the cache of this machine."""
    from sweeps.service.datasets import fetch

    for name in names:
        print(fetch(name, data_dir=data))


@app.command()
def dashboard(
    name: SweepName,
    host: Annotated[str, typer.Option(help="Address to listen on; it has no authentication.")] = "127.0.0.1",
    port: Annotated[str, typer.Option(metavar="N", help="Port to listen on.")] = "8080",
    storage: Storage = None,
) -> None:
    """Serve optuna-dashboard on the same storage until Ctrl-C."""
    from storage.url import masked, resolve
    from sweeps.service.dashboard import serve
    from sweeps.spec.model import check_name

    check_name(name)
    url = resolve(storage)
    number = whole_number("--port", port, least=1, most=65_535, example="8080")
    shown = "127.0.0.1" if host == "0.0.0.0" else host  # every address of a container is reached as this one
    say(f"storage {masked(url)}; open http://{shown}:{number}/dashboard/ and stop with Ctrl-C")
    if not _only_from_here(host):
        say(
            f"warning: it listens on {host} and asks for no password: anybody who reaches port {number} of this machine"
            f" can read, change and delete the studies; for yourself alone leave out --host {host}"
        )
    serve(url, name, host=host, port=number)


def _only_from_here(host: str) -> bool:
    """Return whether only programs on this machine reach an address."""
    import ipaddress

    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name, which may stand for any address
        return host == "localhost"
