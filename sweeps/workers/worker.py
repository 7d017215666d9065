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

import sqlalchemy

from storage.errors import StorageError, SweepNotFound
from storage.failpoints import failpoint
from storage.queue import tasks, workers
from storage.queue.notify import listen
from storage.records import queries
from storage.studies.reconcile import reconcile, report_ended
from storage.studies.studies import open_studies
from storage.tables import LOST, TaskRecord
from sweeps.errors import SweepError
from sweeps.hints import local
from sweeps.spec.model import Spec
from sweeps.spec.stored import stored_spec
from sweeps.workers.attempt import Attempts, Runner, cap_of
from sweeps.workers.environment import provenance
from sweeps.workers.heartbeat import StopSignals
from sweeps.workers.logs import about, redact

log = logging.getLogger(__name__)

STOPPED = 128 + 15


def worker_id() -> str:
    """Return a name for this process that no other worker on any machine has."""
    return f"{platform.node()}-{os.getpid()}-{secrets.token_hex(2)}"


class Worker:
    """Works on one sweep in this process until nothing is waiting or running.

    Args:
        url: of the storage.
        name: of the sweep.
        run: what runs a task; None is the real thing (`sweeps.workers.runner.TaskRunner`).
        worker: its name in the tables of workers and attempts.
        log_file: that this process logs to; its end is stored with each attempt. None: there is none.
        stop: set from outside when it shall stop at its next step.
    """

    def __init__(
        self,
        url: sqlalchemy.URL,
        name: str,
        *,
        run: Runner | None = None,
        worker: str | None = None,
        log_file: Path | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.studies = open_studies(url)
        self.engine = self.studies.engine
        self.worker = worker or worker_id()
        self._stop = stop or threading.Event()
        try:
            self.sweep = queries.find_sweep(self.engine, name)
            self.spec: Spec = stored_spec(self.sweep)
            self._attempts = Attempts(
                self.studies,
                self.sweep,
                self.spec,
                self.worker,
                run=run or self._task_runner(),
                log_file=log_file,
                stop=self._stop,
            )
        except BaseException:
            self.studies.close()
            raise
        self._claim: TaskRecord | None = None
        self._repair_at = -float("inf")

    def _task_runner(self) -> Runner:
        from sweeps.workers.runner import TaskRunner

        runner = TaskRunner(self.engine, self.sweep.id, self.spec)
        runner.check()  # a worker without the data stops before it claims anything
        return runner

    @property
    def finished(self) -> int:
        """How many tasks it has finished."""
        return self._attempts.finished

    def close(self) -> None:
        """Give the database connections back."""
        self.studies.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def work(self) -> int:
        """Run tasks until none is left. Returns 0, or STOPPED.

        Raises:
            SweepError: the sweep is cancelled, or this machine lacks something or keeps failing.
            storage.errors.StorageError: the database needs a person, or has been gone for too long.
        """
        refuse_cancelled(self.sweep.name, queries.outlook(self.engine, self.sweep.id).state)
        origin = provenance()
        workers.sign_in(
            self.engine, self.sweep.id, self.worker, host=platform.node(), pid=os.getpid(), provenance=origin
        )
        reason: str | None = "it ended by an error; see its log"
        try:
            code, reason = self._work(), None
        except (SweepError, StorageError) as error:
            reason = redact(str(error), self.engine.url)
            raise
        finally:
            with contextlib.suppress(StorageError):  # it may be the database that is gone
                workers.sign_out(self.engine, self.sweep.id, self.worker, reason=reason)
        return code

    def _work(self) -> int:
        with listen(self.engine, self.sweep.id, stop=self._stop) as listener:
            while not self._stop.is_set():
                self._repair()
                listener.clear()  # before the look: what comes after it is heard again
                self._claim = tasks.claim(
                    self.engine,
                    self.sweep.id,
                    worker=self.worker,
                    host=platform.node(),
                    pid=os.getpid(),
                    lease_s=self.spec.lease.seconds,
                )
                if self._claim is not None:
                    failpoint("claimed")
                    listener.reset_backoff()
                    with about(self._claim.key, self._claim.attempt):
                        self._attempts.make(self._claim)
                    self._claim = None
                elif self._nothing_left():
                    return 0
                else:
                    listener.wait(most_s=self.spec.lease.interval_s)
        return STOPPED

    def give_back(self) -> None:
        """Release the task at work, from another thread: this one is in the middle of a step."""
        if (claim := self._claim) is not None:
            self._attempts.give_back(claim)

    def _nothing_left(self) -> bool:
        left = queries.outlook(self.engine, self.sweep.id)
        if left.state == "deleted":
            raise SweepNotFound(f"sweep {self.sweep.name} was deleted while this worker was running")
        if left.unended:
            return False
        reconcile(self.studies, self.engine, self.sweep.id)
        log.info("nothing is left to do (%s): %d tasks finished here", left.state, self.finished)
        return True

    def _repair(self) -> None:
        """Free the tasks of dead workers and report what they left unreported.

        Once per lease interval, by one of all workers of the sweep. One that has just started takes every lapsed lease;
        later a worker takes what had lapsed at the look before. Else the first one after a time in which none could
        renew (the disk was full, the laptop slept, the clock was set) would take the tasks of the others.
        """
        if time.monotonic() < self._repair_at:
            return
        first = self._repair_at < 0
        self._repair_at = time.monotonic() + self.spec.lease.interval_s
        interval_s, lease_s = self.spec.lease.interval_s, self.spec.lease.seconds
        before = workers.take_repair(self.engine, self.sweep.id, self.worker, every_s=interval_s)
        if before is None:
            return
        lapsed_before, cap = None if first else before, cap_of(LOST, self.spec)
        for key, attempt, worker in tasks.reap(
            self.engine, self.sweep.id, cap=cap, lease_s=lease_s, lapsed_before=lapsed_before
        ):
            log.warning("%s attempt %d: worker %s was lost; the task is free again", key, attempt, worker)
        report_ended(self.studies, self.engine, self.sweep.id)


def refuse_cancelled(name: str, state: str) -> None:
    """Raise SweepError if the sweep is cancelled: starting to work on it is then a mistake."""
    if state == "cancelled":
        raise SweepError(f"{name} is cancelled; to go on from the same point, type: {local().resume(name)}")


def run_worker(
    url: sqlalchemy.URL,
    name: str,
    *,
    run: Runner | None = None,
    worker: str | None = None,
    log_file: Path | None = None,
) -> int:
    """Run one worker in this process until SIGTERM or Ctrl-C stops it between two steps. Returns its exit code."""
    with (
        StopSignals() as stop,
        Worker(url, name, run=run, worker=worker, log_file=log_file, stop=stop.requested) as instance,
    ):
        stop.on_overdue = instance.give_back
        code = instance.work()
    return stop.exit_code if code == STOPPED else code
