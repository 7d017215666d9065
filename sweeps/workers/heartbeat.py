"""Renew the lease, end hung tasks, stop on a signal or when the parent dies.

A parent holds the other end of the worker's standard input: end of file means that the parent has died, even by kill
-9, on every system. What a launch writes there wakes the worker.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable

import sqlalchemy
import sqlalchemy.orm  # Optuna, which proposes points, imports it: while one thread does, SQLAlchemy fails in others

from storage.errors import NotAStorage, StorageError
from storage.queue.notify import Hear, pipe
from storage.tables import TaskRecord
from sweeps.trainers.protocol import Steps
from sweeps.workers.backend import Backend

log = logging.getLogger(__name__)

HUNG = 86  # exit code of a worker that could not end its task otherwise
RETRY_S = 1.0  # after a database error
JOIN_TIMEOUT_S = 1.0
GRACE_S = 5.0  # for a task to stop: a step of a small student takes a tenth of a second
POLL_S = 0.5  # interval of checks; longer gaps were sleep or a freeze, which also stopped the task
SIGNALS = (signal.SIGTERM, signal.SIGINT)
STOP_GRACE_S = 3.0  # for the current step to end; with GIVE_BACK_S, a task is released within 5 s
GIVE_BACK_S = 1.5
PARENT_PIPE_VARIABLE = "KD_SWEEPS_PIPE"  # set if the parent holds the worker's standard input: ENDS or WAKES
ENDS, WAKES = "ends", "wakes"  # end of file stops the worker; or input only wakes it, and it outlives its launch


class Heartbeat:
    """Renew one claim's lease while the with-block runs.

    `lost` is set once another worker took the task, `overdue` once it made no step for deadline_s. A task checks both
    at its steps. If a step never ends, the process exits after on_hung: nothing else ends a compiled step.

    Renewal continues after a database error: the lease may lapse meanwhile, but the task stays ours until another
    worker takes it. It ends if the database is gone: `gone` is then the error.
    """

    def __init__(
        self,
        backend: Backend,
        claim: TaskRecord,
        steps: Steps,
        *,
        deadline_s: float,
        read_log: Callable[[], str | None] = lambda: None,
        on_hung: Callable[[], object] = lambda: None,
    ) -> None:
        self.lost, self.overdue = threading.Event(), threading.Event()
        self.gone: NotAStorage | None = None
        self._backend, self._claim, self._steps = backend, claim, steps
        self._interval_s, self._deadline_s = backend.spec.lease.interval_s, deadline_s
        self._read_log, self._on_hung, self._logged = read_log, on_hung, ""
        self._failed = 0  # renewals in a row
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease {claim.key}", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        # No longer: a renewal that hangs on a dead database is harmless, as it names the attempt.
        self._thread.join(JOIN_TIMEOUT_S)

    def _beat(self) -> None:
        renewal_s, left_s, looked_at = self._interval_s, GRACE_S, time.monotonic()
        while not self._done.wait(self._pause(renewal_s)):
            if self._steps.idle_s > self._deadline_s:
                self.overdue.set()
            if not self.lost.is_set():
                renewal_s = self._renew()  # an overdue task stays ours until its end is recorded
            passed_s, looked_at = time.monotonic() - looked_at, time.monotonic()
            if not self._shall_end or not self._steps.idle_s:
                left_s = GRACE_S  # not in a training step: waits for the database end themselves
            elif (left_s := left_s - min(passed_s, POLL_S)) <= 0:
                self._end_process()

    @property
    def _shall_end(self) -> bool:
        return self.lost.is_set() or self.overdue.is_set()

    def _pause(self, renewal_s: float) -> float:
        """Return the seconds until the next action: a renewal, the deadline, or an end."""
        if self._shall_end:
            return POLL_S
        return max(min(renewal_s, self._deadline_s - self._steps.idle_s), 0.05)

    def _renew(self) -> float:
        """Renew the lease; return the seconds until the next time."""
        try:
            log_now = self._read_log()
            changed = None if log_now == self._logged else log_now
            if not self._backend.renew(self._claim, idle_s=self._steps.idle_s, log=changed):
                self.lost.set()
            self._logged, self._failed = log_now or "", 0
        except NotAStorage as error:
            self.gone = error
        except (StorageError, sqlalchemy.exc.SQLAlchemyError) as error:
            self._failed += 1
            if not self._failed & (self._failed - 1):  # the 1st, 2nd, 4th, 8th ...: a dozen lines an hour
                log.warning("could not renew the lease of %s; retrying: %s", self._claim.key, error)
            return min(self._interval_s, RETRY_S)
        return self._interval_s

    def _end_process(self) -> None:
        if self.overdue.is_set() and not self.lost.is_set():
            self._on_hung()
        log.error("%s does not stop: this worker exits", self._claim.key)
        os._exit(HUNG)


class StopSignals:
    """Within the block the first signal sets `requested`; a second Ctrl-C ends the process at once.

    A second SIGTERM is ignored: a signal to a whole Slurm job reaches both the shell, which passes it on, and this
    process. If the block does not end in time after the first signal - a long step, a silent database - `on_overdue`
    runs and the process exits. A thread does that, woken by the operating system: Python's own handlers wait for the
    main thread, which may be inside a compiled step for a minute. Main thread only. Source:
    https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd.
    """

    def __init__(self) -> None:
        self.requested = threading.Event()
        self.on_overdue: Callable[[], None] = lambda: None
        self._number = 0
        self._reading, self._writing = socket.socketpair()
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)

    @property
    def exit_code(self) -> int:
        """128 + the signal, as shells count: 143 after SIGTERM, 130 after Ctrl-C; 0 if there was none."""
        return 128 + self._number if self._number else 0

    def __enter__(self) -> "StopSignals":
        self._writing.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._writing.close()  # ends the thread
        self._thread.join()
        self._reading.close()

    def _watch(self) -> None:
        received = self._reading.recv(1)
        if not received:
            return
        self._number = received[0]
        self.requested.set()
        deadline = time.monotonic() + STOP_GRACE_S
        try:
            while True:
                self._reading.settimeout(max(deadline - time.monotonic(), 0.001))
                received = self._reading.recv(1)
                if not received:
                    return  # the block has ended as requested
                if received[0] != signal.SIGTERM:
                    break
        except TimeoutError:
            words = threading.Thread(target=self.on_overdue, daemon=True)
            words.start()
            words.join(GIVE_BACK_S)
        os._exit(self.exit_code)


def take_parent_pipe() -> Hear | None:
    """Reserve standard input for this process, if its parent holds the other end; return what wakes it, if any.

    Children, and a training that reads standard input, get an empty one: otherwise they would wait for ever, or read
    calls meant for this process. With ENDS, end of file stops this process as SIGTERM does.
    """
    purpose = os.environ.pop(PARENT_PIPE_VARIABLE, None)
    if purpose is None:
        return None
    held, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if purpose == WAKES:
        return pipe(held)
    threading.Thread(target=_stop_with_parent, args=(held,), name="parent", daemon=True).start()
    return None


def _stop_with_parent(held: int) -> None:
    while os.read(held, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
