"""One attempt: save its point, run, finish; or record its failure.

A worker may die between any two of these steps, which tests provoke at failpoints. Its lease then lapses, and the next
attempt takes the saved point.
"""

import errno
import logging
import math
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kd.errors import Diverged, NotHere, SubprocessKilled, Unavailable, lacks_room
from storage.errors import NotAStorage, StorageFull, Unreachable
from storage.failpoints import failpoint
from storage.queue.tasks import Ending, given_back
from storage.tables import LOST, TaskRecord
from sweeps.errors import Interrupted, LeaseLost, StepTimeout, SweepError
from sweeps.hints import local
from sweeps.plan.jobs import AnyJob, read_job
from sweeps.spec.model import Spec
from sweeps.terminal import duration
from sweeps.trainers.protocol import Steps
from sweeps.workers import environment, folders, heartbeat, logs, runner
from sweeps.workers.backend import Backend

log = logging.getLogger(__name__)

Runner = Callable[[AnyJob, dict[str, Any], Steps], runner.Outcome]

MACHINE = "machine"  # lacks something: counts against no cap, and the worker stops, since every task would fail
_STOPPING = (MACHINE, "memory")  # a worker stops after these, so that another worker gets the task
_MOST_IN_A_ROW = 3  # database failures, after which a worker stops

_NO_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def class_of(error: Exception, stage: str = "") -> str:
    """Return "machine", "memory", "database", "timeout", "nan", "unavailable", or "error" for a programming error.

    Missing weights of a baseline are "unavailable": the sweep continues without it. Those of a teacher are not.
    """
    if isinstance(error, Unavailable) and (stage == "baselines" or not isinstance(error, NotHere)):
        return "unavailable"
    # Any ImportError: an environment being rebuilt, or a user's module that this machine lacks.
    if isinstance(error, (NotHere, ImportError, StorageFull)):
        return MACHINE
    if lacks_room(error):
        return MACHINE if isinstance(error, OSError) else "memory"
    if isinstance(error, StepTimeout):
        return "timeout"
    if isinstance(error, Diverged):
        return "nan"
    if isinstance(error, SubprocessKilled):
        return "memory"
    return "database" if isinstance(error, Unreachable) else "error"


def lack_of(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in _NO_DISK:
        where = tempfile.gettempdir()
        return f"{error}; temporary files go to {where}: free space there, or name another folder: export TMPDIR=DIR"
    return str(error)


def cap_of(kind: str, spec: Spec) -> int | None:
    """Return how many attempts of a task may end with this class before the task fails; None: no limit."""
    caps = spec.retry
    cap = {
        LOST: caps.lost_worker,
        MACHINE: 0,
        "memory": caps.memory,
        "database": caps.database,
        "timeout": caps.timeout,
        "nan": caps.nan,
        "error": caps.error,
        "unavailable": 1,  # a retry would miss the same file
    }[kind]
    return cap or None


class Attempts:
    """Make the attempts of one worker. log_file: its end is stored with each. stop: releases the running task."""

    def __init__(
        self, backend: Backend, worker: str, *, run: Runner, log_file: Path | None, stop: threading.Event
    ) -> None:
        self.finished = 0
        self._backend, self._worker = backend, worker
        self._run, self._stop = run, stop
        self._log = logs.LogTail(log_file, self._backend.url)
        self._failures_in_a_row = 0

    def give_back(self, claim: TaskRecord) -> None:
        """Release a task in the middle of a step, from another thread."""
        if self._backend.end(claim, given_back(self._log.read())):
            log.info("%s released in the middle of a step", claim.key)

    def make(self, claim: TaskRecord) -> None:
        """Run one task and record how it ends; SweepError if this machine lacks something, or keeps failing."""
        self._log.begin()
        log.info("%s attempt %d", claim.key, claim.attempt)
        deadline_s = self._backend.deadline_s(claim.stage)
        overdue = StepTimeout(f"no step for {duration(deadline_s)} (limits.{claim.stage})")

        def check() -> None:
            if self._stop.is_set():
                raise Interrupted("asked to stop")
            if lease.gone is not None:
                raise lease.gone
            if lease.lost.is_set():
                raise _lost_lease(claim)
            if lease.overdue.is_set():
                raise overdue

        steps = Steps(check, logs.logged(claim.key))
        lease = heartbeat.Heartbeat(
            self._backend,
            claim,
            steps,
            deadline_s=deadline_s,
            read_log=self._log.read,
            on_hung=lambda: self._record(claim, overdue),
        )
        try:
            with lease:
                self._run_to_end(claim, steps)
            self._failures_in_a_row = 0
        except Interrupted:
            self._backend.end(claim, given_back(self._log.read()))
            log.info("%s released", claim.key)
        except LeaseLost as error:
            log.warning("%s; its result is dropped", error)
        except NotAStorage:
            self._backend.end(claim, given_back())  # another tool changed the storage: not the attempt's fault
            raise
        except Exception as error:
            self._fail(claim, error)

    def _run_to_end(self, claim: TaskRecord, steps: Steps) -> None:
        started, job = time.perf_counter(), read_job(claim)
        params = self._backend.start(claim, job)
        if params is None:
            raise _lost_lease(claim)
        with steps.watched():
            outcome = self._run(job, params, steps)
        failpoint("ran")
        if not math.isfinite(outcome.score):
            raise Diverged(f"the score of {claim.key} is {outcome.score}")
        stored = as_stored(job, outcome, wall_s=time.perf_counter() - started, worker=self._worker)
        if not self._backend.finish(claim, outcome=stored, score=outcome.score, log=self._log.read()):
            raise _lost_lease(claim)
        failpoint("finished")
        folders.remove(self._backend.identity, claim.key)
        self.finished += 1
        log.info("%s done: %.4f in %.1f s", claim.key, outcome.score, stored["wall_s"])

    def _fail(self, claim: TaskRecord, error: Exception) -> None:
        kind = self._record(claim, error)
        if isinstance(error, StorageFull):
            raise error  # its message has a remedy
        if kind in _STOPPING:
            lack = logs.redact(lack_of(error), self._backend.url)
            raise SweepError(
                f"this worker stops: {claim.key} needs something this machine lacks: {lack}; nothing is lost."
                f" Fix that, then type: {local().line('launch', self._backend.name)}"
            )
        self._failures_in_a_row = self._failures_in_a_row + 1 if kind == "database" else 0
        if self._failures_in_a_row == _MOST_IN_A_ROW:
            last = logs.redact(logs.error_text(error), self._backend.url)
            raise SweepError(
                f"{_MOST_IN_A_ROW} attempts in a row failed because of this machine or its database. Last error:"
                f" {last}; nothing is lost. Fix the cause, then type: {local().line('launch', self._backend.name)}"
            )

    def _record(self, claim: TaskRecord, error: Exception) -> str:
        """Store how an attempt failed; return the class of the failure."""
        kind = class_of(error, claim.stage)
        text = f"{type(error).__name__}: {logs.error_text(error)}" if kind == "error" else logs.error_text(error)
        reason = logs.redact(text, self._backend.url)  # it reaches tables, logs, archives and terminals
        trace = error if kind == "error" else None  # for the other classes the reason is enough
        log.error("%s attempt %d failed (%s): %s", claim.key, claim.attempt, kind, reason, exc_info=trace)
        state = "released" if kind == MACHINE else "failed"
        ending = Ending(state, kind, reason, logs.traceback_text(error, self._backend.url), self._log.read())
        try:
            self._backend.end(claim, ending, cap=cap_of(kind, self._backend.spec))
        except Unreachable as lost:
            log.warning("%s: could not record the failure either (%s); its lease will lapse", claim.key, lost)
        return kind


def as_stored(job: AnyJob, outcome: runner.Outcome, *, wall_s: float, worker: str) -> dict[str, Any]:
    """Return the stored outcome of a finished task: its values, its trial, and its provenance."""
    return outcome.values.as_json() | {
        "trial": {"value": outcome.score, "attrs": outcome.attrs, "epoch_values": list(outcome.epoch_values)},
        "seed": job.work.seed,
        "wall_s": wall_s,
        "worker": worker,
        "provenance": environment.provenance(),
    }


def _lost_lease(claim: TaskRecord) -> LeaseLost:
    return LeaseLost(f"{claim.key} attempt {claim.attempt} was taken by another worker, or cancelled")
