"""One worker: claim a task, ask for its trial, run it, finish it, tell it - until nothing is left.

The order of the steps is what makes each result count once (design: claim, ask, save the number, run,
finish, tell). A worker may die between any two of them; whoever comes next repairs what is half told.
"""

import logging
import os
import platform
import random
import secrets
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import sqlalchemy

from storage import records, studies, tasks
from storage.errors import StorageError
from storage.reaping import reap
from storage.repair import mark_told, repair
from storage.space import study_name
from storage.tasks import Claim
from sweeps.errors import Interrupted, LeaseLost
from sweeps.lease import LeaseKeeper
from sweeps.provenance import provenance
from sweeps.space import given_params, space_of
from sweeps.spec import Spec, parse
from sweeps.stages import Outcome
from sweeps.status import unfinished

log = logging.getLogger("sweeps.worker")

Runner = Callable[[Claim, dict[str, Any], Callable[[], None]], Outcome]

_POLL_S = 0.5  # while others run, this often does an idle worker look for work


def worker_id() -> str:
    """A name for this process that no other worker on any machine has."""
    return f"{platform.node()}-{os.getpid()}-{secrets.token_hex(2)}"


class Worker:
    """Works on one sweep in this process until nothing is waiting or running.

    Args:
        url: of the storage.
        name: of the sweep.
        run: what runs a task; None is the real thing (`stages.StageRunner`).
        worker: its name in the attempts table.
    """

    def __init__(self, url: sqlalchemy.URL, name: str, *, run: Runner | None = None, worker: str | None = None) -> None:
        self.studies = studies.open_studies(url)
        self.engine = self.studies.engine
        self.sweep = records.find_sweep(self.engine, name)
        self.spec: Spec = parse(self.sweep.spec, origin=f"sweep {name}")
        self.worker = worker or worker_id()
        self.finished = 0
        self._run = run or self._stage_runner()
        self._stop = threading.Event()
        self._signal: int | None = None
        self._reaped_at = 0.0

    def _stage_runner(self) -> Runner:
        from sweeps.stages import StageRunner

        runner = StageRunner(self.engine, self.sweep.id, self.spec)
        runner.check_data()  # a worker without the data stops before it claims anything
        return runner

    def close(self) -> None:
        """Give the database connections back."""
        self.studies.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def stop(self, number: int = signal.SIGTERM, frame: FrameType | None = None) -> None:
        """Ask the worker to stop at its next step; as a signal handler, a second signal ends it at once."""
        self._signal = number
        self._stop.set()
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, signal.SIG_DFL)

    def work(self) -> int:
        """Run tasks until none is left. Returns the exit code: 0, or 128 + the signal that stopped it."""
        while not self._stop.is_set():
            self._mend()
            claim = tasks.claim(
                self.engine,
                self.sweep.id,
                worker=self.worker,
                host=platform.node(),
                pid=os.getpid(),
                lease_s=self._lease_s,
            )
            if claim is not None:
                self._attempt(claim)
            elif not unfinished(self.engine, self.sweep.id):
                repair(self.studies, self.engine, self.sweep.id)
                log.info("nothing is left to do: %d tasks finished here", self.finished)
                return 0
            else:
                # Not all workers at the same instant: each poll is a write transaction on SQLite.
                self._stop.wait(_POLL_S * random.uniform(0.8, 1.2))
        return 128 + (self._signal or signal.SIGTERM)

    @property
    def _lease_s(self) -> float:
        return self.spec.lease.interval_s + self.spec.lease.grace_s

    def _mend(self) -> None:
        """Free the tasks of dead workers and finish what they left half told, once per lease interval."""
        if time.monotonic() - self._reaped_at < self.spec.lease.interval_s:
            return
        self._reaped_at = time.monotonic()
        for key, attempt, worker in reap(self.engine, self.sweep.id, cap=self.spec.retry.lost_worker):
            log.warning("%s attempt %d: worker %s was lost; the task is free again", key, attempt, worker)
        repair(self.studies, self.engine, self.sweep.id)

    def _attempt(self, claim: Claim) -> None:
        log.info("%s attempt %d", claim.key, claim.attempt)
        lease = LeaseKeeper(self.engine, claim, interval_s=self.spec.lease.interval_s, lease_s=self._lease_s)

        def on_step() -> None:
            if self._stop.is_set():
                raise Interrupted("asked to stop")
            if lease.lost.is_set():
                raise _taken(claim)

        try:
            with lease:
                self._ask_run_finish(claim, on_step)
        except Interrupted:
            tasks.release(self.engine, claim)
            log.info("%s given back", claim.key)
        except LeaseLost as error:
            log.warning("%s; its result is dropped", error)
        except StorageError:
            tasks.release(self.engine, claim)  # not the task's fault
            raise
        except Exception as error:
            self._fail(claim, error)

    def _ask_run_finish(self, claim: Claim, on_step: Callable[[], None]) -> None:
        started = time.perf_counter()
        study = study_name(self.sweep.name, claim.stage)
        params = given_params(self.engine, self.spec, claim)
        asked = self.studies.ask(
            study,
            space_of(self.spec, claim.stage),
            params=params,
            tpe_seed=claim.payload.get("sampler_seed"),
            attrs=self._attrs(claim),
        )
        if not tasks.save_trial(self.engine, claim, study=study, number=asked.number, params=asked.params):
            raise _taken(claim)
        outcome = self._run(claim, asked.params, on_step)
        stored = outcome.values | {
            "trial": {
                "value": outcome.score,
                "attrs": outcome.attrs,
                "epoch_values": list(outcome.epoch_values),
            },
            "seed": claim.payload.get("seed"),
            "wall_s": time.perf_counter() - started,
            "worker": self.worker,
            "provenance": provenance(),
        }
        if not tasks.finish(self.engine, claim, outcome=stored, score=outcome.score):
            raise _taken(claim)
        self.finished += 1
        log.info("%s done: %.4f in %.1f s", claim.key, outcome.score, stored["wall_s"])
        self.studies.tell(study, asked.number, state="COMPLETE", **stored["trial"])
        mark_told(self.engine, claim.task_id, claim.attempt)

    def _attrs(self, claim: Claim) -> dict[str, Any]:
        attrs = {"task": claim.key, "attempt": claim.attempt, "worker": self.worker}
        return attrs | ({} if claim.retry_of is None else {"retry_of": claim.retry_of})

    def _fail(self, claim: Claim, error: Exception) -> None:
        kind, cap = classify(error, self.spec)
        log.error("%s attempt %d failed", claim.key, claim.attempt, exc_info=error)
        reason = f"{type(error).__name__}: {error}" if kind == "error" else str(error)
        tasks.fail(self.engine, claim, error_class=kind, reason=reason, cap=cap)


def _taken(claim: Claim) -> LeaseLost:
    return LeaseLost(f"{claim.key} attempt {claim.attempt} was taken by another worker")


def classify(error: Exception, spec: Spec) -> tuple[str, int]:
    """The class of a failure and how many attempts a task gets with it."""
    from kd.errors import Diverged, Unavailable

    if isinstance(error, Unavailable):
        return "unavailable", 1  # trying again finds the same missing file
    if isinstance(error, Diverged):
        return "nan", 1  # the same seed diverges again
    if isinstance(error, MemoryError):
        return "memory", spec.retry.lost_worker
    return "error", spec.retry.error


def run_worker(url: sqlalchemy.URL, name: str, *, run: Runner | None = None, worker: str | None = None) -> int:
    """One worker in this process, stopped by SIGTERM or Ctrl-C between two steps; returns its exit code."""
    with Worker(url, name, run=run, worker=worker) as one:
        signal.signal(signal.SIGTERM, one.stop)
        signal.signal(signal.SIGINT, one.stop)
        return one.work()
