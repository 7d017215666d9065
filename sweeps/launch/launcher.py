"""Launch workers until a sweep is finished, or submit them; choose the engine by name."""

import contextlib
import os
import shlex
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType

import sqlalchemy
from rich.console import Console

from storage.db.engine import most_connections
from storage.url import masked
from sweeps.errors import SpecError, SweepError
from sweeps.extensions import load, names, require, trainer_extra
from sweeps.hints import local
from sweeps.launch.engine import Engine, Request, Submitter, WorkerHandle
from sweeps.launch.oversight import DatabaseOversight, overseen
from sweeps.launch.progress import live_progress
from sweeps.launch.supervisor import MOST_QUICK, Supervisor
from sweeps.plan import trials
from sweeps.terminal import escape_control_chars, number_of, wrap
from sweeps.workers.reach import Reach, Service
from sweeps.workers.worker import refuse_cancelled

MOST_WORKERS = 1_000  # per launch: more is a typing error that the machine would not survive
_OWN_CONNECTIONS = 3  # of the launch: queries, listener, mirror
_POLL_S = 0.5
_CALM_S = 0.05  # least interval of waking: a search of short trainings makes a hundred tasks ready in a second


def refuse(name: str, request: Request) -> None:
    """Check a request to an engine before anything is started.

    SpecError: unknown engine, or options that it does not take. SweepError: its workers could not reach the storage.
    """
    if name not in names("engines"):
        raise SpecError(f"--on: got {name!r}; allowed: {', '.join(names('engines'))}")
    if name == "local":
        if request.options:
            raise SpecError(f"got {' '.join(request.options)!r} after --; only Slurm and Ray take such options")
        return
    if request.gpus:
        raise SpecError(f"--gpus needs --on local; with {name}, give its own options for GPUs after --")
    if not isinstance(request.url, Service) and request.url.get_backend_name() == "sqlite":
        raise SweepError(
            f"--on {name}: workers on other machines cannot reach {masked(request.url)}, a file on this one; use a"
            f" service in front of it, --url https://HOST, or"
            f" Postgres: {local().line('launch', request.sweep, f'--on {name}', '--storage postgresql://USER@HOST/DB')}"
        )


def engine_of(name: str, request: Request) -> Engine:
    """Return the engine of that name, or raise as `refuse`; that of Ray connects first, which takes seconds."""
    refuse(name, request)
    engine: Engine = load("engines", name)(request)
    return engine


def launch(request: Request, on: str, *, workers: int | None = None, stays: bool = False) -> int:
    """Run workers of an engine until a sweep is finished, with progress on stderr.

    Return 0 if every needed stage is done, 1 if one failed or was skipped, 128 + signal if stopped before the end.
    Dead workers are replaced. Stopping loses nothing: running tasks are released, and the next launch resumes. workers:
    1 to 1,000; None: one per device, or per core. Without a device each has one thread. stays: this process outlives
    the launch, as a notebook does: a second Ctrl-C then ends only the workers. SpecError: the engine does not take the
    request. SweepError: workers died in a row, or the sweep is cancelled. MissingExtra: packages of the trainer are not
    installed here.
    """
    refuse(on, request)
    if on != "local":  # the trainer's packages are needed on the workers' machines only
        require("train", f"launch --on {on}")
    count = number_of_workers(on, request, workers)
    chosen = engine_of(on, request)
    command = relaunch_command(on, request, workers, count)
    console = Console(stderr=True)

    def say(text: str) -> None:
        # No markup: a reason or a name may contain brackets.
        wide = console.width if console.is_terminal else None
        console.print(wrap(escape_control_chars(text), wide), highlight=False, soft_wrap=True, markup=False)

    with overseen(request.url, request.sweep) as queue:
        name, outlook = queue.name, queue.outlook()
        refuse_cancelled(name, outlook.state)
        if on == "local":
            require(trainer_extra(queue.spec.trainer.kind), "launch")
        if outlook.state == "paused":
            say(f"{name} is paused: workers wait. To resume: {local().line('resume', name)}")
        supervisor = Supervisor(queue, on=chosen, say=say, relaunch_command=command)
        started = count if outlook.unended else 0
        if isinstance(queue, DatabaseOversight):
            _check_connections(queue.engine, started, each=1 if on == "local" else 2)
        with mirrored(request.url, name):
            received = _supervised(supervisor, started, console, stays=stays)
        if received:
            say(f"stopped; nothing is lost. To resume: {command}")
            return 128 + received
        _check_ended(supervisor)
        problems = queue.failures()
    for line in problems:
        say(line)
    if problems:
        say(f"to retry: {local().retry_and_launch(name)}")
    return 1 if problems else 0


def mirrored(reach: Reach, name: str) -> contextlib.AbstractContextManager[None]:
    """Draw the trials of a sweep while the block runs, unless a service does."""
    return contextlib.nullcontext() if isinstance(reach, Service) else trials.mirroring(reach, [name])


def _check_connections(engine: sqlalchemy.Engine, workers: int, *, each: int) -> None:
    """Raise SweepError if the server does not allow enough connections for so many workers."""
    most = most_connections(engine)
    if most is None or workers * each + _OWN_CONNECTIONS <= most:
        return
    fit = (most - _OWN_CONNECTIONS) // each
    raise SweepError(
        f"--workers: got {workers}; {masked(engine.url)} gives {most} connections, which is enough for {fit}"
        f" ({each} for each worker, {_OWN_CONNECTIONS} for the launch); type --workers {fit}, or raise max_connections"
        " of the server"
    )


def _check_ended(supervisor: Supervisor) -> None:
    left = supervisor.queue.outlook()
    if left.unended:
        quick = f"{MOST_QUICK} workers in a row died at start"
        why = quick if supervisor.gave_up else "all workers have exited"
        raise SweepError(f"{why}, and {supervisor.queue.name} is not finished; nothing is lost. {supervisor.help()}")
    refuse_cancelled(supervisor.queue.name, left.state)


def relaunch_command(on: str, request: Request, workers: int | None, count: int) -> str:
    """Return the command that resumes with the same workers, which on a cluster or on devices must be named."""
    words = [] if on == "local" else [f"--on {on}"]
    if request.gpus:
        words.append(f"--gpus {','.join(request.gpus)}")
    if words and (workers is not None or on != "local"):
        words.append(f"--workers {count}")
    line = local().line("launch", request.sweep, *words)
    return f"{line} -- {shlex.join(request.options)}" if request.options else line


def number_of_workers(on: str, request: Request, workers: int | None) -> int:
    """Return the number of workers: by default one per device, else one per core."""
    if workers is None:
        if on != "local":  # the cores of this machine say nothing about those of a cluster
            raise SpecError(f"--on {on}: give the number of workers, for example --workers 8")
        workers = len(request.gpus) or _cores()
    if not 1 <= workers <= MOST_WORKERS:
        raise SweepError(f"--workers: got {workers}; allowed: 1 to {MOST_WORKERS}")
    return workers


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS; a container or taskset may restrict the cores
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _supervised(supervisor: Supervisor, count: int, console: Console, *, stays: bool) -> int:
    """Supervise workers until none is left; return the signal that ended it, or 0."""

    def at_work() -> int:
        return sum(worker.lived_s > 0 for worker in supervisor.alive)

    with (
        _signals(supervisor, stays=stays) as stop,
        supervisor.queue.listen(threading.Event()) as listener,
        live_progress(supervisor.queue, console, at_work) as refresh,
    ):
        try:
            supervisor.start(range(count))
            due = time.monotonic() + _POLL_S
            while supervisor.working and not stop.number:
                listener.wait(most_s=_POLL_S)
                supervisor.wake()
                if time.monotonic() < due:
                    time.sleep(_CALM_S)
                    continue
                due = time.monotonic() + _POLL_S
                refresh()
                supervisor.tick()
        finally:  # no worker is left behind
            if supervisor.alive:
                supervisor.stop_replacing()
                _end(supervisor, signalled=stop.signalled)
    return stop.number


@dataclass
class _Stop:
    """The signal that a launch received, 0 if none, and the workers it was passed on to."""

    number: int = 0
    signalled: list[WorkerHandle] = field(default_factory=list)


@contextlib.contextmanager
def _signals(supervisor: Supervisor, *, stays: bool) -> Iterator[_Stop]:
    """Pass SIGTERM and Ctrl-C on to the workers at once, even during a wait."""
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
    """Ask every worker to release its task, and kill those that do not; `signalled` ones were asked already."""
    for worker in supervisor.alive:
        if worker.code is None and not any(worker is other for other in signalled):
            worker.send(signal.SIGTERM)
    deadline = time.monotonic() + supervisor.on.stop_s
    for worker in supervisor.alive:
        while worker.code is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if worker.code is None:
            worker.kill()  # its lease lapses, which frees the task
        worker.end_children()


def script_of(request: Request, on: str, *, workers: int | None) -> str:
    """Return the script that a launch would submit, without submitting it. Raises as `launch`."""
    chosen = _submitting("--dry-run", request, on)
    return chosen.script(range(number_of_workers(on, request, workers)))


def submit(request: Request, on: str, *, workers: int | None) -> list[str]:
    """Submit workers without a launch; return the lines to print. Raises as `launch`."""
    chosen = _submitting("--detach", request, on)
    count = number_of_workers(on, request, workers)
    name = request.sweep
    with overseen(request.url, name) as queue:
        outlook = queue.outlook()
        refuse_cancelled(name, outlook.state)
        if not outlook.unended:
            raise SweepError(f"{name} is finished; see: {local().line('best', name)}")
    array = chosen.detach(range(count))
    return [
        f"submitted {number_of(count, 'worker')} as Slurm job {array}; the launch need not keep running. Next:",
        f"  progress: {local().line('status', name)}",
        f"  their logs: {local().line('logs', name)}",
        f"  stop them, and return their tasks to the queue: scancel {array}",
    ]


def _submitting(option: str, request: Request, on: str) -> Submitter:
    refuse(on, request)
    chosen = engine_of(on, request) if on == "slurm" else None  # Ray's would search for its cluster
    if chosen is None or not isinstance(chosen, Submitter):
        raise SpecError(f"{option} needs --on slurm; got --on {on}")
    return chosen
