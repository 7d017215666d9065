"""Work on a sweep until nothing is left to do, then publish its answer to the dashboard."""

import os
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy
from rich.console import Console

from sweeps.engines import launcher
from sweeps.engines.local import WORKER_VARIABLE
from sweeps.engines.protocol import Request
from sweeps.engines.slurm_script import DETACHED_VARIABLE


def launch(
    url: sqlalchemy.URL,
    name: str,
    *,
    workers: int | None = None,
    on: str = "local",
    options: Sequence[str] = (),
    gpus: Sequence[str] = (),
    console: Console | None = None,
    stays: bool = False,
) -> int:
    """Run workers until the sweep is finished; exit code and errors as `launcher.launch`.

    Args:
        on: the engine. options, gpus: for it, see `sweeps.engines.protocol.Request`.
        stays: see `launcher.launch`.
    """
    launched = launcher.launch(Request(url, name, options, gpus), on, workers=workers, console=console, stays=stays)
    if launched.finished:  # by whom does not matter: who finished it may have been killed before he published
        _publish(url, name)
    return launched.code


def work(url: sqlalchemy.URL, name: str, *, log_file: Path | None = None) -> int:
    """Run one worker in this process; returns its exit code.

    A worker of `launch` leaves the publishing to it, unless that has gone.

    Args:
        log_file: that the output of this process goes to; None: it does not go to a file.
    """
    from sweeps.workers import leash
    from sweeps.workers.worker import run_worker

    leash.hold()
    launched_as, parent = os.environ.get(WORKER_VARIABLE), os.getppid()
    alone = launched_as is None or DETACHED_VARIABLE in os.environ
    code = run_worker(url, name, worker=launched_as, log_file=log_file)
    if code == 0 and (alone or os.getppid() != parent):
        _publish(url, name)
    return code


def _publish(url: sqlalchemy.URL, name: str) -> None:
    from sweeps.service.publish import publish  # Optuna and plotly take a second

    publish(url, name)
