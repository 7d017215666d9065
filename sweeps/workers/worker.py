"""The loop of a worker: claim a task and attempt it, until no task is left.

An idle worker waits to be woken. Once per lease interval, one of the workers frees the tasks of dead ones.
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
    """Return a name for this process that is unique among all machines."""
    return f"{platform.node()}-{os.getpid()}-{secrets.token_hex(2)}"


class Worker:
    """Work on one sweep in this process until no task is waiting or running; close the backend at the end.

    run: runs a task; None: with the sweep's trainer. worker: its name in the tables. log_file: of this process; its end
    is stored with each attempt. stop: set from outside to stop it at its next step. calls: from the launch that wakes
    it; None: the backend wakes it.
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
        runner.check()  # without the data, stop before any claim
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

        SweepError: the sweep is cancelled, or this machine lacks something or keeps failing. StorageError: the storage
        needs a person's help.
        """
        refuse_cancelled(self.backend.name, self.backend.outlook().state)
        self.backend.sign_in(self.worker, environment.provenance())
        reason: str | None = "ended by an error; see its log"
        try:
            code, reason = self._work(), None
        except (SweepError, StorageError) as error:
            reason = logs.redact(str(error), self.backend.url)
            raise
        finally:
            with contextlib.suppress(StorageError):  # the database may be the cause
                self.backend.sign_out(self.worker, reason)
        return code

    def _work(self) -> int:
        listening = Listener(self._stop, self._calls) if self._calls else None
        with contextlib.nullcontext(listening) if listening else self.backend.listen(self._stop) as listener:
            while not self._stop.is_set():
                self._repair()
                listener.clear()  # before the claim, so that later calls are not lost
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
        """Release the running task, from another thread, while this one is in the middle of a step."""
        if (claim := self._claim) is not None:
            self._attempts.give_back(claim)

    def _nothing_left(self) -> bool:
        left = self.backend.outlook()
        if left.state == "deleted":
            raise SweepNotFound(f"sweep {self.backend.name} was deleted while this worker was running")
        if left.unended:
            return False
        log.info("no task is left (%s): %d tasks finished here", left.state, self.finished)
        if kept := folders.kept(self.backend.identity):  # of workers killed right after they stored a result
            for task in self.backend.done(keys=kept):
                folders.remove(self.backend.identity, task.key)
        return True

    def _repair(self) -> None:
        if time.monotonic() < self._repair_at:
            return
        first, spec = self._repair_at < 0, self.backend.spec
        self._repair_at = time.monotonic() + spec.lease.interval_s
        self.backend.repair(self.worker, first=first, cap=attempt.cap_of(LOST, spec))


def refuse_cancelled(name: str, state: str) -> None:
    """Raise SweepError if the sweep is cancelled."""
    if state == "cancelled":
        raise SweepError(f"{name} is cancelled; to resume it: {local().line('resume', name)}")


def run_worker(
    reach: Reach,
    name: str,
    *,
    run: attempt.Runner | None = None,
    worker: str | None = None,
    log_file: Path | None = None,
    calls: Hear | None = None,
) -> int:
    """Run one worker in this process, until SIGTERM or Ctrl-C stops it between two steps; return its exit code."""
    with heartbeat.StopSignals() as stop:
        backend = open_backend(reach, name)
        with Worker(backend, run=run, worker=worker, log_file=log_file, stop=stop.requested, calls=calls) as instance:
            stop.on_overdue = instance.give_back
            code = instance.work()
    return stop.exit_code if code == STOPPED else code
