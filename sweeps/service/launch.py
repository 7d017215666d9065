"""Work on a sweep until nothing is left to do, then publish its answer to the dashboard."""

import os
from pathlib import Path

import sqlalchemy
from rich.console import Console

from sweeps.engines import launcher
from sweeps.engines.local import WORKER_VARIABLE


def launch(url: sqlalchemy.URL, name: str, *, workers: int | None = None, console: Console | None = None) -> int:
    """Run local worker processes until the sweep is finished; arguments, exit code and errors as `launcher.launch`."""
    launched = launcher.launch(url, name, workers=workers, console=console)
    if launched.finished:  # by whom does not matter: who finished it may have been killed before he published
        _publish(url, name)
    return launched.code


def work(url: sqlalchemy.URL, name: str, *, log_file: Path | None = None) -> int:
    """Run one worker in this process; returns its exit code.

    A worker of `launch` leaves the publishing to it, unless that has gone.

    Args:
        log_file: that the output of this process goes to; None: it does not go to a file.
    """
    from sweeps.workers.worker import run_worker

    launched_as, parent = os.environ.get(WORKER_VARIABLE), os.getppid()
    code = run_worker(url, name, worker=launched_as, log_file=log_file)
    if code == 0 and (launched_as is None or os.getppid() != parent):
        _publish(url, name)
    return code


def _publish(url: sqlalchemy.URL, name: str) -> None:
    from sweeps.service.publish import publish  # Optuna and plotly take a second

    publish(url, name)
