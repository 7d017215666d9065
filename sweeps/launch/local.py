"""Engine `local`: processes of this machine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import sqlalchemy

from sweeps.launch.engine import Request
from sweeps.workers import environment, heartbeat, logs, reach
from sweeps.workers.worker import worker_id

WORKER_VARIABLE = "KD_SWEEPS_WORKER"  # in the environment of a launched worker: its name
_EXPLAINED = (0, 1, 2, 3)  # exit codes of a worker whose last line says how it ended


def log_tail(log: str | None, code: int | None, count: int) -> list[str]:
    """Return the last lines of a worker's log, as people read them; none if there is no log.

    Of one that did not end by an error that it said - it was killed, or left by an exit code that is none of ours -
    whatever libraries printed is left out: it had no time for a last word of its own.
    """
    lines = [logs.read_line(line) for line in (log or "").splitlines() if line.strip()]
    ours = [line for line in lines if line.ours] if (code or 0) not in _EXPLAINED else []
    return [text for line in ours or lines for text in line.text.splitlines()][-count:]


@dataclass
class LocalWorker:
    """One worker process, a `WorkerHandle`. calls: its standard input. started: monotonic seconds."""

    slot: int
    worker: str
    process: subprocess.Popen[bytes]
    calls: IO[bytes]
    log_file: Path
    started: float = field(default_factory=time.monotonic)
    replacement: None = None  # a launch alone starts a process again

    @property
    def log_place(self) -> str:
        return str(self.log_file)

    @property
    def code(self) -> int | None:
        return self.process.poll()

    @property
    def lived_s(self) -> float:
        return time.monotonic() - self.started

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def wake(self) -> None:
        # It may have ended, and its pipe may be full of calls that it has not read yet: it is going to look anyway.
        with contextlib.suppress(OSError, ValueError):
            os.write(self.calls.fileno(), b"\n")

    def kill(self) -> None:
        """End it at once; its lease lapses, or its parent gives its task back."""
        self.send(signal.SIGKILL)
        self.process.wait()
        self.end_children()

    def end_children(self) -> None:
        """End what it left behind: a child that is frozen does not see that its parent has gone."""
        self.calls.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left; macOS: none but dead ones
            os.killpg(self.process.pid, signal.SIGKILL)  # of its own, since it leads a session

    def last_lines(self, count: int) -> list[str]:
        return log_tail(logs.end_of(self.log_file), self.code, count)

    def stored_log(self, url: sqlalchemy.URL | None) -> str | None:
        return logs.LogTail(self.log_file, url).read()


@dataclass(frozen=True)
class LocalEngine:
    """Starts processes of this machine; each one leads a session of its own."""

    request: Request
    stop_s: float = 10.0

    def start(self, slots: Sequence[int], first: int) -> list[LocalWorker]:
        return [self._start(slot, first + place) for place, slot in enumerate(slots)]

    def _start(self, slot: int, number: int) -> LocalWorker:
        worker = f"{worker_id()}-{number}"
        path = reach.log_folder(self.request.url, self.request.sweep) / f"{worker}.log"
        # The URL may hold a password, and a service has a token: by environment, since `ps` shows argv to all.
        variables = {
            **reach.variables(self.request.url),
            WORKER_VARIABLE: worker,
            logs.LOG_VARIABLE: str(path),
            heartbeat.PARENT_PIPE_VARIABLE: heartbeat.WAKES,
            **self._device(slot),
        }
        out = logs.open_log(path)
        try:
            process = subprocess.Popen(
                # -P: what lies in the current folder is not imported, such as a random.py of the user's
                [sys.executable, "-P", "-m", "sweeps.cli", "worker", self.request.sweep],
                env=os.environ | variables,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C reaches launch alone, which passes it on once
            )
        finally:
            os.close(out)
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)  # a worker that does not read keeps nobody waiting
        return LocalWorker(slot, worker, process, process.stdin, path)

    def _device(self, slot: int) -> dict[str, str]:
        """Return the variables that give a worker its one device, in the order in which nvidia-smi counts them."""
        if not self.request.gpus:
            return {}
        device = self.request.gpus[slot % len(self.request.gpus)]
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": device, environment.GPU_VARIABLE: device}
