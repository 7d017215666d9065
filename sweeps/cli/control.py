"""The commands that steer a sweep from outside, and the workers' logs. None of them imports TensorFlow."""

import sys
from typing import Annotated

import typer

from sweeps.cli.options import Storage, SweepName
from sweeps.terminal import program, say

app = typer.Typer()


@app.command()
def pause(name: SweepName, storage: Storage = None) -> None:
    """Give out no more tasks; those at work are finished."""
    from storage.url import resolve
    from sweeps.service.control import pause

    running = pause(resolve(storage), name)
    say(f"paused; {running} tasks at work are finished first. To go on: {program()} resume {name}")


@app.command()
def resume(name: SweepName, storage: Storage = None) -> None:
    """Go on after pause or cancel, where it was."""
    from storage.url import resolve
    from sweeps.service.control import resume

    left = resume(resolve(storage), name)
    say(f"active; {left} tasks are left. If no worker is waiting: {program()} launch {name}")


@app.command()
def cancel(name: SweepName, storage: Storage = None) -> None:
    """Stop all workers of a sweep, wherever they are.

    What is done stays done. A worker drops what it is at within one lease interval (10 s by default).
    """
    from storage.url import resolve
    from sweeps.service.control import cancel

    taken = cancel(resolve(storage), name)
    say(f"cancelled: {taken} tasks. To go on where it was: {program()} resume {name}; to remove it: delete {name}")


@app.command()
def extend(
    name: SweepName,
    trials: Annotated[str, typer.Option(metavar="+N", help="More trials, while the searches are open.")] = "0",
    seeds: Annotated[str, typer.Option(metavar="+N", help="More seeds for every arm of transfer.")] = "0",
    storage: Storage = None,
) -> None:
    """Add trials or seeds to a sweep.

    Example: kd-sweeps extend mnist-kd --seeds +10
    """
    from storage.url import resolve
    from sweeps.service.control import extend

    added = extend(resolve(storage), name, trials=_number("--trials", trials), seeds=_number("--seeds", seeds))
    say(f"{added} tasks added. Next: {program()} launch {name}")


@app.command()
def retry(name: SweepName, storage: Storage = None) -> None:
    """Let failed tasks wait again, and those that were skipped because of them.

    Their attempts so far count no more. A result that was stored stays.
    """
    from storage.url import resolve
    from sweeps.service.control import retry

    again = retry(resolve(storage), name)
    for key in again:
        print(key)
    say(f"{len(again)} tasks wait again. Next: {program()} launch {name}" if again else "nothing has failed")


@app.command()
def reap(name: SweepName, storage: Storage = None) -> None:
    """Free the tasks of dead workers now, and complete Optuna's trials.

    Workers do so by themselves; this is for when none is left.
    """
    from storage.url import resolve
    from sweeps.service.control import reap_now

    freed, told = reap_now(resolve(storage), name)
    for key, attempt, worker in freed:
        print(f"{key} attempt {attempt} of {worker}")
    say(f"{len(freed)} tasks freed, {told} trials completed")


@app.command()
def delete(
    name: SweepName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    storage: Storage = None,
) -> None:
    """Remove a sweep with its studies and results. Refused while workers are at it."""
    from storage.url import masked, resolve
    from sweeps.errors import SpecError
    from sweeps.service.control import delete

    url = resolve(storage)
    if not yes:
        if not sys.stdin.isatty():
            raise SpecError(f"delete removes every result of {name}; to do that without being asked, add --yes")
        typer.confirm(f"Remove every result of {name} from {masked(url)}?", abort=True, err=True)
    gone = delete(url, name)
    say(f"deleted {name}: {gone.tasks} tasks, {gone.studies} studies, {gone.blobs} blobs ({gone.bytes / 1e6:.1f} MB)")


@app.command()
def logs(
    name: SweepName,
    task: Annotated[str | None, typer.Option(metavar="KEY", help="Only what was logged about this task.")] = None,
    lines: Annotated[str, typer.Option("-n", "--lines", metavar="N", help="Lines per worker, the last ones.")] = "20",
    storage: Storage = None,
) -> None:
    """What the workers on this machine wrote.

    Example: kd-sweeps logs mnist-kd --task search#3
    """
    from storage.url import resolve
    from sweeps.service.logs import about_task, latest

    print(
        "\n".join(latest(name, _number("--lines", lines)) if task is None else about_task(resolve(storage), name, task))
    )


def _number(option: str, text: str) -> int:
    from sweeps.errors import SpecError

    # Not Typer's int: its message does not say what it got.
    if not text.removeprefix("+").isdecimal():
        raise SpecError(f"{option}: got {text!r}; allowed: a whole number, for example {option} +10")
    return int(text)
