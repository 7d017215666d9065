"""Commands of this machine: spec, doctor, data, and the page that it serves to its own user."""

from typing import Annotated

import typer

from sweeps.cli.options import Data, Form, Storage, SweepName, whole_number
from sweeps.cli.text import Format, render
from sweeps.terminal import columns, say, wrap

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
    from sweeps.distill.presets import preset as named
    from sweeps.spec.stored import to_toml

    print(to_toml(named(preset)), end="")


@app.command()
def doctor(storage: Storage = None, data: Data = None) -> None:
    """Check that everything a sweep needs is here."""
    from storage.url import resolve
    from sweeps.usecases.doctor import examine

    checks = examine(resolve(storage), data)
    # Two spaces at least, so that what does not fit goes on below the text; the name of a sweep may be long.
    print(wrap("\n".join(f"{one.level:<4}  {one.name:<15}  {one.text}" for one in checks), columns()))
    raise typer.Exit(1 if any(check.level == "fail" for check in checks) else 0)


@data_app.command("list")
def data_list(form: Form = Format.table, data: Data = None) -> None:
    """List the datasets: which are here, and where the others would come from."""
    from sweeps.distill.freeze import locations

    text = render(locations(data), form)
    print(wrap(text, columns()) if form is Format.table else text)


@data_app.command("fetch")
def data_fetch(
    names: Annotated[list[str], typer.Argument(metavar="DATASET", help="mnist, fashion_mnist, cifar10, cifar100")],
    data: Data = None,
) -> None:
    """Download datasets into the cache of this machine."""
    from sweeps.distill.freeze import fetch

    for name in names:
        print(fetch(name, data_dir=data))


@app.command()
def dashboard(
    name: SweepName,
    port: Annotated[str, typer.Option(metavar="N", help="Port to listen on; 0 takes a free one.")] = "8080",
    storage: Storage = None,
) -> None:
    """Show a sweep while it runs, in a browser on this machine, until Ctrl-C. For a team: kd-sweeps serve.

    optuna-dashboard on the same storage is a click away.
    """
    from storage.url import masked, resolve
    from sweeps.contrib.server.app import serve
    from sweeps.spec.stored import check_name

    check_name(name)
    url = resolve(storage)
    number = whole_number("--port", port, least=0, most=65_535, example="8080")
    say(f"storage {masked(url)}")
    serve(url, [name], host="127.0.0.1", port=number, tokens=None, path=f"sweeps/{name}")
