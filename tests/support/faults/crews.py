"""Crews: ways to start real workers and to see which of them have ended. Imports no pytest."""

import os
import subprocess
import sys
from functools import partial
from multiprocessing.process import BaseProcess
from typing import IO, Protocol

from tests.support.paths import REPOSITORY, SUPPORT
from tests.support.present import present
from tests.support.sweeps.small_sweeps import start_worker

NAME = "storm"
TASK_S = 0.05  # duration of a task, apart from the queue's own work


class Crew(Protocol):
    """Starts workers, and reports which of them have ended."""

    def start(self) -> int:
        """Start a worker; return its process number."""

    def ended(self) -> dict[int, int]:
        """Return exit codes by process number of workers that ended since the last call; minus the signal if killed."""

    def close(self) -> None:
        """Kill every worker that still runs."""


class Programs:
    """Each worker is a separate program: Python starts, imports, connects. About a second of CPU each."""

    def __init__(self, url: str, *, name: str = NAME, task_s: float = TASK_S, log: IO[bytes] | None = None) -> None:
        self._command = [sys.executable, str(SUPPORT / "sweeps" / "quadratic_worker.py"), url, name, str(task_s)]
        self._log = log
        self._living: dict[int, subprocess.Popen[bytes]] = {}

    def start(self) -> int:
        process = subprocess.Popen(self._command, env=environment(), stdin=subprocess.DEVNULL, stderr=self._log)
        self._living[process.pid] = process
        return process.pid

    def ended(self) -> dict[int, int]:
        codes = {pid: code for pid, process in self._living.items() if (code := process.poll()) is not None}
        for pid in codes:
            del self._living[pid]
        return codes

    def close(self) -> None:
        for process in self._living.values():
            process.kill()
            process.wait()


class Nursery:
    """Each worker is a fork of one process that has imported everything: a start costs 0.1 s instead of a second.

    A killed worker is still a real process with its own connections; only its imports are shared.
    """

    def __init__(self, url: str, *, name: str = NAME, task_s: float = TASK_S, log: IO[bytes] | None = None) -> None:
        self._start = partial(start_worker, url, name=name, seconds=task_s, log=log.name if log else "")
        self._living: list[BaseProcess] = []

    def start(self) -> int:
        self._living.append(self._start())
        return present(self._living[-1].pid)

    def ended(self) -> dict[int, int]:
        codes = {process: code for process in self._living if (code := process.exitcode) is not None}
        self._living = [process for process in self._living if process not in codes]
        return {present(process.pid): code for process, code in codes.items()}

    def close(self) -> None:
        for process in self._living:
            process.kill()
            process.join()


def environment() -> dict[str, str]:
    """Return a worker's environment, in which it finds our packages from any folder."""
    return os.environ | {"PYTHONPATH": str(REPOSITORY), "OPENBLAS_NUM_THREADS": "1"}
