"""Start workers as processes of this machine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy

from storage.url import absolute, plain
from sweeps.workers.logs import LOG_VARIABLE, LogTail, end_of, log_folder, open_log, read_line
from sweeps.workers.worker import worker_id

WORKER_VARIABLE = "KD_SWEEPS_WORKER"  # in the environment of a launched worker: its name

_SAID_WHY = (0, 1, 2, 3)  # exit codes of a worker whose last line says how it ended


@dataclass
class LocalWorker:
    """One worker process. seat: which of the workers that are kept alive it is. started: monotonic seconds."""

    seat: int
    worker: str
    process: subprocess.Popen[bytes]
    log_file: Path
    started: float = field(default_factory=time.monotonic)

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        return self.process.poll()

    @property
    def lived_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started

    def send(self, number: int) -> None:
        """Send it a signal; one that has ended gets none."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once; its lease lapses, or its parent gives its task back."""
        self.send(signal.SIGKILL)
        self.process.wait()
        self.end_children()

    def end_children(self) -> None:
        """End what it left behind: a child that is frozen does not see that its parent has gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left; macOS: none but dead ones
            os.killpg(self.process.pid, signal.SIGKILL)  # of its own, since it leads a session

    def last_lines(self, count: int) -> list[str]:
        """Return the last lines that it logged or printed, as people read them.

        Of one that did not end by an error that it said - it was killed, or left by an exit code that is none of ours -
        whatever libraries printed is left out: it had no time for a last word of its own.
        """
        lines = [read_line(line) for line in (end_of(self.log_file) or "").splitlines() if line.strip()]
        ours = [line for line in lines if line.ours] if (self.code or 0) not in _SAID_WHY else []
        return [text for line in ours or lines for text in line.text.splitlines()][-count:]

    def stored_log(self, url: sqlalchemy.URL) -> str | None:
        """Return the end of its log as it is stored with an attempt."""
        return LogTail(self.log_file, url).read()


def start(url: sqlalchemy.URL, name: str, seat: int, number: int) -> LocalWorker:
    """Start a worker of a sweep.

    Args:
        seat: which of the workers that are kept alive it is.
        number: makes its name differ from those of the workers that this process started before.

    Raises:
        SweepError: the folder of its log cannot be written.
    """
    worker = f"{worker_id()}-{number}"
    path = log_folder(name) / f"{worker}.log"
    # The URL may hold a password: it goes by environment, never by argv, which `ps` shows to everyone.
    variables = {"KD_SWEEPS_STORAGE": plain(absolute(url)), WORKER_VARIABLE: worker, LOG_VARIABLE: str(path)}
    out = open_log(path)
    try:
        process = subprocess.Popen(
            # -P: what lies in the current folder is not imported, such as somebody's random.py
            [sys.executable, "-P", "-m", "sweeps.cli", "worker", name],
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,  # Ctrl-C reaches launch alone, which passes it on once
        )
    finally:
        os.close(out)
    return LocalWorker(seat, worker, process, path)
