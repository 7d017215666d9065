"""Work on a sweep until nothing is left to do, then publish its answer to the dashboard."""

import os

import sqlalchemy
from rich.console import Console

from sweeps.workers import launcher


def launch(url: sqlalchemy.URL, name: str, *, workers: int | None = None, console: Console | None = None) -> int:
    """Run local worker processes until the sweep is finished; arguments, exit code and errors as `launcher.launch`."""
    launched = launcher.launch(url, name, workers=workers, console=console)
    if launched.finished_now:
        _publish(url, name)
    return launched.code


def work(url: sqlalchemy.URL, name: str) -> int:
    """Run one worker in this process; returns its exit code. A worker of `launch` leaves the publishing to it."""
    from sweeps.workers.worker import run_worker

    launched_as = os.environ.get(launcher.WORKER_VARIABLE)
    code = run_worker(url, name, worker=launched_as)
    if code == 0 and launched_as is None:
        _publish(url, name)
    return code


def _publish(url: sqlalchemy.URL, name: str) -> None:
    from sweeps.service.publish import publish  # Optuna and plotly take a second

    publish(url, name)
