"""Launch until finished, or submit and leave; choose the engine by name."""

import contextlib
import os
import shlex
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType

import sqlalchemy
from rich.console import Console

from storage.records import queries
from storage.studies import reconcile
from storage.url import masked
from sweeps.errors import SpecError, SweepError
from sweeps.extensions import load, names, require, trainer_extra
from sweeps.hints import local
from sweeps.launch.engine import Engine, Request, Submitter, WorkerHandle
from sweeps.launch.progress import shown
from sweeps.launch.supervisor import MOST_QUICK, Supervisor
from sweeps.query import listing, status
from sweeps.spec.stored import stored_spec, trainer_of
from sweeps.terminal import escape_control_chars, number_of, wrap
from sweeps.workers.worker import refuse_cancelled

MOST_WORKERS = 1_000  # of one launch: more is a slip of the keyboard, and the machine would not survive it
_POLL_S = 0.5


def refuse(name: str, request: Request) -> None:
    """Raise what is wrong with what was asked of an engine, before anything is started or reached.

    SpecError: it is none, or does not take that. SweepError: its workers would run where they cannot reach the storage.
    """
    if name not in names("engines"):
        raise SpecError(f"--on: got {name!r}; allowed: {', '.join(names('engines'))}")
    if name == "local":
        if request.options:
            raise SpecError(f"got {' '.join(request.options)!r} after --; only Slurm and Ray take such options")
        return
    if request.gpus:
        raise SpecError(f"--gpus needs --on local; with {name}, give its own options for GPUs after --")
    if request.url.get_backend_name() == "sqlite":
        raise SweepError(
            f"--on {name}: workers on other machines cannot reach {masked(request.url)}, a file on this one;"
            f" use Postgres: {local().line('launch', request.sweep, f'--on {name}', '--storage postgresql://USER@HOST/DB')}"
        )


def engine_of(name: str, request: Request) -> Engine:
    """Return the engine of that name, or raise as `refuse`; the one of Ray is connected first, which takes seconds."""
    refuse(name, request)
    engine: Engine = load("engines", name)(request)
    return engine


@dataclass(frozen=True)
class Launched:
    """How a launch ended.

    code: 0 when every needed stage is done; 1 when one failed or was skipped; 128 + signal when stopped.
    finished: nothing of the sweep is left to do.
    """

    code: int
    finished: bool


def launch(request: Request, on: str, *, workers: int | None = None, stays: bool = False) -> Launched:
    """Work on a sweep with the workers of an engine until it is finished, showing progress on stderr.

    A worker that dies is replaced. Stopping loses nothing: running tasks are given back, and the next launch goes on.
    workers: 1 to 1,000; None is one per device, or per core. Without a device each has one thread. stays: this process
    goes on after the launch, as a notebook does: a second Ctrl-C ends the workers at once, and not this process.
    SpecError: the engine does not take what was asked. SweepError: workers died one after the other, or the sweep is
    cancelled. MissingExtra: packages that its trainer needs are not installed here.
    """
    refuse(on, request)
    if on != "local":  # what trains is on the machines of its workers
        require("train", f"launch --on {on}")
    count = number_of_workers(on, request, workers)
    chosen = engine_of(on, request)
    command = relaunch_command(on, request, workers, count)
    console = Console(stderr=True)

    def say(text: str) -> None:
        # No markup: a reason or a name may hold brackets.
        wide = console.width if console.is_terminal else None
        console.print(wrap(escape_control_chars(text), wide), highlight=False, soft_wrap=True, markup=False)

    with listing.open_sweep(request.url, request.sweep, write=True) as (engine, sweep):
        refuse_cancelled(sweep.name, sweep.state)
        if on == "local":
            require(trainer_extra(trainer_of(sweep)), "launch")
        if sweep.state == "paused":
            say(f"{sweep.name} is paused: workers wait. To resume: {local().resume(sweep.name)}")
        supervisor = Supervisor(engine, sweep, stored_spec(sweep), on=chosen, say=say, relaunch_command=command)
        started = count if queries.outlook(engine, sweep.id).unended else 0
        received = _supervised(supervisor, started, console, stays=stays)
        if received:
            say(f"stopped; nothing is lost. To resume: {command}")
            return Launched(128 + received, finished=False)
        _complete_trials(engine, sweep.id)
        _check_ended(supervisor)
        problems = status.failures(engine, sweep.id)
    for line in problems:
        say(line)
    if problems:
        say(f"to retry: {local().retry_and_launch(sweep.name)}")
    return Launched(1 if problems else 0, finished=True)


def _check_ended(supervisor: Supervisor) -> None:
    left = queries.outlook(supervisor.engine, supervisor.sweep.id)
    if left.unended:
        quick = f"{MOST_QUICK} workers in a row died at start"
        why = quick if supervisor.gave_up else "all workers have exited"
        raise SweepError(f"{why}, and {supervisor.sweep.name} is not finished; nothing is lost. {supervisor.help()}")
    refuse_cancelled(supervisor.sweep.name, left.state)


def relaunch_command(on: str, request: Request, workers: int | None, count: int) -> str:
    """Return what to type to go on with the same workers: on a cluster or on devices others may find no room."""
    words = [] if on == "local" else [f"--on {on}"]
    if request.gpus:
        words.append(f"--gpus {','.join(request.gpus)}")
    if words and (workers is not None or on != "local"):
        words.append(f"--workers {count}")
    line = local().line("launch", request.sweep, *words)
    return f"{line} -- {shlex.join(request.options)}" if request.options else line


def number_of_workers(on: str, request: Request, workers: int | None) -> int:
    """Return how many workers are started: by default one for each device, else one for each core."""
    if workers is None:
        if on != "local":  # the cores of this machine say nothing about those of a cluster
            raise SpecError(f"--on {on}: give the number of workers, for example --workers 8")
        workers = len(request.gpus) or _cores()
    if not 1 <= workers <= MOST_WORKERS:
        raise SweepError(f"--workers: got {workers}; allowed: 1 to {MOST_WORKERS}")
    return workers


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS; a container or taskset may allow fewer than there are
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _supervised(supervisor: Supervisor, count: int, console: Console, *, stays: bool) -> int:
    """Look after workers until none is left; return the signal that ended it, or 0."""

    def at_work() -> int:
        return sum(worker.lived_s > 0 for worker in supervisor.alive)

    with (
        _signals(supervisor, stays=stays) as stop,
        shown(supervisor.engine, supervisor.sweep, console, at_work) as refresh,
    ):
        try:
            supervisor.start(range(count))
            while supervisor.working and not stop.number:
                time.sleep(_POLL_S)
                refresh()
                supervisor.tick()
        finally:  # whatever happens here: no worker is left behind
            if supervisor.alive:
                supervisor.stop_replacing()
                _end(supervisor, signalled=stop.signalled)
    return stop.number


def _complete_trials(engine: sqlalchemy.Engine, sweep_id: int) -> None:
    """Report what the last worker left unreported, if it was killed there: no other worker would come."""
    if not reconcile.unreported(engine, sweep_id):
        return
    from storage.studies.studies import open_studies  # Optuna takes a second

    with contextlib.closing(open_studies(engine.url)) as studies:
        reconcile.reconcile(studies, studies.engine, sweep_id)


@dataclass
class _Stop:
    """The signal that a launch has got, 0 if none, and the workers it was passed on to."""

    number: int = 0
    signalled: list[WorkerHandle] = field(default_factory=list)


@contextlib.contextmanager
def _signals(supervisor: Supervisor, *, stays: bool) -> Iterator[_Stop]:
    """Pass SIGTERM and Ctrl-C on to the workers at once, whatever we wait for."""
    stop = _Stop()

    def pass_on(number: int, frame: FrameType | None) -> None:
        stop.number = stop.number or number
        for worker in supervisor.alive:
            stop.signalled.append(worker)
            worker.send(number)
        if not stays:
            signal.signal(number, signal.SIG_DFL)  # a second Ctrl-C leaves at once

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(supervisor: Supervisor, *, signalled: Sequence[WorkerHandle]) -> None:
    """Ask every worker to give its task back, and end those that do not; `signalled` ones were asked already."""
    for worker in supervisor.alive:
        if worker.code is None and not any(worker is other for other in signalled):
            worker.send(signal.SIGTERM)
    deadline = time.monotonic() + supervisor.on.stop_s
    for worker in supervisor.alive:
        while worker.code is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if worker.code is None:
            worker.kill()  # its lease lapses, the task is free again
        worker.end_children()


def script_of(request: Request, on: str, *, workers: int | None) -> str:
    """Return the script that a launch would submit; nothing is submitted. Raises as `launch`."""
    chosen = _submitting("--dry-run", request, on)
    return chosen.script(range(number_of_workers(on, request, workers)))


def submit(request: Request, on: str, *, workers: int | None) -> list[str]:
    """Submit workers and leave them alone; return what to tell. Raises as `launch`."""
    chosen = _submitting("--detach", request, on)
    count = number_of_workers(on, request, workers)
    name = request.sweep
    with listing.open_sweep(request.url, name) as (engine, sweep):
        refuse_cancelled(name, sweep.state)
        if not queries.outlook(engine, sweep.id).unended:
            raise SweepError(f"{name} is finished; see: {local().best(name)}")
    array = chosen.detach(range(count))
    return [
        f"submitted {number_of(count, 'worker')} as Slurm job {array}; the launch need not keep running. Next:",
        f"  {local().line('status', name)}       # progress",
        f"  {local().line('logs', name)}         # their logs",
        f"  scancel {array}       # stop them; their tasks go back to the queue",
    ]


def _submitting(option: str, request: Request, on: str) -> Submitter:
    refuse(on, request)
    chosen = engine_of(on, request) if on == "slurm" else None  # that of Ray would look for its cluster
    if chosen is None or not isinstance(chosen, Submitter):
        raise SpecError(f"{option} needs --on slurm; got --on {on}")
    return chosen
