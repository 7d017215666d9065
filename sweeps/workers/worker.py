"""Claim, attempt, again, until nothing is left.

A worker without work waits to be woken. Now and then one of them repairs what dead workers left behind.
"""

import contextlib
import logging
import os
import platform
import secrets
import threading
import time
from pathlib import Path

from storage.errors import StorageError, SweepNotFound
from storage.failpoints import failpoint
from storage.queue.notify import Hear, Listener
from storage.tables import LOST, TaskRecord
from sweeps.errors import SweepError
from sweeps.hints import local
from sweeps.workers import attempt, environment, folders, heartbeat, logs
from sweeps.workers.backend import Backend
from sweeps.workers.reach import Reach, open_backend
from sweeps.workers.runner import TaskRunner

log = logging.getLogger(__name__)

STOPPED = 128 + 15


def worker_id() -> str:
    """Return a name for this process that no other worker on any machine has."""
    return f"{platform.node()}-{os.getpid()}-{secrets.token_hex(2)}"


class Worker:
    """Works on one sweep in this process until nothing is waiting or running; its backend is closed with it.

    run: what runs a task; None is the real thing. worker: its name in the tables. log_file: that this process logs to;
    its end is stored with each attempt. stop: set from outside when it shall stop at its next step. calls: of the
    launch that wakes it; without one the backend says when there is something to do.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        run: attempt.Runner | None = None,
        worker: str | None = None,
        log_file: Path | None = None,
        stop: threading.Event | None = None,
        calls: Hear | None = None,
    ) -> None:
        self.backend, self.worker = backend, worker or worker_id()
        self._stop, self._calls = stop or threading.Event(), calls
        try:
            self._attempts = attempt.Attempts(
                backend, self.worker, run=run or self._task_runner(), log_file=log_file, stop=self._stop
            )
        except BaseException:
            backend.close()
            raise
        self._claim: TaskRecord | None = None
        self._repair_at = -float("inf")

    def _task_runner(self) -> attempt.Runner:
        runner = TaskRunner(self.backend)
        runner.check()  # a worker without the data stops before it claims anything
        folders.remove_old()
        return runner

    @property
    def finished(self) -> int:
        return self._attempts.finished

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self.backend.close()

    def work(self) -> int:
        """Run tasks until none is left; return 0, or STOPPED.

        SweepError: the sweep is cancelled, or this machine lacks something or keeps failing. StorageError: only a
        person helps.
        """
        refuse_cancelled(self.backend.name, self.backend.outlook().state)
        self.backend.sign_in(self.worker, environment.provenance())
        reason: str | None = "it ended by an error; see its log"
        try:
            code, reason = self._work(), None
        except (SweepError, StorageError) as error:
            reason = logs.redact(str(error), self.backend.url)
            raise
        finally:
            with contextlib.suppress(StorageError):  # it may be the database that is gone
                self.backend.sign_out(self.worker, reason)
        return code

    def _work(self) -> int:
        listening = Listener(self._stop, self._calls) if self._calls else None
        with contextlib.nullcontext(listening) if listening else self.backend.listen(self._stop) as listener:
            while not self._stop.is_set():
                self._repair()
                listener.clear()  # before the look: what comes after it is heard again
                self._claim = self.backend.claim(self.worker)
                if self._claim is not None:
                    failpoint("claimed")
                    listener.reset_backoff()
                    with logs.about(self._claim.key, self._claim.attempt):
                        self._attempts.make(self._claim)
                    self._claim = None
                elif self._nothing_left():
                    return 0
                else:
                    listener.wait(most_s=self.backend.spec.lease.interval_s)
        return STOPPED

    def give_back(self) -> None:
        """Release the task at work, from another thread: this one is in the middle of a step."""
        if (claim := self._claim) is not None:
            self._attempts.give_back(claim)

    def _nothing_left(self) -> bool:
        left = self.backend.outlook()
        if left.state == "deleted":
            raise SweepNotFound(f"sweep {self.backend.name} was deleted while this worker was running")
        if left.unended:
            return False
        log.info("nothing is left to do (%s): %d tasks finished here", left.state, self.finished)
        return True

    def _repair(self) -> None:
        if time.monotonic() < self._repair_at:
            return
        first, spec = self._repair_at < 0, self.backend.spec
        self._repair_at = time.monotonic() + spec.lease.interval_s
        self.backend.repair(self.worker, first=first, cap=attempt.cap_of(LOST, spec))


def refuse_cancelled(name: str, state: str) -> None:
    """Raise SweepError if the sweep is cancelled: starting to work on it is then a mistake."""
    if state == "cancelled":
        raise SweepError(f"{name} is cancelled; to resume it: {local().resume(name)}")


def run_worker(
    reach: Reach,
    name: str,
    *,
    run: attempt.Runner | None = None,
    worker: str | None = None,
    log_file: Path | None = None,
    calls: Hear | None = None,
) -> int:
    """Run one worker in this process until SIGTERM or Ctrl-C stops it between two steps; return its exit code."""
    with heartbeat.StopSignals() as stop:
        backend = open_backend(reach, name)
        with Worker(backend, run=run, worker=worker, log_file=log_file, stop=stop.requested, calls=calls) as instance:
            stop.on_overdue = instance.give_back
            code = instance.work()
    return stop.exit_code if code == STOPPED else code
