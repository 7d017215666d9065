"""What runs on a node of a Ray cluster: an actor that starts one worker, waits for it, and passes signals on.

It imports nothing of Ray: `sweeps.engines.ray_driver` makes an actor of `Keeper`.
"""

import contextlib
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sweeps.errors import SweepError
from sweeps.workers.environment import GPU_VARIABLE
from sweeps.workers.leash import LEASH_VARIABLE
from sweeps.workers.logs import LOG_VARIABLE, end_of, log_folder, open_log

_DEVICES = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Order:
    """Which worker to start. variables: of its environment, the storage's URL among them; gpu: it gets a device."""

    sweep: str
    worker: str
    variables: Mapping[str, str] = field(repr=False)  # a password is nothing for a log of Ray
    gpu: bool = False


@dataclass(frozen=True)
class Began:
    """Where a worker runs. trouble: why it does not, "" if it does."""

    host: str
    log_file: str
    trouble: str = ""


@dataclass(frozen=True)
class Exit:
    """How the process of a worker ended, and the end of its log; None: it cannot be read."""

    code: int
    log: str | None


class Keeper:
    """Keeps one worker: a process of its own on this node, which stops when this one is gone."""

    def start(self, order: Order) -> Began:
        """Start the worker."""
        self._log_file = log_folder(order.sweep) / f"{order.worker}.log"
        try:
            out = open_log(self._log_file)
        except SweepError as error:
            return Began(platform.node(), str(self._log_file), str(error))
        variables = {**order.variables, LOG_VARIABLE: str(self._log_file), LEASH_VARIABLE: "stdin", **_device(order)}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sweeps.cli", "worker", order.sweep],
                env=os.environ | variables,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        finally:
            os.close(out)
        return Began(platform.node(), str(self._log_file))

    def wait(self, seconds: float) -> Exit | None:
        """Return how the worker ended; None: it lives after so many seconds."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._clear()
        return Exit(code, end_of(Path(self._log_file)))

    def send(self, number: int) -> None:
        """Send the worker a signal; one that has ended gets none."""
        # Ray blocks Ctrl-C in everything that it starts, and what that starts in turn never sees it.
        self._process.send_signal(signal.SIGTERM if number == signal.SIGINT else number)

    def kill(self) -> None:
        """End the worker at once, with what it started."""
        self._process.kill()
        self._process.wait()
        self._clear()

    def _clear(self) -> None:
        """Let the leash go, and end what the worker left behind: a child that is frozen does not see it gone."""
        assert self._process.stdin
        self._process.stdin.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left; macOS: none but dead ones
            os.killpg(self._process.pid, signal.SIGKILL)  # of its own, since it leads a session


def _device(order: Order) -> dict[str, str]:
    """Return the variables that give a worker the device that Ray gave us, or hide all of them."""
    given = os.environ.get(_DEVICES, "") if order.gpu else ""
    return {_DEVICES: given, GPU_VARIABLE: given} if given else {_DEVICES: ""}
