"""Commands that steer a sweep, and logs. None imports TensorFlow."""

import sys
from typing import Annotated

import typer

from sweeps.cli.options import Service, Storage, SweepName, client_of, reach_of, storage_url, whole_number
from sweeps.errors import SpecError
from sweeps.hints import local
from sweeps.terminal import number_of, say

app = typer.Typer()


@app.command()
def pause(name: SweepName, storage: Storage = None, url: Service = None) -> None:
    """Start no new tasks; running tasks finish."""
    from sweeps.operations.table import PAUSE, SweepArgs

    running = client_of(storage, url).ask(PAUSE, SweepArgs(name=name)).tasks
    left = f"{number_of(running, 'running task')} will finish" if running else "no task is running"
    say(f"paused; {left}. To resume: {local().line('resume', name)}")


@app.command()
def resume(name: SweepName, storage: Storage = None, url: Service = None) -> None:
    """Resume a paused or cancelled sweep where it stopped."""
    from sweeps.operations.table import RESUME, SweepArgs

    left = client_of(storage, url).ask(RESUME, SweepArgs(name=name)).tasks
    if left:
        say(f"resumed; {number_of(left, 'task')} left. If no worker is running: {local().line('launch', name)}")
    else:
        say(f"nothing to resume: {name} is finished")


@app.command()
def cancel(name: SweepName, storage: Storage = None, url: Service = None) -> None:
    """Stop all workers of a sweep on all machines.

    Finished tasks are kept. Workers abort their current task within one lease interval (10 s by default).
    """
    from sweeps.operations.table import CANCEL, SweepArgs

    cancelled = number_of(client_of(storage, url).ask(CANCEL, SweepArgs(name=name)).tasks, "task")
    undo, remove = local().line("resume", name), local().line("delete", name)
    say(f"cancelled {cancelled}. To resume: {undo}; to delete the sweep: {remove}")


@app.command()
def extend(
    name: SweepName,
    trials: Annotated[str, typer.Option(metavar="+N", help="Trials to add while the searches are open.")] = "0",
    seeds: Annotated[str, typer.Option(metavar="+N", help="Seeds to add to every arm of the transfer.")] = "0",
    searches: Annotated[str, typer.Option(metavar="+N", help="Searches to add, from other starting points.")] = "0",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would add; write nothing.")] = False,
    storage: Storage = None,
    url: Service = None,
) -> None:
    """Add trials, seeds or searches to a sweep.

    Once the test set has been used, added seeds or searches use the next planned evaluation on it.

    Example: kd-sweeps extend mnist-kd --seeds +10
    """
    from sweeps.operations.table import EXTEND, ExtendArgs

    client = client_of(storage, url)
    args = ExtendArgs(
        name=name,
        trials=_number("--trials", trials),
        seeds=_number("--seeds", seeds),
        searches=_number("--searches", searches),
        dry_run=True,
    )
    planned = client.ask(EXTEND, args)
    say(planned.look)
    if dry_run:
        say(f"dry run: nothing written; it would add {number_of(planned.tasks, 'task')}")
        return
    added = client.ask(EXTEND, args.model_copy(update={"dry_run": False}))
    say(f"{number_of(added.tasks, 'task')} added. Next: {local().line('launch', name)}")


@app.command()
def retry(name: SweepName, storage: Storage = None, url: Service = None) -> None:
    """Queue failed and skipped tasks again.

    Resets their retry counters; results are kept. Unavailable tasks are queued only if their weights are here now.
    """
    from sweeps.operations.table import RETRY, TRIALS, SweepArgs, TrialsArgs
    from sweeps.plan.phases import UNAVAILABLE

    client = client_of(storage, url)
    keys = client.ask(RETRY, SweepArgs(name=name)).tasks
    for key in keys:
        print(key)
    if keys:
        say(f"{number_of(len(keys), 'task')} will run again. Next: {local().line('launch', name)}")
        return
    rows = client.ask(TRIALS, TrialsArgs(name=name))
    lacking = [f"; {row.task} is unavailable: {row.reason}" for row in rows if row.state == UNAVAILABLE]
    say(" ".join("".join(["nothing has failed", *lacking]).split()))


@app.command()
def reap(name: SweepName, storage: Storage = None) -> None:
    """Free the tasks of dead workers now.

    Also adds missing trials to the dashboard. Workers and launches do both themselves; use it when none is left.
    """
    from sweeps.usecases.steering import reap_now

    freed, drawn = reap_now(storage_url(storage), name)
    for key, attempt, worker in freed:
        print(f"{key} attempt {attempt} of {worker}")
    say(f"{number_of(len(freed), 'task')} freed, {number_of(drawn, 'trial')} added to the dashboard")


@app.command()
def delete(
    name: SweepName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation.")] = False,
    storage: Storage = None,
) -> None:
    """Delete a sweep with its studies and results.

    Refused while workers run its tasks.
    """
    from storage.url import masked
    from sweeps.query.listing import open_sweep
    from sweeps.usecases.steering import delete

    url = storage_url(storage)
    with open_sweep(url, name):
        pass  # ask only about a sweep that exists
    if not yes:
        if not sys.stdin.isatty():
            raise SpecError(
                f"this would delete all results of {name}; to confirm: {local().line('delete', name, '--yes')}"
            )
        if not typer.confirm(f"Delete all results of {name} from {masked(url)}?", err=True):
            say("nothing was deleted")
            raise typer.Exit(1)
    deleted = delete(url, name)
    counts = f"{number_of(deleted.tasks, 'task')}, {deleted.studies} studies, {number_of(deleted.blobs, 'blob')}"
    say(f"deleted {name}: {counts} ({deleted.bytes / 1e6:.1f} MB)")


@app.command()
def logs(
    name: SweepName,
    task: Annotated[str | None, typer.Option(metavar="KEY", help="Log of this task, from any machine.")] = None,
    attempt: Annotated[str, typer.Option(metavar="N", help="With --task: only this attempt.")] = "",
    follow: Annotated[bool, typer.Option("--follow", help="With --task: follow until the attempt ends.")] = False,
    lines: Annotated[
        str, typer.Option("-n", "--lines", metavar="N", help="Only the last lines (default: 20 of each worker).")
    ] = "",
    storage: Storage = None,
    url: Service = None,
) -> None:
    """Show the logs of workers, or of one task.

    Workers: only those of this machine. A task: from any machine.

    Examples: kd-sweeps logs mnist-kd; kd-sweeps logs mnist-kd --task search#3 --follow
    """
    from sweeps.spec.tables import MOST
    from sweeps.usecases import logs

    count = whole_number("--lines", lines, least=0, most=MOST, example="50") if lines else None
    number = whole_number("--attempt", attempt, least=1, most=MOST, example="2") if attempt else None
    if task is None:
        if follow or number:
            line = local().line("logs", name, "--task KEY --follow")
            raise SpecError(f"--attempt and --follow need --task, for example: {line}")
        print("\n".join(logs.latest(reach_of(storage, url), name, 20 if count is None else count)))
    elif follow:
        for text in client_of(storage, url).follow(name, task, attempt=number, lines=count):
            print(text, flush=True)
    else:
        print("\n".join(client_of(storage, url).log(name, task, attempt=number, lines=count)))


def _number(option: str, text: str) -> int:
    from sweeps.spec.tables import MOST

    return whole_number(option, text, least=0, most=MOST, example="+10")
