"""`Backend`: everything that a worker asks of the queue of its sweep; `DatabaseBackend` asks the database.

No other file of this folder has an engine or a connection: a worker that reaches its sweep in another way needs another
backend, and nothing else.
"""

import logging
import os
import platform
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy

from storage.db.engine import open_engine
from storage.failpoints import failpoint
from storage.queue import tasks, workers
from storage.queue.notify import Listener, listen
from storage.records import artifacts, queries
from storage.studies.space import check_params
from storage.tables import SweepRecord, TaskRecord
from sweeps.plan import jobs, points
from sweeps.spec.model import Spec
from sweeps.spec.stored import stored_spec

log = logging.getLogger(__name__)

_DEADLINE_FOR_S = 60.0  # so long a deadline holds: to compute it anew reads a hundred rows


class Results(Protocol):
    """What a run may read of the runs before it, and keep for those after it."""

    spec: Spec
    identity: str
    """Of the sweep, also where another one has its name."""
    url: sqlalchemy.URL | None
    """Of the storage, whose password is left out of every text; None where the worker knows none."""

    def done(self, stage: str | None = None, *, keys: Collection[str] | None = None) -> Sequence[TaskRecord]:
        """Return the finished tasks, of a stage or all, or of these keys, in the order of the plan."""

    def get(self, digest: str) -> bytes:
        """Raises `storage.errors.BlobCorrupt`."""

    def put(self, data: bytes) -> str:
        """Store bytes; return their digest."""

    def selection(self, name: str) -> Mapping[str, Any] | None: ...

    def freeze(self, name: str, value: dict[str, Any]) -> Mapping[str, Any]:
        """Return what is frozen under a name: this value, if nobody was faster."""


class Backend(Results, Protocol):
    """The queue of one sweep, as a worker sees it. Everything may raise `storage.errors.StorageError`."""

    name: str

    def outlook(self) -> queries.Outlook: ...

    def sign_in(self, worker: str, provenance: Mapping[str, Any]) -> None: ...

    def sign_out(self, worker: str, reason: str | None) -> None:
        """Note that the worker has ended, and why; None: nothing was left, or it was asked to."""

    def listen(self, stop: threading.Event) -> AbstractContextManager[Listener]:
        """Give what wakes a worker that waits for work."""

    def claim(self, worker: str) -> TaskRecord | None:
        """Claim a task; None: nothing is ready."""

    def deadline_s(self, stage: str) -> float:
        """Return the seconds without a step after which a task of the stage is overdue."""

    def start(self, claim: TaskRecord, job: jobs.AnyJob) -> dict[str, Any] | None:
        """Store and return the parameters of an attempt; None: another worker took the task."""

    def renew(self, claim: TaskRecord, *, idle_s: float, log: str | None) -> bool:
        """Renew the lease; False: another worker took the task. log: the end of it, None: as it was."""

    def end(self, claim: TaskRecord, ending: tasks.Ending, *, cap: int | None = None) -> bool:
        """End an attempt; with `cap` that ended so the task has failed. False: another worker took the task."""

    def finish(self, claim: TaskRecord, *, outcome: dict[str, Any], score: float, log: str | None) -> bool:
        """Store the outcome of an attempt; False: another worker took the task."""

    def repair(self, worker: str, *, first: bool, cap: int | None) -> None:
        """Free the tasks of dead workers, if no other worker just did.

        Once per lease interval, by one of all workers of the sweep. One that has just started (first) takes every
        lapsed lease; later a worker takes what had lapsed at the look before. Else the first one after a time in which
        none could renew (the disk was full, the laptop slept, the clock was set) would take the tasks of the others.
        cap: lost workers of one task, after which it has failed.
        """

    def close(self) -> None: ...


class DatabaseBackend:
    """A `Backend` of a storage. spec: else the stored one."""

    def __init__(self, engine: sqlalchemy.Engine, sweep: SweepRecord, *, spec: Spec | None = None) -> None:
        self.engine, self.sweep = engine, sweep
        self.name, self.identity = sweep.name, sweep.identity
        self.url: sqlalchemy.URL | None = engine.url
        self.spec = stored_spec(sweep) if spec is None else spec
        self._points = queries.PhasePoints(engine, sweep.id)
        self._deadlines: dict[str, tuple[float, float]] = {}  # by stage: until when it holds, and the deadline

    @classmethod
    def open(cls, url: sqlalchemy.URL, name: str) -> "DatabaseBackend":
        # One connection: a renewal of the lease waits while the main thread holds it, for a transaction and never for a
        # training. What waits in one for a lock gives up after 5 s, and a lease lasts for five renewals and more.
        engine = open_engine(url, connections=1)
        try:
            return cls(engine, queries.find_sweep(engine, name))
        except BaseException:
            engine.dispose()
            raise

    def done(self, stage: str | None = None, *, keys: Collection[str] | None = None) -> Sequence[TaskRecord]:
        return queries.task_records(self.engine, self.sweep.id, stage=stage, state="done", keys=keys)

    def get(self, digest: str) -> bytes:
        return artifacts.get(self.engine, digest)

    def put(self, data: bytes) -> str:
        return artifacts.put(self.engine, data)

    def selection(self, name: str) -> Mapping[str, Any] | None:
        return artifacts.get_selection(self.engine, self.sweep.id, name)

    def freeze(self, name: str, value: dict[str, Any]) -> Mapping[str, Any]:
        return artifacts.freeze_selection(self.engine, self.sweep.id, name, value)

    def outlook(self) -> queries.Outlook:
        return queries.outlook(self.engine, self.sweep.id)

    def sign_in(self, worker: str, provenance: Mapping[str, Any]) -> None:
        host, pid = platform.node(), os.getpid()
        workers.sign_in(self.engine, self.sweep.id, worker, host=host, pid=pid, provenance=provenance)

    def sign_out(self, worker: str, reason: str | None) -> None:
        workers.sign_out(self.engine, self.sweep.id, worker, reason=reason)

    def listen(self, stop: threading.Event) -> AbstractContextManager[Listener]:
        return listen(self.engine, self.sweep.id, stop=stop)

    def claim(self, worker: str) -> TaskRecord | None:
        host, pid, lease_s = platform.node(), os.getpid(), self.spec.lease.seconds
        return tasks.claim(self.engine, self.sweep.id, worker=worker, host=host, pid=pid, lease_s=lease_s)

    def deadline_s(self, stage: str) -> float:
        until, deadline_s = self._deadlines.get(stage, (0.0, 0.0))
        if (now := time.monotonic()) >= until:
            deadline_s = self.spec.limits.of(stage, queries.durations(self.engine, self.sweep.id, stage))
            self._deadlines[stage] = now + _DEADLINE_FOR_S, deadline_s
        return deadline_s

    def start(self, claim: TaskRecord, job: jobs.AnyJob) -> dict[str, Any] | None:
        params = points.resolve_point(self.engine, self.spec, job, self._points)
        check_params(points.trial_space(self.spec, claim.stage, job.work), params)
        if not tasks.save_point(self.engine, claim, params):
            return None
        failpoint("saved")
        return params

    def renew(self, claim: TaskRecord, *, idle_s: float, log: str | None) -> bool:
        return tasks.renew(self.engine, claim, self.spec.lease.seconds, idle_s=idle_s, log=log)

    def end(self, claim: TaskRecord, ending: tasks.Ending, *, cap: int | None = None) -> bool:
        return tasks.end(self.engine, claim, ending, cap=cap)

    def finish(self, claim: TaskRecord, *, outcome: dict[str, Any], score: float, log: str | None) -> bool:
        return tasks.finish(self.engine, claim, outcome=outcome, score=score, log=log)

    def repair(self, worker: str, *, first: bool, cap: int | None) -> None:
        lease = self.spec.lease
        before = workers.take_repair(self.engine, self.sweep.id, worker, every_s=lease.interval_s)
        if before is None:
            return
        lapsed_before = None if first else before
        reaped = tasks.reap(self.engine, self.sweep.id, cap=cap, lease_s=lease.seconds, lapsed_before=lapsed_before)
        for key, attempt, lost in reaped:
            log.warning("%s attempt %d: worker %s was lost; the task is free again", key, attempt, lost)

    def close(self) -> None:
        self.engine.dispose()
