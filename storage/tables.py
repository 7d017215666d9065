"""The tables, and one frozen row class per table.

A sweep has revisions and phases, a phase has tasks, a task has attempts. Times are seconds since 1970 by the database's
clock (`storage.db.transaction`). The tasks are the budget; they alone decide what is done.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from storage import json_text
from storage.errors import RecordBroken

SCHEMA_VERSION = 5

SWEEP_STATES = ("active", "paused", "cancelled")
PHASE_STATES = ("blocked", "open", "closed", "failed", "skipped")
PHASE_ENDED = ("closed", "failed", "skipped")
TASK_STATES = ("waiting", "running", "done", "failed", "cancelled", "skipped")
TASK_UNENDED = ("waiting", "running")
TASK_AWAITED = ("waiting", "running", "cancelled")  # may still be done: `resume` queues a cancelled one again
ATTEMPT_STATES = ("running", "done", "failed", "lost", "released")

# Error classes that the storage itself assigns to an attempt
LOST = "lost worker"
UNREADABLE = "unreadable"


class JsonText(sa.TypeDecorator[Any]):
    """JSON as text on every database: Postgres' JSON type rejects the NaN of a diverged training."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        try:
            return json_text.parse(value)
        except ValueError as error:
            raise RecordBroken(f"a stored value is not JSON ({error}): {value[:60]!r}") from error


metadata = sa.MetaData()

version_table = sa.Table("kd_sweeps_schema", metadata, sa.Column("version", sa.Integer, primary_key=True))

sweeps = sa.Table(
    "sweeps",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(64), nullable=False, unique=True),
    sa.Column("revision", sa.Integer, nullable=False),  # the latest, which spec and fingerprint belong to
    sa.Column("spec", JsonText, nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("provenance", JsonText, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("repaired_at", sa.Double),  # when a worker last freed the tasks of dead ones
    # Stored in its studies, since names can be reused: storage.studies.ownership
    sa.Column("identity", sa.String(32), nullable=False, default=lambda: uuid4().hex),
)
sa.Index("sweeps_by_identity", sweeps.c.identity, unique=True)

# Names of studies about to be created, and for which sweep; a row goes once its study carries the identity.
reserved_studies = sa.Table(
    "reserved_studies",
    metadata,
    sa.Column("study", sa.String(256), primary_key=True),
    sa.Column("identity", sa.String(32), nullable=False),
)

# What was planned, and when: the budget that an audit checks the tasks against. Rows are added, never changed.
revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column("sweep_id", sa.ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),  # from 1; each addition of tasks has its own
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("spec", JsonText, nullable=False),
    sa.Column("planned", JsonText, nullable=False),  # number of tasks added, by phase
    sa.Column("why", sa.Text, nullable=False),
)

phases = sa.Table(
    "phases",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("sweep_id", sa.ForeignKey("sweeps.id", ondelete="CASCADE"), nullable=False),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("stage", sa.String(32), nullable=False),
    sa.Column("needs", JsonText, nullable=False),  # as `storage.queue.phases` writes them
    sa.Column("minimum", sa.Integer, nullable=False),  # with fewer done tasks the phase fails
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("closed_at", sa.Double),
    sa.Column("reason", sa.Text),
    # number of retries of ended tasks: as long as it is the same, cached reads of ended tasks are valid
    sa.Column("retries", sa.Integer, nullable=False, default=0),
    sa.UniqueConstraint("sweep_id", "name"),
)

tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("sweep_id", sa.ForeignKey("sweeps.id", ondelete="CASCADE"), nullable=False),
    sa.Column("phase_id", sa.ForeignKey("phases.id", ondelete="CASCADE"), nullable=False),
    sa.Column("stage", sa.String(32), nullable=False),
    sa.Column("key", sa.String(128), nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("payload", JsonText, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("ready", sa.Boolean, nullable=False),  # its phase is open
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),  # number of the latest attempt, the fencing token; 0 = none
    # attempts up to this number no longer count against a cap
    sa.Column("forgiven", sa.Integer, key="retries_reset_at", nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("score", sa.Double),
    sa.Column("outcome", JsonText),
    sa.Column("reason", sa.Text),
    sa.Column("error_class", sa.String(64)),
    sa.Column("started_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    sa.UniqueConstraint("sweep_id", "key"),
)
# A claim reads the first row of this index, however many tasks there are.
sa.Index("tasks_by_claim", tasks.c.sweep_id, tasks.c.state, tasks.c.ready, tasks.c.priority.desc(), tasks.c.id)
# Closing a phase, or applying a lag, reads the first task of the phase in a state.
sa.Index("tasks_by_phase", tasks.c.phase_id, tasks.c.state, tasks.c.id)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("task_id", sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("worker", sa.String(128), nullable=False),
    sa.Column("host", sa.String(128), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("lease_until", sa.Double, nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("progress_at", sa.Double),  # its latest step; None: written by an older version
    sa.Column("finished_at", sa.Double),
    # Its trial as drawn by the mirror; None: not yet. retry_of: trial number of the previous attempt.
    sa.Column("study", sa.String(256)),
    sa.Column("trial_number", sa.Integer),
    sa.Column("params", JsonText),  # its point, set before it runs
    sa.Column("retry_of", sa.Integer),
    sa.Column("told", sa.Boolean, key="reported", nullable=False),  # the trial shows how it ended
    sa.Column("error_class", sa.String(64)),
    sa.Column("reason", sa.Text),
    sa.Column("trace", sa.Text),  # traceback of a failed attempt
    sa.Column("log", sa.Text),  # end of the worker's output during the attempt
)
sa.Index("attempts_by_lease", attempts.c.state, attempts.c.lease_until)
sa.Index("attempts_by_told", attempts.c.reported, attempts.c.state)

# Every worker that ever worked on a sweep; its work is in its attempts.
workers = sa.Table(
    "workers",
    metadata,
    sa.Column("sweep_id", sa.ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("host", sa.String(128), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("provenance", JsonText, nullable=False),  # versions, processor, threads
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("seen_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
    sa.Column("reason", sa.Text),  # why it ended, if by an error
)

selections = sa.Table(
    "selections",
    metadata,
    sa.Column("sweep_id", sa.ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("value", JsonText, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
)

blobs = sa.Table(
    "blobs",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),  # SHA-256 of the bytes, lower-case hex
    sa.Column("bytes", sa.LargeBinary, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("stored_at", sa.Double, nullable=False),  # most recently: a deletion spares blobs in use
)


def columns_of(kind: type[Any], table: sa.Table, *, but: Collection[str] = ()) -> list[sa.Label[Any]]:
    """Return the columns of a table that a row class has fields for, except those named in `but`."""
    names = [field.name for field in fields(kind) if field.name in table.c and field.name not in but]
    return [table.c[name].label(name) for name in names]


@dataclass(frozen=True)
class SweepRecord:
    """A sweep. `created_at`: seconds since 1970, as all times here. `identity`: also stored in its studies."""

    id: int
    name: str
    revision: int
    spec: dict[str, Any]
    fingerprint: str
    provenance: dict[str, Any]
    state: str
    created_at: float
    repaired_at: float | None
    identity: str


@dataclass(frozen=True)
class RevisionRecord:
    """One plan of a sweep. `planned`: number of tasks it added, by phase."""

    number: int
    created_at: float
    fingerprint: str
    spec: dict[str, Any]
    planned: dict[str, int]
    why: str


@dataclass(frozen=True)
class PhaseRecord:
    """A phase with the number of its tasks in each state (empty states are left out)."""

    name: str
    stage: str
    state: str
    needs: tuple[str, ...]
    minimum: int
    reason: str | None
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskRecord:
    """A task with its phase, and its latest attempt's trial, parameters and worker; also the result of a claim.

    Attributes:
        attempt: number of the latest attempt, from 1; 0: none. With `id` it fences every step after a claim.
        reason, error_class: why it failed or was skipped; while it waits for a retry, why the latest attempt ended.
        params: of a claim, the parameters that an earlier attempt saved: a retry keeps them.
    """

    id: int
    sweep_id: int
    key: str
    stage: str
    phase: str
    payload: dict[str, Any]
    state: str
    attempt: int
    score: float | None = None
    outcome: dict[str, Any] | None = None
    reason: str | None = None
    error_class: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    params: dict[str, Any] | None = None
    trial_number: int | None = None
    study: str | None = None
    worker: str | None = None


@dataclass(frozen=True)
class AttemptRecord:
    """An attempt. Times are seconds since 1970.

    error_class, reason, trace: why it failed, and the traceback. log: end of its worker's output; while it runs, as of
    the latest renewal of its lease.
    """

    number: int
    worker: str
    host: str
    pid: int
    state: str
    started_at: float
    finished_at: float | None
    error_class: str | None
    reason: str | None
    trace: str | None
    log: str | None
