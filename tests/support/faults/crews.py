"""Crews: ways to start real workers, and to learn which of them have ended. Imports no pytest."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, Any, Protocol

from tests.support.paths import REPOSITORY, SUPPORT

NAME = "storm"
TASK_S = 0.05  # what one task takes beside the service's own work


def program(url: str, *, name: str = NAME, task_s: float = TASK_S) -> list[str]:
    """The command of a worker with a runner of `task_s` seconds."""
    return [sys.executable, str(SUPPORT / "sweeps" / "quadratic_worker.py"), url, name, str(task_s)]


class Crew(Protocol):
    """Something that starts workers, and says which of them have ended."""

    def start(self) -> int:
        """A new worker's process number."""

    def ended(self) -> dict[int, int]:
        """Exit codes (minus the signal for the killed) of those that ended since the last call."""

    def close(self) -> None:
        """Leave nobody behind."""


class Programs:
    """Each worker is a program of its own: Python starts, imports, connects. About a second of CPU each."""

    def __init__(self, command: Sequence[str], *, log: IO[bytes] | None = None) -> None:
        self._command, self._log = command, log
        self._living: dict[int, subprocess.Popen[bytes]] = {}

    def start(self) -> int:
        """See `Crew`."""
        process = subprocess.Popen(self._command, env=environment(), stdin=subprocess.DEVNULL, stderr=self._log)
        self._living[process.pid] = process
        return process.pid

    def ended(self) -> dict[int, int]:
        """See `Crew`."""
        codes = {pid: code for pid, process in self._living.items() if (code := process.poll()) is not None}
        for pid in codes:
            del self._living[pid]
        return codes

    def close(self) -> None:
        """Leave nobody behind."""
        for process in self._living.values():
            process.kill()
            process.wait()


class Nursery:
    """Each worker is a fork of one process that has imported everything: a start costs 0.1 s instead of a second.

    What is killed is as real as before, a process with connections of its own; only its imports are shared.
    """

    def __init__(self, url: str, *, name: str = NAME, task_s: float = TASK_S, log: IO[bytes] | None = None) -> None:
        command = [*program(url, name=name, task_s=task_s), "--nursery"]
        self._process = subprocess.Popen(
            command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        self.ended()  # answered once everything is imported

    def start(self) -> int:
        """See `Crew`."""
        return int(self._ask("start"))

    def ended(self) -> dict[int, int]:
        """See `Crew`."""
        return {int(pid): code for pid, code in self._ask("ended").items()}

    def close(self) -> None:
        """Leave nobody behind: the nursery kills its workers when its input ends."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, word: str) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def environment() -> dict[str, str]:
    """The environment of a worker: it finds our packages wherever it is started."""
    # One thread per worker: numpy's own would also make a fork unsafe.
    return os.environ | {"PYTHONPATH": str(REPOSITORY), "OPENBLAS_NUM_THREADS": "1"}
