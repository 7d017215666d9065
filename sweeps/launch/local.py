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
_EXPLAINED = (0, 1, 2, 3)  # exit codes after which the last line of output explains the end


def log_tail(log: str | None, code: int | None, count: int) -> list[str]:
    """Return the last lines of a worker's log for display; none if there is no log.

    If the worker did not explain its end - it was killed, or has an unknown exit code - output of libraries is left
    out.
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
    replacement: None = None  # the launcher starts one

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
        # It may have ended, or its pipe may be full of unread calls: it will look for a task anyway.
        with contextlib.suppress(OSError, ValueError):
            os.write(self.calls.fileno(), b"\n")

    def kill(self) -> None:
        """Kill it; its lease lapses, or its parent frees its task."""
        self.send(signal.SIGKILL)
        self.process.wait()
        self.end_children()

    def end_children(self) -> None:
        """Kill its children: a frozen one does not notice the end of its parent."""
        self.calls.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left; macOS: only dead ones
            os.killpg(self.process.pid, signal.SIGKILL)  # the worker leads its process group

    def last_lines(self, count: int) -> list[str]:
        return log_tail(logs.end_of(self.log_file), self.code, count)

    def stored_log(self, url: sqlalchemy.URL | None) -> str | None:
        return logs.LogTail(self.log_file, url).read()


@dataclass(frozen=True)
class LocalEngine:
    """Start processes of this machine, each the leader of a process group."""

    request: Request
    stop_s: float = 10.0

    def start(self, slots: Sequence[int], first: int) -> list[LocalWorker]:
        return [self._start(slot, first + place) for place, slot in enumerate(slots)]

    def _start(self, slot: int, number: int) -> LocalWorker:
        worker = f"{worker_id()}-{number}"
        path = reach.log_folder(self.request.url, self.request.sweep) / f"{worker}.log"
        # By environment, since `ps` shows argv to all: the URL may contain a password, and a service has a token.
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
                # -P: modules in the current folder are not imported, such as a user's random.py
                [sys.executable, "-P", "-m", "sweeps.cli", "worker", self.request.sweep],
                env=os.environ | variables,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                # Ctrl-C reaches only the launch, which passes it on once. Not a session: Linux shares the cores among
                # sessions, so 8 workers with one each would leave a service beside them a ninth.
                process_group=0,
            )
        finally:
            os.close(out)
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)  # a worker that does not read must not block the launch
        return LocalWorker(slot, worker, process, process.stdin, path)

    def _device(self, slot: int) -> dict[str, str]:
        """Return the variables that assign a worker its device, numbered as by nvidia-smi."""
        if not self.request.gpus:
            return {}
        device = self.request.gpus[slot % len(self.request.gpus)]
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": device, environment.GPU_VARIABLE: device}
