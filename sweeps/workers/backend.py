"""`Backend`: the interface between a worker and its sweep; `DatabaseBackend` implements it on a storage.

No other module of workers has an engine or a connection: to reach a sweep in another way, implement another backend.
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

_DEADLINE_FOR_S = 60.0  # a deadline is cached for this long: computing it reads a hundred rows


class Results(Protocol):
    """What a run may read from earlier runs, and store for later ones."""

    spec: Spec
    identity: str
    """Of the sweep, unique even if names are reused."""
    url: sqlalchemy.URL | None
    """Of the storage, to redact its password; None if the worker does not know it."""

    def done(self, stage: str | None = None, *, keys: Collection[str] | None = None) -> Sequence[TaskRecord]:
        """Return the finished tasks, of a stage or all, or with these keys, in plan order."""

    def get(self, digest: str) -> bytes:
        """Raises `storage.errors.BlobCorrupt`."""

    def put(self, data: bytes) -> str:
        """Store bytes; return their digest."""

    def selection(self, name: str) -> Mapping[str, Any] | None: ...

    def freeze(self, name: str, value: dict[str, Any]) -> Mapping[str, Any]:
        """Store a selection unless one of that name exists; return the stored one."""


class Backend(Results, Protocol):
    """The queue of one sweep, as a worker sees it. Every method may raise `storage.errors.StorageError`."""

    name: str

    def outlook(self) -> queries.Outlook: ...

    def sign_in(self, worker: str, provenance: Mapping[str, Any]) -> None: ...

    def sign_out(self, worker: str, reason: str | None) -> None:
        """Record that the worker has ended, and why; None: no task was left, or it was asked to stop."""

    def listen(self, stop: threading.Event) -> AbstractContextManager[Listener]:
        """Return what wakes a waiting worker."""

    def claim(self, worker: str) -> TaskRecord | None:
        """Claim a task; None: none is ready."""

    def deadline_s(self, stage: str) -> float:
        """Return the seconds without a step after which a task of the stage is overdue."""

    def start(self, claim: TaskRecord, job: jobs.AnyJob) -> dict[str, Any] | None:
        """Store and return the parameters of an attempt; None: another worker took the task."""

    def renew(self, claim: TaskRecord, *, idle_s: float, log: str | None) -> bool:
        """Renew the lease; False: another worker took the task. log: its end; None: unchanged."""

    def end(self, claim: TaskRecord, ending: tasks.Ending, *, cap: int | None = None) -> bool:
        """End an attempt; the task fails at the `cap`-th ending of this kind. False: another worker took the task."""

    def finish(self, claim: TaskRecord, *, outcome: dict[str, Any], score: float, log: str | None) -> bool:
        """Store the outcome of an attempt; False: another worker took the task."""

    def repair(self, worker: str, *, first: bool, cap: int | None) -> None:
        """Free the tasks of dead workers, unless another worker just did.

        Once per lease interval, by one of the sweep's workers. A worker that has just started (first) takes all lapsed
        leases; later, only those that had lapsed at the previous repair. Otherwise, after a time in which no worker
        could renew (full disk, sleeping laptop, clock change), the first one would take the tasks of the others. cap:
        number of lost workers at which a task fails.
        """

    def close(self) -> None: ...


class DatabaseBackend:
    """A `Backend` of a storage. spec: None for the stored one."""

    def __init__(self, engine: sqlalchemy.Engine, sweep: SweepRecord, *, spec: Spec | None = None) -> None:
        self.engine, self.sweep = engine, sweep
        self.name, self.identity = sweep.name, sweep.identity
        self.url: sqlalchemy.URL | None = engine.url
        self.spec = stored_spec(sweep) if spec is None else spec
        self._points = queries.PhasePoints(engine, sweep.id)
        self._deadlines: dict[str, tuple[float, float]] = {}  # by stage: expiry, deadline

    @classmethod
    def open(cls, url: sqlalchemy.URL, name: str) -> "DatabaseBackend":
        # One connection: a renewal waits while the main thread uses it, which is a transaction, never a training. A
        # wait for a lock gives up after 5 s, and a lease lasts at least five renewals.
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
