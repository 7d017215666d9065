"""Who works on a sweep, on every machine, and who did."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy

from storage.queue import workers
from storage.queue.workers import WorkerRecord
from storage.records.queries import SweepRecord, TaskRecord
from sweeps.spec.model import Spec

STATES = ("working", "idle", "vanished", "stopped", "ended")


@dataclass(frozen=True, kw_only=True)
class WorkerRow:
    """A worker.

    state: "working"; "idle", waiting for a task; "vanished", not seen for longer than a lease; "stopped", and reason
    says why; "ended", because nothing was left. seen_s: seconds since it was last seen. done, failed: attempts.
    numerics: fingerprint of its arithmetic, None before it has trained.
    """

    worker: str
    host: str
    pid: int
    state: str
    task: str | None
    attempt: int | None
    done: int
    failed: int
    seen_s: float
    started_at: float
    reason: str | None
    cpu: str | None
    tensorflow: str | None
    kd_sweeps: str | None
    numerics: str | None


def worker_rows(
    engine: sqlalchemy.Engine, sweep: SweepRecord, spec: Spec, tasks: Sequence[TaskRecord]
) -> list[WorkerRow]:
    """Return every worker that ever worked on a sweep, oldest first.

    Args:
        tasks: those that are done, or all; of their outcomes "numerics" is read.

    Raises:
        storage.errors.RecordBroken: a stored value can no longer be read.
    """
    numerics = {task.worker: task.outcome.get("numerics") for task in tasks if task.outcome}
    return [_row(record, spec.lease.seconds, numerics.get(record.name)) for record in workers.records(engine, sweep.id)]


def _row(record: WorkerRecord, lease_s: float, numerics: str | None) -> WorkerRow:
    versions = record.provenance.get("versions", {})
    return WorkerRow(
        worker=record.name,
        host=record.host,
        pid=record.pid,
        state=_state(record, lease_s),
        task=record.task,
        attempt=record.attempt,
        done=record.done,
        failed=record.failed,
        seen_s=max(record.seen_s, 0.0),  # the database's clock may have been set back
        started_at=record.started_at,
        reason=record.reason,
        cpu=record.provenance.get("cpu"),
        tensorflow=versions.get("tensorflow"),
        kd_sweeps=versions.get("kd-sweeps"),
        numerics=numerics,
    )


def _state(record: WorkerRecord, lease_s: float) -> str:
    return worker_state(
        ended=record.ended_at is not None,
        has_reason=bool(record.reason),
        seen_s=record.seen_s,
        busy=bool(record.task),
        lease_s=lease_s,
    )


def worker_state(*, ended: bool, has_reason: bool, seen_s: float, busy: bool, lease_s: float) -> str:
    """Return the state of a worker, one of STATES; the arguments as in `storage.records.tallies.WorkerTally`."""
    if ended:
        return "stopped" if has_reason else "ended"
    if seen_s > lease_s:
        return "vanished"
    return "working" if busy else "idle"
