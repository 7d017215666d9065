"""The command line: run, create, launch, worker, spec and doctor; it collects the commands of the other files.

Exit codes: 0 done; 1 expected failure, one line; 2 usage; 3 no result yet; 130 and 143 interrupted.
Commands import what they need when they run, so that `--help` and the reading commands start in a fraction of a second.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from sweeps.cli import judge, options, results, steering, streams
from sweeps.cli.options import storage_url
from sweeps.errors import SpecError, SweepError
from sweeps.extensions import COMMANDS, load, names
from sweeps.hints import local
from sweeps.terminal import say, show

if TYPE_CHECKING:
    import sqlalchemy

    from sweeps.spec.model import Spec
    from sweeps.usecases.create import Created, SpecRequest

_SUMMARY = 55  # characters, so that the lines of --help fit into 80 columns

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Run": ("run", "create", "launch", "worker"),
    "Watch": ("status", "dashboard", "workers", "logs", "list"),
    "Answer": ("best", "report", "trials", "compare", "judge", "replay"),
    "Steer": ("pause", "resume", "cancel", "extend", "retry", "reap", "delete"),
    "Share": ("export", "archive", "import", "verify", "serve"),
    "Set up": ("spec", "data", "check-loss", "doctor", "database", "storage"),
}
"""The commands of this package in the order of --help, grouped by purpose."""


class _Commands(TyperGroup):
    """The commands of this package and of other packages; the latter are imported only when needed."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of that name, or None."""
        ours = super().get_command(ctx, cmd_name)
        if ours is not None:
            return ours
        try:
            return typer.main.get_command(_app_of(cmd_name))
        except KeyError:
            return None

    def list_commands(self, ctx: Any) -> list[str]:
        """Return all names, for completion."""
        return [name for group in self._groups().values() for name in group]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the groups of --help, with the summaries of all groups in one column."""
        groups = self._groups()
        width = max(len(name) for group in groups.values() for name in group)
        for title, group in groups.items():
            commands = [(name, self.get_command(ctx, name)) for name in group]
            if commands:
                with formatter.section(title):
                    formatter.write_dl(
                        [(f"{name:<{width}}", command.get_short_help_str(_SUMMARY)) for name, command in commands]
                    )

    def _groups(self) -> Mapping[str, Sequence[str]]:
        others = []
        for name in names("commands"):
            if name not in self.commands:
                try:
                    _app_of(name)
                except SweepError as error:  # a broken package loses its own command; --help still works
                    say(f"not listed: {error}")
                else:
                    others.append(name)
        return {**GROUPS, "Of other packages": others}


def _app_of(name: str) -> typer.Typer:
    commands = load("commands", name)
    if not isinstance(commands, typer.Typer):
        raise SweepError(f"the command {name} of another package is a {type(commands).__name__}, not a typer.Typer")
    return commands


app = typer.Typer(
    name="kd-sweeps",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (results.app, judge.app, steering.app, *(load("commands", name) for name in COMMANDS)):
    app.add_typer(part)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"kd-sweeps {version('kd-sweeps')}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Tune temperature and alpha of knowledge distillation, and find out whether the tuned values carry over."""


@app.command()
@options.with_spec_options(options.SpecOption)
def run(
    name: options.NewName,
    request: "SpecRequest",
    dry_run: options.DryRun = False,
    verbose: options.Verbose = False,
    workers: options.Workers = None,
    storage: options.Storage = None,
    data: options.Data = None,
    weights: options.Weights = None,
) -> None:
    """Create a sweep if needed, run it and print its report.

    An interrupted run resumes where it stopped; a finished sweep prints its report at once.

    Examples: kd-sweeps run tiny --preset tiny; kd-sweeps run mine --dataset ./photos --size 32x32
    """
    from sweeps.usecases.create import requested
    from sweeps.usecases.run import run_sweep

    options.use_folders(data, weights)
    url = storage_url(storage)
    wanted = requested(url, name, request, command="run")
    if dry_run:
        _plan(url, name, wanted, data=data, dry_run=True, verbose=verbose)
        return
    raise typer.Exit(run_sweep(url, name, wanted, workers=workers, data_dir=data, verbose=verbose))


@app.command()
@options.with_spec_options(options.SpecFile)
def create(
    name: options.NewName,
    request: "SpecRequest",
    dry_run: options.DryRun = False,
    verbose: options.Verbose = False,
    storage: options.Storage = None,
    data: options.Data = None,
) -> None:
    """Create a sweep with all its tasks; start nothing.

    Creating it again changes nothing.

    Example: kd-sweeps create mnist-kd --preset full --trials 100
    """
    from sweeps.usecases.create import needed_elsewhere, requested

    options.use_folders(data)
    url = storage_url(storage)
    created = _plan(url, name, requested(url, name, request), data=data, dry_run=dry_run, verbose=verbose)
    if dry_run:
        return
    say(f"created: {name}. Next:" if created.new else f"{name} exists already; nothing changed. Next:")
    for line in [*next_commands(name, url), *needed_elsewhere(created.spec)]:
        say(f"  {line}")


def _plan(
    url: "sqlalchemy.URL", name: str, request: "Spec", *, data: Path | None, dry_run: bool, verbose: bool
) -> "Created":
    """Create a sweep, or only describe it; print its plan."""
    from sweeps.usecases.create import create_sweep, describe_details, describe_plan

    created = create_sweep(url, name, request, data_dir=data, dry_run=dry_run)
    details = describe_details(created.spec, created.plan) if verbose else []
    show("\n".join([*describe_plan(created.spec, created.plan, url, created.data_lines), *details]))
    if dry_run:
        say("dry run: nothing written; to create it, repeat without --dry-run")
    return created


def next_commands(name: str, url: "sqlalchemy.URL") -> list[str]:
    """Return the commands to type after `create`, each after its purpose; none contains a password.

    The purpose is no comment behind the command: an interactive zsh takes that for arguments.
    """
    from storage.url import has_password, masked, sqlite_path

    if has_password(url):
        bare = replace(local(), storage="")
        return [
            f"workers on this machine: {bare.line('launch', name)}",
            f"one more worker, wherever KD_SWEEPS_STORAGE holds this URL: {bare.line('worker', name)}",
            f"live page, with a link to optuna-dashboard: {bare.line('dashboard', name)}",
        ]
    elsewhere = replace(local(), storage=masked(url))
    where = "on any machine"
    if url.get_backend_name() == "sqlite":
        where = "on this machine" if sqlite_path(url).is_absolute() else "in this folder"
    return [
        f"workers on this machine: {local().line('launch', name)}",
        f"one more worker, {where}: {elsewhere.line('worker', name)}",
        f"live page: {local().line('dashboard', name)}; or: optuna-dashboard {quote(url.render_as_string())}",
    ]


@app.command()
def launch(
    name: options.SweepName,
    more: options.EngineOptions = None,
    workers: options.Workers = None,
    on: options.On = "local",
    gpus: options.Gpus = None,
    dry_run: options.ShowScript = False,
    detach: options.Detach = False,
    storage: options.Storage = None,
    url: options.Service = None,
    data: options.Data = None,
    weights: options.Weights = None,
) -> None:
    """Start workers for a sweep and keep them alive.

    Workers run on this machine or on a cluster. Ctrl-C is safe: running tasks go back to the queue, and the next launch
    resumes.

    Example: kd-sweeps launch mnist-kd --on slurm --workers 16 -- --partition=main --time=4:00:00
    """
    from sweeps.launch import launcher
    from sweeps.launch.engine import Request
    from sweeps.spec.stored import check_name
    from sweeps.usecases.run import launch as start
    from sweeps.workers.reach import label

    options.use_folders(data, weights)
    check_name(name)
    reach = options.reach_of(storage, url)
    say(label(reach))
    request = Request(reach, name, more or (), options.devices(gpus))
    if dry_run:
        print(launcher.script_of(request, on, workers=workers), end="")
        return
    if detach:
        for line in launcher.submit(request, on, workers=workers):
            say(line)
        return
    code = start(request, on, workers=workers)
    if code == 0:
        say(f"finished. Next: {local().line('best', name)}; {local().line('report', name)}")
    raise typer.Exit(code)


@app.command()
def worker(
    name: options.SweepName,
    storage: options.Storage = None,
    url: options.Service = None,
    data: options.Data = None,
    weights: options.Weights = None,
) -> None:
    """Run one worker in this process, on any machine.

    Needs the storage URL, or a service and a token with the role worker. Exits when no task is left.
    """
    from kd.tools import processes
    from sweeps.spec.stored import check_name
    from sweeps.workers.environment import one_thread
    from sweeps.workers.logs import LOG_VARIABLE, worker_log
    from sweeps.workers.reach import label, log_folder, secret_of

    options.use_folders(data, weights)
    check_name(name)
    one_thread()
    reach = options.reach_of(storage, url)
    launched = os.environ.get(LOG_VARIABLE)  # its output goes to a file already
    path = None if launched else log_folder(reach, name) / f"worker-{os.getpid()}.log"
    say(label(reach) + (f"; library output goes to {path}" if path else ""))
    with worker_log(path, secret_of(reach)), processes.temporary_folder() as folder, processes.set_tempdir(folder):
        from sweeps.usecases.work import work

        code = work(reach, name, log_file=Path(launched) if launched else path)
    raise typer.Exit(code)


@app.command()
def spec(
    preset: options.PresetName = None,
    train: options.Train = None,
) -> None:
    """Print a preset as TOML, to edit.

    With --train: a spec to start from, with a search space guessed from your function's arguments.

    Example: kd-sweeps spec full > my.toml; kd-sweeps create mnist-kd my.toml
    """
    from sweeps.spec.stored import to_toml
    from sweeps.usecases.create import preset as named
    from sweeps.usecases.create import started_from

    if preset is not None and train is not None:
        raise SpecError(f"got the preset {preset} and --train {train}; give one of them")
    print(to_toml(named(preset or "quick") if train is None else started_from(train)), end="")


@app.command()
def doctor(storage: options.Storage = None, data: options.Data = None) -> None:
    """Check that this machine has everything a sweep needs."""
    from sweeps.usecases.doctor import examine

    checks = examine(options.storage_url(storage), data)
    # Two spaces or more: `show` wraps a long line below the text that follows them.
    show("\n".join(f"{check.level:<4}  {check.name:<15}  {check.text}" for check in checks))
    raise typer.Exit(1 if any(check.level == "fail" for check in checks) else 0)


def main() -> None:
    """Run the command line; an expected error becomes one line and an exit code."""
    streams.prepare()
    streams.run_and_exit(app)
