"""Run local worker processes and show their progress from the database: what is shown is what is stored."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import sqlalchemy
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from storage.db import engine as engines
from storage.errors import StorageError
from storage.queue.attempts import reap_worker
from storage.queue.error_classes import LOST
from storage.records import queries
from storage.records.queries import SweepRecord
from storage.studies import reconcile
from storage.url import absolute, plain
from sweeps.errors import SweepError
from sweeps.hints import explain, here
from sweeps.plan.tasks import STAGES
from sweeps.query.status import failures, stage_counts
from sweeps.spec.model import stored
from sweeps.workers.failures import cap_of
from sweeps.workers.logs import log_folder, read_line
from sweeps.workers.worker import refuse_cancelled, worker_id

_POLL_S = 0.5
_LINE_EVERY_S = 15.0  # where no terminal shows a bar
_STOP_S = 10.0

WORKER_VARIABLE = "KD_SWEEPS_WORKER"  # in the environment of a launched worker: its name


@dataclass(frozen=True)
class Launched:
    """How a launch ended.

    code: 0 when every needed stage is done; 1 when one failed or was skipped; 128 + signal when stopped.
    finished_now: the sweep had tasks left when this launch began, and has none now.
    """

    code: int
    finished_now: bool


@dataclass
class _Local:
    worker: str
    process: subprocess.Popen[bytes]
    log_file: Path


def launch(url: sqlalchemy.URL, name: str, *, workers: int | None = None, console: Console | None = None) -> Launched:
    """Work on a sweep with local processes until it is finished, showing progress on stderr.

    Args:
        workers: processes, >= 1; None is one per core. Each trains with one thread.

    Stopping loses nothing: running tasks are given back, and the next launch goes on.
    """
    count = _cores() if workers is None else workers
    if count < 1:
        raise SweepError(f"--workers: got {count}; allowed: 1 or more")
    console = console or Console(stderr=True)
    engine = engines.open_engine(url)
    try:
        return _launch(engine, url, queries.find_sweep(engine, name), count, console)
    finally:
        engine.dispose()


def _launch(
    engine: sqlalchemy.Engine, url: sqlalchemy.URL, sweep: SweepRecord, count: int, console: Console
) -> Launched:
    name, spec = sweep.name, stored(sweep)
    refuse_cancelled(name, sweep.state)
    if sweep.state == "paused":
        console.print(f"{name} is paused: workers wait. To go on: {here().resume(name)}", highlight=False)
    begun = queries.outlook(engine, sweep.id).unended
    running = [_start(url, name, number) for number in range(count)] if begun else []
    with _signals(running) as received, _shown(engine, sweep.id, console) as refresh:
        while running and not received:
            time.sleep(_POLL_S)
            refresh()
            for local in [one for one in running if one.process.poll() is not None]:
                running.remove(local)
                _ended(engine, local, cap_of(LOST, spec), console, left=len(running))
        if received:
            _await_end(running)
    if received:
        console.print(f"stopped; nothing is lost. Go on with: {here().launch(name)}", highlight=False)
        return Launched(128 + received[0], finished_now=False)
    _complete_trials(engine, url, sweep.id)
    left = queries.outlook(engine, sweep.id)
    if left.unended:
        raise SweepError(
            f"every worker of {name} ended before the sweep did; nothing is lost. Their logs:"
            f" {here().line('logs', name)}; to go on: {here().launch(name)}"
        )
    refuse_cancelled(name, left.state)
    problems = failures(engine, sweep.id)
    for line in problems:
        console.print(line, highlight=False, soft_wrap=True)
    if problems:
        console.print(f"to try that again: {here().retry_and_launch(name)}", highlight=False)
    return Launched(1 if problems else 0, finished_now=begun > 0)


def _complete_trials(engine: sqlalchemy.Engine, url: sqlalchemy.URL, sweep_id: int) -> None:
    """Report what the last worker left unreported, if it was killed there: no other worker would come."""
    if not reconcile.unreported(engine, sweep_id):
        return
    from storage.studies import adapter  # Optuna takes a second

    with contextlib.closing(adapter.open_studies(url)) as studies:
        reconcile.reconcile(studies, studies.engine, sweep_id)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS; a container or taskset may allow fewer than there are
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start(url: sqlalchemy.URL, name: str, number: int) -> _Local:
    worker = f"{worker_id()}-{number}"
    folder = log_folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{worker}.log"
    # The URL may hold a password: it goes by environment, never by argv, which `ps` shows to everyone.
    environment = os.environ | {"KD_SWEEPS_STORAGE": plain(absolute(url)), WORKER_VARIABLE: worker}
    with path.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "sweeps.cli", "worker", name],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C reaches launch alone, which passes it on once
        )
    return _Local(worker, process, path)


def _ended(engine: sqlalchemy.Engine, local: _Local, cap: int | None, console: Console, *, left: int) -> None:
    code = local.process.returncode
    if code == 0:
        return
    reap_worker(engine, local.worker, cap=cap)
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    console.print(
        f"worker {local.worker} ended ({how}); its task is free again, {left} workers go on.\n"
        f"  {_last_line(local.log_file)}\n  log: {local.log_file}",
        highlight=False,
        soft_wrap=True,
    )


def _last_line(path: Path) -> str:
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return read_line(lines[-1]).text.splitlines()[-1] if lines else "(it printed nothing)"


@contextlib.contextmanager
def _signals(running: list[_Local]) -> Iterator[list[int]]:
    """Pass SIGTERM and Ctrl-C on to the workers at once, whatever we wait for. Yields the signals received."""
    received: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for local in running:
            local.process.send_signal(number)
        signal.signal(number, signal.SIG_DFL)  # a second Ctrl-C leaves at once

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _await_end(running: list[_Local]) -> None:
    deadline = time.monotonic() + _STOP_S
    for local in running:
        try:
            local.process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            local.process.kill()  # its lease lapses, the task is free again
            local.process.wait()


@contextlib.contextmanager
def _shown(engine: sqlalchemy.Engine, sweep_id: int, console: Console) -> Iterator["_Refresh"]:
    progress = Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with progress:
        refresh = _Refresh(engine, sweep_id, console, progress)
        refresh()
        yield refresh
        refresh(last=True)


class _Refresh:
    """Draw the stages: bars on a terminal, else a line from time to time."""

    def __init__(self, engine: sqlalchemy.Engine, sweep_id: int, console: Console, progress: Progress) -> None:
        self._engine, self._sweep_id, self._console, self._progress = engine, sweep_id, console, progress
        self._bars: dict[str, TaskID] = {}
        self._line = ""
        self._line_at = -_LINE_EVERY_S

    def __call__(self, *, last: bool = False) -> None:
        try:
            counts = stage_counts(self._engine, self._sweep_id)
        except StorageError as error:  # the workers try again by themselves, and so does the next look
            self._say(explain(error))
            return
        for stage in STAGES:
            row = counts[stage]
            if stage not in self._bars:
                self._bars[stage] = self._progress.add_task(stage, total=row.total, note="", start=False)
            bar = self._bars[stage]
            if row.running or row.ended:
                self._progress.start_task(bar)
            note = f"{row.running} running" if row.running else ""
            note += f"{', ' if note else ''}{row.failed} failed" if row.failed else ""
            self._progress.update(bar, completed=row.ended, note=note)
            if row.ended == row.total:
                self._progress.stop_task(bar)
        if not self._console.is_terminal and (last or time.monotonic() - self._line_at >= _LINE_EVERY_S):
            self._line_at = time.monotonic()
            self._say("  ".join(f"{stage} {counts[stage].ended}/{counts[stage].total}" for stage in STAGES))

    def _say(self, line: str) -> None:
        if line != self._line:
            self._console.print(line, highlight=False, soft_wrap=True)
        self._line = line
