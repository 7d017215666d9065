"""The tables, and one frozen row class per table; imports errors only.

A sweep has revisions and phases, a phase has tasks, a task has attempts. Times are seconds since 1970 by the database's
clock (`storage.db.transaction`). The tasks are the budget, and the only arbiter of what is done.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    Label,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from storage import json_text
from storage.errors import RecordBroken

SCHEMA_VERSION = 4

SWEEP_STATES = ("active", "paused", "cancelled")
PHASE_STATES = ("blocked", "open", "closed", "failed", "skipped")
PHASE_ENDED = ("closed", "failed", "skipped")
TASK_STATES = ("waiting", "running", "done", "failed", "cancelled", "skipped")
TASK_UNENDED = ("waiting", "running")
TASK_AWAITED = ("waiting", "running", "cancelled")  # may still be done: `resume` takes a cancelled one up again
ATTEMPT_STATES = ("running", "done", "failed", "lost", "released")

# Classes of errors that storage itself gives to an attempt
LOST = "lost worker"
UNREADABLE = "unreadable"


class JsonText(TypeDecorator[Any]):
    """JSON as text on every database: Postgres' own type refuses the NaN of a diverged training."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Encode a value on its way into the database; None is SQL's NULL."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Decode a value on its way out."""
        if value is None:
            return None
        try:
            return json_text.parse(value)
        except ValueError as error:
            raise RecordBroken(f"a stored value is not JSON ({error}): {value[:60]!r}") from error


metadata = MetaData()

version_table = Table("kd_sweeps_schema", metadata, Column("version", Integer, primary_key=True))

sweeps = Table(
    "sweeps",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("revision", Integer, nullable=False),  # the latest; spec and fingerprint are those of it
    Column("spec", JsonText, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("provenance", JsonText, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("repaired_at", Double),  # when a worker last looked for what dead ones left behind
    # What its studies carry, since names can be given again: storage.studies.ownership
    Column("identity", String(32), nullable=False, default=lambda: uuid4().hex),
)
Index("sweeps_by_identity", sweeps.c.identity, unique=True)

# Names of studies that are about to be made, and for which sweep; a row is gone when the studies say it themselves.
reserved_studies = Table(
    "reserved_studies",
    metadata,
    Column("study", String(256), primary_key=True),
    Column("identity", String(32), nullable=False),
)

# What was planned, and when: the budget that an audit counts the tasks against. Rows are added, never changed.
revisions = Table(
    "revisions",
    metadata,
    Column("sweep_id", ForeignKey("sweeps.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),  # 1, and one more whenever tasks are added
    Column("created_at", Double, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("spec", JsonText, nullable=False),
    Column("planned", JsonText, nullable=False),  # how many tasks it added, by phase
    Column("why", Text, nullable=False),
    PrimaryKeyConstraint("sweep_id", "number"),
)

phases = Table(
    "phases",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sweep_id", ForeignKey("sweeps.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(128), nullable=False),
    Column("stage", String(32), nullable=False),
    Column("needs", JsonText, nullable=False),  # as `storage.queue.phases` writes them
    Column("minimum", Integer, nullable=False),  # done tasks without which the phase has failed
    Column("state", String(16), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("closed_at", Double),
    Column("reason", Text),
    UniqueConstraint("sweep_id", "name"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sweep_id", ForeignKey("sweeps.id", ondelete="CASCADE"), nullable=False),
    Column("phase_id", ForeignKey("phases.id", ondelete="CASCADE"), nullable=False),
    Column("stage", String(32), nullable=False),
    Column("key", String(128), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("payload", JsonText, nullable=False),
    Column("state", String(16), nullable=False),
    Column("ready", Boolean, nullable=False),  # its phase is open
    Column("priority", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),  # number of the latest attempt, the fencing token; 0 = none
    Column(
        "forgiven", Integer, key="retries_reset_at", nullable=False
    ),  # attempts up to this number count against no cap any more
    Column("revision", Integer, nullable=False),
    Column("score", Double),
    Column("outcome", JsonText),
    Column("reason", Text),
    Column("error_class", String(64)),
    Column("started_at", Double),
    Column("finished_at", Double),
    UniqueConstraint("sweep_id", "key"),
)
# claim: the first row of this index, however many tasks there are
Index("tasks_by_claim", tasks.c.sweep_id, tasks.c.state, tasks.c.ready, tasks.c.priority.desc(), tasks.c.id)
# closing: has any task of the phase not ended yet?
Index("tasks_by_phase", tasks.c.phase_id, tasks.c.state)

attempts = Table(
    "attempts",
    metadata,
    Column("task_id", ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("worker", String(128), nullable=False),
    Column("host", String(128), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("progress_at", Double),  # its latest step; None: written by an older version
    Column("finished_at", Double),
    Column("study", String(256)),
    Column("trial_number", Integer),
    Column("params", JsonText),
    Column("retry_of", Integer),  # trial number of the attempt before
    Column("told", Boolean, key="reported", nullable=False),  # to its trial, how it ended
    Column("error_class", String(64)),
    Column("reason", Text),
    Column("trace", Text),  # the traceback of an attempt that failed
    Column("log", Text),  # the end of what its worker logged and printed meanwhile
    PrimaryKeyConstraint("task_id", "number"),
)
Index("attempts_by_lease", attempts.c.state, attempts.c.lease_until)
Index("attempts_by_told", attempts.c.reported, attempts.c.state)

# Every worker that ever worked on a sweep. What it did stands in its attempts.
workers = Table(
    "workers",
    metadata,
    Column("sweep_id", ForeignKey("sweeps.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(128), nullable=False),
    Column("host", String(128), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("provenance", JsonText, nullable=False),  # versions, processor, threads
    Column("started_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("reason", Text),  # why it ended, where something was wrong
    PrimaryKeyConstraint("sweep_id", "name"),
)

selections = Table(
    "selections",
    metadata,
    Column("sweep_id", ForeignKey("sweeps.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(128), nullable=False),
    Column("value", JsonText, nullable=False),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("sweep_id", "name"),
)

blobs = Table(
    "blobs",
    metadata,
    Column("digest", String(64), primary_key=True),  # SHA-256 of the bytes, lower-case hex
    Column("bytes", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    Column("stored_at", Double, nullable=False),  # by the last who stored it: a deletion spares what is in use
)


def columns_of(kind: type[Any], table: Table, *, but: Collection[str] = ()) -> list[Label[Any]]:
    """Return the columns of a table that a class of rows has fields for, but those of these names."""
    names = [field.name for field in fields(kind) if field.name in table.c and field.name not in but]
    return [table.c[name].label(name) for name in names]


@dataclass(frozen=True)
class SweepRecord:
    """A sweep. `created_at`: seconds since 1970, as all times here. `identity`: what its studies carry."""

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
    """One plan of a sweep. `planned`: how many tasks it added, by phase."""

    number: int
    created_at: float
    fingerprint: str
    spec: dict[str, Any]
    planned: dict[str, int]
    why: str


@dataclass(frozen=True)
class PhaseRecord:
    """A phase, and how many of its tasks are in each state (states without any are left out)."""

    name: str
    stage: str
    state: str
    needs: tuple[str, ...]
    minimum: int
    reason: str | None
    closed_at: float | None
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Return how many tasks the phase has."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class TaskRecord:
    """A task with its phase, and its latest attempt's trial, parameters and worker; a claim is one, too.

    Attributes:
        attempt: number of the latest attempt, from 1; 0: none. With `id` it fences every step after a claim.
        reason, error_class: why it failed or was skipped; while it waits for its next attempt, why the latest ended.
        params: of a claim those that an earlier attempt saved, since a retry keeps them.
        retry_of: of a claim the trial number of the attempt before, if that had a trial.
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
    retry_of: int | None = None


@dataclass(frozen=True)
class AttemptRecord:
    """An attempt. Times are seconds since 1970.

    error_class, reason, trace: why it failed, and the traceback. log: the end of what its worker logged and printed;
    while it runs, as of the latest renewal of its lease. None where there is none.
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
