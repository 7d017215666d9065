"""Run one worker: claim a task, ask for its trial, run it, finish it, tell it - until nothing is left.

The order of the steps is what makes each result count once (design: claim, ask, save the number, run,
finish, tell). A worker may die between any two of them, each marked with a failpoint for the tests;
the next worker reconciles what is unreported.
"""

import logging
import math
import os
import platform
import random
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy

from kd.errors import Diverged
from storage.errors import NotAStorage, StudyMissing, StudyMixed, SweepNotFound, Unreachable
from storage.failpoints import failpoint
from storage.queue import tasks
from storage.queue.attempts import reap
from storage.queue.error_classes import LOST
from storage.queue.tasks import Claim
from storage.records import queries
from storage.studies import adapter
from storage.studies.names import study_name
from storage.studies.reconcile import mark_reported, reconcile
from sweeps.errors import Interrupted, LeaseLost, SweepError
from sweeps.hints import here
from sweeps.plan.names import search_of
from sweeps.plan.payloads import Payload, StudentTask, TransferTask, payload_of
from sweeps.plan.points import resolve_point, space_of
from sweeps.spec.arms import AUTOKERAS_ARM
from sweeps.spec.model import Spec, stored
from sweeps.workers.environment import provenance
from sweeps.workers.failures import INFRASTRUCTURE, cap_of, class_of
from sweeps.workers.heartbeat import Heartbeat
from sweeps.workers.logs import about
from sweeps.workers.results import FOUND, Outcome
from sweeps.workers.signals import StopSignals

log = logging.getLogger(__name__)

Runner = Callable[[Claim, dict[str, Any], Callable[[], None]], Outcome]

STOPPED = 128 + 15
_POLL_S = 0.5  # while others run, this often does an idle worker look for work
_POLL_PAUSED_S = 2.0
_MOST_IN_A_ROW = 3  # infrastructure failures, after which the next one is likely


def worker_id() -> str:
    """Return a name for this process that no other worker on any machine has."""
    return f"{platform.node()}-{os.getpid()}-{secrets.token_hex(2)}"


class Worker:
    """Works on one sweep in this process until nothing is waiting or running.

    Args:
        url: of the storage.
        name: of the sweep.
        run: what runs a task; None is the real thing (`sweeps.workers.runner.TaskRunner`).
        worker: its name in the attempts table.
        stop: set by somebody else when it shall stop at its next step.
    """

    def __init__(
        self,
        url: sqlalchemy.URL,
        name: str,
        *,
        run: Runner | None = None,
        worker: str | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.studies = adapter.open_studies(url)
        self.engine = self.studies.engine
        try:
            self.sweep = queries.find_sweep(self.engine, name)
            self.spec: Spec = stored(self.sweep)
            self._run = run or self._task_runner()
        except BaseException:
            self.studies.close()
            raise
        self.worker = worker or worker_id()
        self.finished = 0
        self._stop = stop or threading.Event()
        self._claim: Claim | None = None
        self._reconciled_at = -float("inf")
        self._failures_in_a_row = 0

    def _task_runner(self) -> Runner:
        from sweeps.workers.runner import TaskRunner

        runner = TaskRunner(self.engine, self.sweep.id, self.spec)
        runner.check_data()  # a worker without the data stops before it claims anything
        return runner

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
            SweepError: the sweep is cancelled, or this machine keeps failing.
            storage.errors.StorageError: the database needs a person, or has been gone for too long.
        """
        refuse_cancelled(self.sweep.name, queries.outlook(self.engine, self.sweep.id).state)
        while not self._stop.is_set():
            self._reconcile()
            self._claim = tasks.claim(
                self.engine,
                self.sweep.id,
                worker=self.worker,
                host=platform.node(),
                pid=os.getpid(),
                lease_s=self._lease_s,
            )
            if self._claim is not None:
                failpoint("claimed")
                with about(self._claim.key, self._claim.attempt):
                    self._attempt(self._claim)
                self._claim = None
            elif self._nothing_left():
                return 0
        return STOPPED

    def give_back(self) -> None:
        """Release the task at work, from another thread: this one is in the middle of a step."""
        claim = self._claim
        if claim is not None and tasks.release(self.engine, claim):
            log.info("%s given back in the middle of a step", claim.key)

    def _nothing_left(self) -> bool:
        left = queries.outlook(self.engine, self.sweep.id)
        if left.state == "deleted":
            raise SweepNotFound(f"sweep {self.sweep.name} was deleted while this worker was running")
        if not left.unended:
            reconcile(self.studies, self.engine, self.sweep.id)
            log.info("nothing is left to do (%s): %d tasks finished here", left.state, self.finished)
            return True
        # Not all workers at the same instant: each poll is a write transaction on SQLite.
        pause = _POLL_PAUSED_S if left.state == "paused" else _POLL_S
        self._stop.wait(pause * random.uniform(0.8, 1.2))
        return False

    @property
    def _lease_s(self) -> float:
        return self.spec.lease.interval_s + self.spec.lease.grace_s

    def _reconcile(self) -> None:
        """Free the tasks of dead workers and report what they left unreported, once per lease interval."""
        if time.monotonic() - self._reconciled_at < self.spec.lease.interval_s:
            return
        self._reconciled_at = time.monotonic()
        for key, attempt, worker in reap(self.engine, self.sweep.id, cap=cap_of(LOST, self.spec)):
            log.warning("%s attempt %d: worker %s was lost; the task is free again", key, attempt, worker)
        reconcile(self.studies, self.engine, self.sweep.id)

    def _attempt(self, claim: Claim) -> None:
        log.info("%s attempt %d", claim.key, claim.attempt)
        lease = Heartbeat(self.engine, claim, interval_s=self.spec.lease.interval_s, lease_s=self._lease_s)

        def on_step() -> None:
            if self._stop.is_set():
                raise Interrupted("asked to stop")
            if lease.lost.is_set():
                raise _taken(claim)

        try:
            with lease:
                self._ask_run_finish(claim, on_step)
            self._failures_in_a_row = 0
        except Interrupted:
            tasks.release(self.engine, claim)
            log.info("%s given back", claim.key)
        except LeaseLost as error:
            log.warning("%s; its result is dropped", error)
        except (StudyMissing, StudyMixed, NotAStorage):
            tasks.release(self.engine, claim)  # another tool changed something: no attempt of a task is to blame
            raise
        except Exception as error:
            self._fail(claim, error)

    def _ask_run_finish(self, claim: Claim, on_step: Callable[[], None]) -> None:
        started = time.perf_counter()
        study, task = study_name(self.sweep.name, claim.stage), payload_of(claim)
        space = space_of(self.spec, claim.stage)
        attrs = self._attrs(claim, task)
        if task.role and "dataset" not in space:
            attrs["dataset"] = self.spec.role(task.role).dataset
        params = resolve_point(self.engine, self.spec, claim)
        asked = self.studies.ask(
            study,
            space,
            params=params,
            attrs=attrs,
        )
        failpoint("asked")
        if not tasks.save_trial(self.engine, claim, study=study, number=asked.number, params=asked.params):
            raise _taken(claim)
        failpoint("saved")
        outcome = self._run(claim, asked.params, on_step)
        failpoint("ran")
        if not math.isfinite(outcome.score):
            raise Diverged(f"the score of {claim.key} is {outcome.score}")
        stored = as_stored(claim, outcome, wall_s=time.perf_counter() - started, worker=self.worker)
        if not tasks.finish(self.engine, claim, outcome=stored, score=outcome.score):
            raise _taken(claim)
        failpoint("finished")
        self.finished += 1
        log.info("%s done: %.4f in %.1f s", claim.key, outcome.score, stored["wall_s"])
        self.studies.tell(study, asked.number, state="COMPLETE", **stored["trial"], asked=attrs)
        failpoint("reported")
        mark_reported(self.engine, claim.task_id, claim.attempt)
        failpoint("marked")

    def _attrs(self, claim: Claim, task: Payload) -> dict[str, Any]:
        """Return what the trial has from its first moment on: everything that is known before the task runs."""
        attrs: dict[str, Any] = {"task": claim.key, "attempt": claim.attempt, "worker": self.worker}
        attrs |= {name: claim.payload[name] for name in ("seed", "repeat", "rank") if name in claim.payload}
        if isinstance(task, StudentTask):
            refit = isinstance(task, TransferTask) and task.arm == AUTOKERAS_ARM
            attrs["detail"] = FOUND if refit else self.spec.role(task.role).student
        if search := search_of(task.role, task.group):
            attrs["search"] = search
        return attrs | ({} if claim.retry_of is None else {"retry_of": claim.retry_of})

    def _fail(self, claim: Claim, error: Exception) -> None:
        kind = class_of(error)
        reason = f"{type(error).__name__}: {error}" if kind == "error" else str(error)
        trace = error if kind == "error" else None  # of the other classes everything worth knowing is the reason
        log.error("%s attempt %d failed (%s): %s", claim.key, claim.attempt, kind, reason, exc_info=trace)
        try:
            tasks.fail(self.engine, claim, error_class=kind, reason=reason, cap=cap_of(kind, self.spec))
        except Unreachable as lost:
            log.warning("%s: could not record the failure either (%s); its lease will lapse", claim.key, lost)
        self._failures_in_a_row = self._failures_in_a_row + 1 if kind in INFRASTRUCTURE else 0
        if self._failures_in_a_row == _MOST_IN_A_ROW:
            raise SweepError(
                f"{_MOST_IN_A_ROW} attempts in a row failed because of this machine or its database, the last one:"
                f" {reason}; nothing is lost. Fix the cause, then type: {here().launch(self.sweep.name)}"
            )


def as_stored(claim: Claim, outcome: Outcome, *, wall_s: float, worker: str) -> dict[str, Any]:
    """Return what is stored of a finished task: its values, what its trial is told, and where they come from."""
    return outcome.values.as_json() | {
        "trial": {
            "value": outcome.score,
            "attrs": outcome.attrs,
            "epoch_values": list(outcome.epoch_values),
        },
        "seed": claim.payload.get("seed"),
        "wall_s": wall_s,
        "worker": worker,
        "provenance": provenance(),
    }


def _taken(claim: Claim) -> LeaseLost:
    return LeaseLost(f"{claim.key} attempt {claim.attempt} was taken by another worker, or cancelled")


def refuse_cancelled(name: str, state: str) -> None:
    """Raise SweepError if the sweep is cancelled: starting to work on it is then a mistake."""
    if state == "cancelled":
        raise SweepError(f"{name} is cancelled; to go on from the same point, type: {here().resume(name)}")


def run_worker(url: sqlalchemy.URL, name: str, *, run: Runner | None = None, worker: str | None = None) -> int:
    """Run one worker in this process until SIGTERM or Ctrl-C stops it between two steps. Returns its exit code."""
    with StopSignals() as stop, Worker(url, name, run=run, worker=worker, stop=stop.requested) as one:
        stop.on_overdue = one.give_back
        code = one.work()
    return stop.exit_code if code == STOPPED else code
