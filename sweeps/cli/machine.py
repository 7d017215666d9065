"""Commands about this machine rather than a sweep: spec, doctor and data."""

from typing import Annotated

import typer

from sweeps.cli.formats import Format, render
from sweeps.cli.options import Data, Form, Storage

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
    for check in checks:
        print(f"{check.level:<5} {check.name:<16} {check.text}")
    raise typer.Exit(1 if any(check.level == "fail" for check in checks) else 0)


@data_app.command("list")
def data_list(form: Form = Format.table, data: Data = None) -> None:
    """List the datasets: which are here, and where the others would come from."""
    from sweeps.service.datasets import locations

    print(render(locations(data), form))


@data_app.command("fetch")
def data_fetch(
    names: Annotated[list[str], typer.Argument(metavar="DATASET...", help="mnist, cifar10")],
    data: Data = None,
) -> None:
    """Download datasets into the cache of this machine."""
    from sweeps.service.datasets import fetch

    for name in names:
        print(fetch(name, data_dir=data))
