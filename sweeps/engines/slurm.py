"""The engine `slurm`: workers are the members of an array job.

A member requeues itself when its time is up, and Slurm does so when its node fails; then it is another worker, with
another name. One that died otherwise is replaced by a job of its own. Every member is looked at in one call of squeue.
"""

import secrets
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy

from storage.url import plain
from sweeps.engines.last_words import last_words
from sweeps.engines.protocol import Request
from sweeps.engines.slurm_queue import Job, SlurmQueue
from sweeps.engines.slurm_script import check_options, script
from sweeps.errors import SweepError
from sweeps.terminal import number_of, say
from sweeps.workers.logs import LogTail, end_of, log_folder

_REQUEUED = 128 + signal.SIGTERM  # what a member that makes room for its own return ends with


@dataclass(eq=False)
class SlurmMember:
    """One life of one member: a member that was requeued is another worker.

    seat: which of the workers that are kept alive it is, and its index in the array. restarts: how often it was
    requeued before.
    """

    seat: int
    array: int
    restarts: int
    token: str
    logs: Path
    queue: SlurmQueue
    successor: "SlurmMember | None" = None
    _code: int | None = None
    _started: float | None = None  # monotonic seconds
    _word: str = ""  # of Slurm, about its end
    _unwanted: bool = False

    @property
    def worker(self) -> str:
        """Its name, as the script makes it up."""
        return f"slurm-{self.array}_{self.seat}.{self.restarts}-{self.token}"

    @property
    def log_place(self) -> str:
        """The file that its output goes to."""
        return str(self._log_file)

    @property
    def _log_file(self) -> Path:
        return self.logs / f"slurm-{self.array}_{self.seat}.log"

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives or waits for its machine."""
        if self._code is None:
            self._see(self.queue.look((self.array, self.seat)))
        return self._code

    @property
    def lived_s(self) -> float:
        """Seconds since it was seen to run first; 0 while it waits for its machine."""
        return 0.0 if self._started is None else time.monotonic() - self._started

    def _see(self, job: Job | None) -> None:
        if job is not None and job.restarts > self.restarts:
            self._code, self._word = _REQUEUED, "requeued"
            self.successor = SlurmMember(self.seat, self.array, job.restarts, self.token, self.logs, self.queue)
        elif job is None or job.ended:
            # One that was called off ends well, even if its machine came at that very moment.
            self._code = 0 if self._unwanted else -int(signal.SIGTERM) if job is None else job.code
            self._word = "no longer in the queue" if job is None else job.state
        elif not job.waiting and self._started is None:
            self._started = time.monotonic()

    def send(self, number: int) -> None:
        """Have it cancelled: whatever the signal, it gets SIGTERM, gives its task back and does not come again."""
        self._unwanted = True
        self.queue.cancel((self.array, self.seat))

    def kill(self) -> None:
        """End it at once; its lease lapses, or its parent gives its task back."""
        self.queue.kill((self.array, self.seat))

    def end_children(self) -> None:
        """Do nothing: Slurm ends what a member started."""

    def last_lines(self, count: int) -> list[str]:
        """Return the last lines that it logged or printed, then Slurm's own word if its end is of Slurm's making."""
        said = last_words(end_of(self._log_file), self._code, count)
        own = [f"Slurm says: {self._word}"] if self._word not in ("", "COMPLETED", "FAILED") else []
        return [*said, *own][-count:]

    def stored_log(self, url: sqlalchemy.URL) -> str | None:
        """Return the end of its log as it is stored with an attempt."""
        return LogTail(self._log_file, url).read()


@dataclass(frozen=True)
class SlurmEngine:
    """Submits arrays of workers.

    Raises:
        SpecError: an option is none that can be passed on.
    """

    asked: Request
    stop_s: float = 30.0  # as long as Slurm waits by default before it kills
    _queue: SlurmQueue = field(default_factory=SlurmQueue)
    _token: str = field(default_factory=lambda: secrets.token_hex(2))

    def __post_init__(self) -> None:
        check_options(self.asked.options)

    def start(self, seats: Sequence[int], first: int) -> list[SlurmMember]:
        """Submit one array with a member for each seat.

        Raises:
            SweepError: there is no Slurm here, it refuses, or the folder of the logs cannot be made.
        """
        array = self._submit(seats, detached=False)
        say(f"submitted as Slurm job {array}: {number_of(len(seats), 'worker')}")
        return [SlurmMember(seat, array, 0, self._token, self._logs, self._queue) for seat in seats]

    def detach(self, seats: Sequence[int]) -> int:
        """Submit an array that nobody watches; return its number. Raises as `start`."""
        return self._submit(seats, detached=True)

    def script(self, seats: Sequence[int], *, detached: bool) -> str:
        """Return the script that would be submitted."""
        return script(
            self.asked.sweep, seats, self.asked.options, logs=self._logs, token=self._token, detached=detached
        )

    @property
    def _logs(self) -> Path:
        return log_folder(self.asked.sweep)

    def _submit(self, seats: Sequence[int], *, detached: bool) -> int:
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SweepError(
                f"cannot write logs into {self._logs}: {error.strerror}; name another folder that every node sees:"
                " export XDG_STATE_HOME=DIR"
            ) from None
        variables = {"KD_SWEEPS_STORAGE": plain(self.asked.url)}
        return self._queue.submit(self.script(seats, detached=detached), seats, self.asked.options, variables)
