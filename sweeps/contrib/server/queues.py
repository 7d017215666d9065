"""The queues of a database for workers on other machines. Checks everything that they send before it is stored.

A service cannot trust a worker. So an outcome is compared with its payload and its saved point, as in the audit and in
the check of an archive; caps and deadlines come from the stored spec, whatever a worker sends.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy

from kd.tools.code import hash_file, is_code
from storage.db.engine import open_engine
from storage.errors import RecordBroken, SweepNotFound
from storage.queue import tasks, workers
from storage.queue.tasks import Ending
from storage.queue.workers import Seen
from storage.records import artifacts, queries
from storage.tables import LOST, SweepRecord, TaskRecord
from sweeps.contrib.server import work
from sweeps.errors import NotAllowed, SweepError
from sweeps.findings.load import read
from sweeps.launch.oversight import DatabaseOversight, Outline
from sweeps.plan import audit, jobs, points, trials
from sweeps.query.status import StageCount
from sweeps.spec.model import Spec
from sweeps.spec.stored import stored_spec
from sweeps.usecases.run import publish
from sweeps.workers.attempt import cap_of

_MOST_KEPT = 1_000  # entries of each memory: sweeps, workers, attempts


class Queues:
    """The queues of all sweeps of a database. The first request of a worker opens the engine."""

    def __init__(self, url: sqlalchemy.URL, *, allow_code: bool) -> None:
        self._url, self._allow_code = url, allow_code
        self._engine: sqlalchemy.Engine | None = None
        self._lock = threading.Lock()
        self._backends: OrderedDict[tuple[str, int], DatabaseOversight] = OrderedDict()  # by identity and revision
        self._claiming: OrderedDict[str, threading.Lock] = OrderedDict()  # by worker
        self._blobs: OrderedDict[tuple[int, int], set[str]] = OrderedDict()  # digests stored, by attempt
        self._publishing: set[str] = set()

    def close(self) -> None:
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None

    def open(self, name: str) -> SweepRecord:
        """Return a sweep for a worker. Raises NotAllowed where this process may not propose its points."""
        sweep = queries.find_sweep(self._opened(), name)
        self._check_sampler(stored_spec(sweep))
        return sweep

    def of(self, name: str, identity: str) -> "Queue":
        """Return the queue of a sweep. Raises SweepNotFound if its name now belongs to another sweep."""
        engine = self._opened()
        sweep = queries.find_sweep(engine, name)
        if sweep.identity != identity:
            raise SweepNotFound(f"sweep {name} was deleted and created again")
        with self._lock:  # one backend for all workers of a sweep: it parses the spec once and caches deadlines
            backend = self._backends.get((identity, sweep.revision)) or DatabaseOversight(engine, sweep)
            _remember(self._backends, (identity, sweep.revision), backend)
        return Queue(backend, self)

    @contextmanager
    def one_claim(self, worker: str) -> Iterator[None]:
        """Serialize the claims of a worker: the second may be a retry of the first."""
        with self._lock:
            lock = self._claiming.get(worker) or threading.Lock()
            _remember(self._claiming, worker, lock)
        with lock:
            yield

    def count_blob(self, args: work.BlobArgs) -> None:
        """Count the files of an attempt. Raises SweepError above the limit."""
        attempt = args.task, args.attempt
        with self._lock:
            stored = self._blobs.get(attempt, set()) | {args.digest}
            if len(stored) > work.MOST_BLOBS:
                raise SweepError(f"an attempt may store at most {work.MOST_BLOBS} files")
            _remember(self._blobs, attempt, stored)

    def publish(self, name: str) -> None:
        """Publish the report to the dashboard, in a thread."""
        with self._lock:
            if name in self._publishing:
                return
            self._publishing.add(name)

        def published() -> None:
            try:
                publish(self._url, name)
            finally:
                with self._lock:
                    self._publishing.discard(name)

        threading.Thread(target=published, name=f"publish {name}", daemon=True).start()

    def _opened(self) -> sqlalchemy.Engine:
        with self._lock:
            if self._engine is None:
                self._engine = open_engine(self._url)
            return self._engine

    def _check_sampler(self, spec: Spec) -> None:
        name = spec.search.sampler
        if not is_code(name):
            return
        if not self._allow_code:
            raise NotAllowed(
                f"search.sampler is {name}, Python code, which this service runs only when started with --allow-code;"
                " workers with the database's URL need no service"
            )
        path = name.rpartition(":")[0]
        if (wanted := spec.code.get(path)) and hash_file(Path(path)) != wanted:
            raise NotAllowed(f"{path} of the service's machine is not the file that the sweep was created with")


def _remember(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _MOST_KEPT:
        kept.popitem(last=False)


class Queue:
    """The queue of one sweep, with a method for each call of `sweeps.contrib.server.work`."""

    def __init__(self, backend: DatabaseOversight, queues: Queues) -> None:
        self._backend, self._queues = backend, queues
        self._engine, self._sweep, self._spec = backend.engine, backend.sweep.id, backend.spec

    def outlook(self, args: work.NoArgs) -> queries.Outlook:
        return self._backend.outlook()

    def sign_in(self, args: work.SignInArgs) -> None:
        workers.sign_in(
            self._engine, self._sweep, args.worker, host=args.host, pid=args.pid, provenance=args.provenance
        )

    def sign_out(self, args: work.SignOutArgs) -> None:
        self._backend.sign_out(args.worker, args.reason)

    def claim(self, args: work.ProcessArgs) -> work.Task | None:
        """Claim a task, or return the running one of a worker that lost the answer to its claim."""
        lease_s = self._spec.lease.seconds
        with self._queues.one_claim(args.worker):
            claim = tasks.at_work(self._engine, self._sweep, args.worker) or tasks.claim(
                self._engine, self._sweep, worker=args.worker, host=args.host, pid=args.pid, lease_s=lease_s
            )
        return None if claim is None else _as_sent(claim)

    def deadline(self, args: work.StageArgs) -> float:
        return self._backend.deadline_s(args.stage)

    def start(self, args: work.AttemptArgs) -> dict[str, Any] | None:
        claim = self._attempt(args)
        if claim is None or claim.state != "running":
            return None
        return self._backend.start(claim, jobs.read_job(claim))

    def renew(self, args: work.RenewArgs) -> bool:
        claim = self._attempt(args)
        return claim is not None and self._backend.renew(claim, idle_s=args.idle_s, log=args.log)

    def end(self, args: work.EndArgs) -> bool:
        try:
            cap = None if args.error_class is None else cap_of(args.error_class, self._spec)
        except KeyError:
            raise SweepError(f"error_class: got {args.error_class!r}, which is not one") from None
        claim = self._attempt(args)
        ending = Ending(args.state, args.error_class, args.reason, args.trace, args.log)
        return claim is not None and self._backend.end(claim, ending, cap=cap)

    def finish(self, args: work.FinishArgs) -> bool:
        claim = self._attempt(args)
        if claim is None or claim.state != "running":
            return claim is not None and claim.state == "done"  # a retry after a lost answer
        try:
            self._check(replace(claim, state="done", outcome=args.outcome, score=args.score))
        except RecordBroken as error:
            raise _refused(args, str(error)) from error
        return self._backend.finish(claim, outcome=args.outcome, score=args.score, log=args.log)

    def repair(self, args: work.RepairArgs) -> None:
        self._backend.repair(args.worker, first=args.first, cap=cap_of(LOST, self._spec))

    def done(self, args: work.DoneArgs) -> list[work.Task]:
        return list(map(_as_sent, self._backend.done(args.stage, keys=args.keys)))

    def selection(self, args: work.SelectionArgs) -> dict[str, Any] | None:
        return artifacts.get_selection(self._engine, self._sweep, args.name)

    def freeze(self, args: work.FreezeArgs) -> dict[str, Any]:
        """Freeze a selection of the trainer. Selections from scores are frozen by the service itself."""
        self._at_work(args)
        spec = self._spec
        own = {spec.kind.own_selection(role, arm) for role in spec.roles for arm in spec.arms(role)} - {""}
        if args.name not in own:
            raise SweepError(f"selection {args.name!r}: allowed: {', '.join(sorted(own)) or 'none in this sweep'}")
        stored = read(self._engine, self._backend.sweep)
        if problem := spec.kind.selection_problem(stored, args.name, args.value, (spec,)):
            raise SweepError(f"selection {args.name}: {problem}")
        return artifacts.freeze_selection(self._engine, self._sweep, args.name, args.value)

    def keep(self, args: work.BlobArgs) -> bool:
        """Return whether these bytes are stored already, so that they need not be sent."""
        self._at_work(args)
        self._queues.count_blob(args)
        return artifacts.keep(self._engine, args.digest)

    def put(self, args: work.BlobArgs, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != args.digest:
            raise SweepError(f"blob {args.digest[:12]}: its bytes have a different SHA-256")
        if not self.keep(args):
            artifacts.put(self._engine, data)

    def get(self, digest: str) -> bytes:
        return artifacts.get(self._engine, digest)

    def publish(self, args: work.NoArgs) -> None:
        if not self._backend.outlook().unended:
            self._queues.publish(self._backend.name)

    def to_wake(self, args: work.NumberArgs) -> list[str]:
        return list(self._backend.to_wake(args.number))

    def seen(self, args: work.NoArgs) -> dict[str, Seen]:
        return dict(self._backend.seen())

    def has_finished(self, args: work.WorkerArgs) -> bool:
        return self._backend.has_finished(args.worker)

    def reap(self, args: work.ReapArgs) -> None:
        if args.worker in self._backend.seen():  # a worker of this sweep
            self._backend.reap(args.worker, reason=args.reason, log=args.log)

    def check_room(self, args: work.WorkerArgs) -> None:
        self._backend.check_room(args.worker)

    def counts(self, args: work.NoArgs) -> dict[str, StageCount]:
        return dict(self._backend.counts())

    def outline(self, args: work.NumberArgs) -> Outline:
        return self._backend.outline(args.number)

    def failures(self, args: work.NoArgs) -> list[str]:
        return self._backend.failures()

    def _attempt(self, args: work.AttemptArgs) -> TaskRecord | None:
        return tasks.of_worker(self._engine, self._sweep, args.worker, task=args.task, number=args.attempt)

    def _at_work(self, args: work.AttemptArgs) -> TaskRecord:
        claim = self._attempt(args)
        if claim is None or claim.state != "running":
            raise SweepError(f"task {args.task} attempt {args.attempt} is not running on {args.worker}")
        return claim

    def _check(self, row: TaskRecord) -> None:
        """Raise RecordBroken where a result does not fit its task and its saved point."""
        job = jobs.read_job(row)
        outcome = job.outcome
        assert outcome is not None
        assert row.outcome is not None
        jobs.check_bounds(self._spec.score, outcome, job.score, key=row.key)
        params = tasks.saved_point(self._engine, row)
        if params is None:
            raise RecordBroken("its attempt has saved no point")
        for _, text in audit.outcome_edits(self._spec, row, job.work, outcome, params):
            raise RecordBroken(text)
        own = {"worker": row.worker, "seed": job.work.seed}
        if isinstance(job.work, jobs.TransferTask):
            own["arm"] = job.work.arm
        for name, expected in own.items():
            if (value := row.outcome.get(name, expected)) != expected:
                raise RecordBroken(f"expected {name} {expected!r}, got {str(value)[:80]!r}")
        if (value := trials.result_of(row.outcome, key=row.key).value) != row.score:
            raise RecordBroken(f"its trial has the value {value!r}, and its score is {row.score!r}")
        for digest in outcome.blobs.values():
            if not artifacts.keep(self._engine, digest):
                raise RecordBroken(f"its blob {digest[:12]} was not stored")
        self._check_taken(job)

    def _check_taken(self, job: jobs.AnyJob) -> None:
        """Raise RecordBroken where a result claims the training of another arm that has none like it."""
        same = getattr(job.outcome, "same_as", "")
        if not same:
            return
        trained = jobs.read_finished(self._backend.done(keys=[same]), jobs.TransferTask, jobs.StudentOutcome)
        mine = self._result(job)
        if mine is None or not any(self._result(other) == mine and not other.outcome.same_as for other in trained):
            raise RecordBroken(f"it claims to be {same[:80]!r}, which is not the same training")

    def _result(self, job: jobs.AnyJob) -> tuple[Any, ...] | None:
        """Return what arms that share a training have in common; None if none can share this one."""
        if not isinstance(job.work, jobs.TransferTask) or not isinstance(job.outcome, jobs.StudentOutcome):
            return None
        same = points.training_identity(self._spec, job.work, job.outcome.point)
        shared = job.work.role, job.work.group, job.score, job.outcome.test_accuracy
        return None if same is None else (same, *shared)


def _refused(args: work.AttemptArgs, problem: str) -> SweepError:
    text = problem.removeprefix("the stored ").replace(" was edited: ", ": ")
    return SweepError(f"the service refuses the result of task {args.task} attempt {args.attempt}: {text}")


def _as_sent(row: TaskRecord) -> work.Task:
    return work.Task(**vars(row))
