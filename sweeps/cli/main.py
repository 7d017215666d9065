"""Run the command line: parse, call, print. Results go to stdout, everything else to stderr.

Exit codes: 0 done; 1 expected failure, one line; 2 usage; 3 nothing completed yet; 130 and 143 interrupted.
Imports stand inside the commands: `--help` and the reading commands start in a fraction of a second.
"""

import os
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeps.cli import machine, models, results, steering, storages
from sweeps.cli.options import Data, Preset, Storage, SweepName, Weights, Workers, use_folders
from sweeps.hints import here
from sweeps.terminal import say

if TYPE_CHECKING:
    import sqlalchemy

    from sweeps.spec.model import Spec

app = typer.Typer(
    name="kd-sweeps",
    help="Tune temperature and alpha of knowledge distillation, and learn whether the tuned values transfer.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(results.app)
app.add_typer(models.app)
app.add_typer(steering.app)
app.add_typer(machine.app)
app.add_typer(storages.app)


@app.command()
def run(
    name: SweepName,
    preset: Preset = None,
    spec: Annotated[Path | None, typer.Option(metavar="FILE", help="A spec instead of a preset.")] = None,
    workers: Workers = None,
    storage: Storage = None,
    data: Data = None,
    weights: Weights = None,
) -> None:
    """Create a sweep if needed, work on it until it is finished, print its report.

    A second run prints the report at once; an interrupted one goes on.

    Example: kd-sweeps run tiny --preset tiny
    """
    from storage.url import resolve
    from sweeps.service.run import run_sweep
    from sweeps.spec.presets import preset as named

    use_folders(data, weights)
    chosen = _chosen(preset, spec) or named("quick")
    raise typer.Exit(run_sweep(resolve(storage), name, chosen, workers=workers, data_dir=data))


@app.command()
def create(
    name: SweepName,
    spec: Annotated[Path | None, typer.Argument(metavar="[SPEC]", help="A TOML file; else --preset.")] = None,
    preset: Preset = None,
    trials: Annotated[str | None, typer.Option(metavar="N", help="Trials of the search.")] = None,
    seed: Annotated[str | None, typer.Option(metavar="N", help="Seed of everything random.")] = None,
    source: Annotated[str | None, typer.Option(metavar="DATASET", help="Dataset tuned on.")] = None,
    target: Annotated[
        list[str] | None, typer.Option(metavar="DATASET", help="Dataset transferred to; several: give it again.")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="Teacher on every dataset: cnn-small, pretrained:MobileNetV2, MODULE:BUILD."
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of the spec, for example search.alpha=[0,0.5]."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, write nothing.")] = False,
    storage: Storage = None,
    data: Data = None,
) -> None:
    """Write a sweep with all its tasks to the storage; doing it again changes nothing.

    Example: kd-sweeps create mnist-kd --preset full --trials 100
    """
    from storage.url import resolve
    from sweeps.service.create import create_sweep, requested
    from sweeps.service.summary import describe_plan

    use_folders(data)
    url = resolve(storage)
    shorthands = {"search.trials": trials, "seed": seed}
    changes = _changes([*(change or []), *(f"{key}={value}" for key, value in shorthands.items() if value is not None)])
    base = _chosen(preset, spec)
    asked = requested(url, name, base, changes=changes, source=source, targets=target or (), teacher=teacher)
    created = create_sweep(url, name, asked, data_dir=data, dry_run=dry_run)
    print("\n".join(describe_plan(created.spec, created.plan, url)))
    if dry_run:
        for task in created.plan.tasks:
            print(f"{task.key}  {task.payload}")
        say("dry run: nothing was written")
        return
    say(f"{'created' if created.new else 'already there, unchanged'}: {name}. Next:")
    for line in next_commands(name, url):
        say(f"  {line}")


def next_commands(name: str, url: "sqlalchemy.URL") -> list[str]:
    """Return what to type after `create`, each line with what it does; no line holds a password."""
    from storage.url import has_password, masked

    launched = f"{here().launch(name)}       # workers on this machine"
    worker, dashboard = here().line("worker", name), here().line("dashboard", name)
    if has_password(url):
        return [
            launched,
            f"{worker}       # one worker, anywhere KD_SWEEPS_STORAGE holds the URL of this storage",
            f"{dashboard}    # optuna-dashboard on the same storage",
        ]
    return [
        launched,
        f"{worker} --storage {masked(url)}   # one worker, anywhere",
        f"{dashboard}    # or: optuna-dashboard {masked(url)}",
    ]


@app.command()
def launch(
    name: SweepName, workers: Workers = None, storage: Storage = None, data: Data = None, weights: Weights = None
) -> None:
    """Work on a sweep with processes on this machine, one thread each.

    Ctrl-C is safe: running tasks are given back, and the next launch goes on.
    """
    from storage.url import masked, resolve
    from sweeps.service.launch import launch as start
    from sweeps.spec.model import check_name

    use_folders(data, weights)
    check_name(name)
    url = resolve(storage)
    say(f"storage {masked(url)}")
    code = start(url, name, workers=workers)
    if code == 0:
        say(f"finished. Next: {here().best(name)}; {here().report(name)}")
    raise typer.Exit(code)


@app.command()
def worker(name: SweepName, storage: Storage = None, data: Data = None, weights: Weights = None) -> None:
    """Run one worker in this process, on any machine.

    It needs the storage URL and the name of the sweep, and ends when nothing is left to do.
    """
    from storage.url import masked, resolve
    from sweeps.spec.model import check_name
    from sweeps.workers.environment import one_thread
    from sweeps.workers.launcher import WORKER_VARIABLE
    from sweeps.workers.logs import log_folder, worker_log

    use_folders(data, weights)
    check_name(name)
    one_thread()
    url = resolve(storage)
    launched_as = os.environ.get(WORKER_VARIABLE)
    path = None if launched_as else log_folder(name) / f"worker-{os.getpid()}.log"
    say(f"storage {masked(url)}" + (f"; libraries log to {path}" if path else ""))
    with worker_log(path):
        from sweeps.service.launch import work

        code = work(url, name)
    raise typer.Exit(code)


@app.command()
def dashboard(
    name: SweepName,
    host: Annotated[str, typer.Option(help="Address to listen on; it has no authentication.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    storage: Storage = None,
) -> None:
    """Serve optuna-dashboard on the same storage until Ctrl-C."""
    from storage.url import masked, resolve
    from sweeps.service.dashboard import serve
    from sweeps.spec.model import check_name

    check_name(name)
    url = resolve(storage)
    shown = "127.0.0.1" if host == "0.0.0.0" else host  # every address of a container is reached as this one
    say(f"storage {masked(url)}; open http://{shown}:{port}/dashboard/ and stop with Ctrl-C")
    serve(url, name, host=host, port=port)


def _chosen(preset: str | None, spec: Path | None) -> "Spec | None":
    from sweeps.errors import SpecError
    from sweeps.spec.presets import preset as named
    from sweeps.spec.toml import read

    if preset is not None and spec is not None:
        raise SpecError(f"got --preset {preset} and the spec {spec}; give one of them")
    if spec is not None:
        return read(spec)
    return None if preset is None else named(preset)


def _changes(items: list[str]) -> dict[str, Any]:
    from sweeps.errors import SpecError

    changes: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise SpecError(f"--set: got {item!r}; write KEY=VALUE, for example search.trials=50")
        try:
            changes[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            changes[key] = text  # an unquoted string, as people type it
    return changes


def main() -> None:
    """Run the command line; expected errors become one line and an exit code."""
    from sweeps.cli.exit_codes import exit_code_of

    sys.exit(exit_code_of(app))
