"""The tables of kd-sweeps, beside Optuna's in the same database.

A sweep has revisions and phases, a phase has tasks, a task has attempts. Times are seconds since 1970 by the database's
clock (`storage.db.dialects`). The tasks are the budget, and the only arbiter of what is done.
"""

import json
from typing import Any
from uuid import uuid4

import sqlalchemy
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Dialect,
    Double,
    Engine,
    ForeignKey,
    Index,
    Integer,
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
from storage.db.transaction import read, write
from storage.errors import NextStep, NotAStorage, RecordBroken
from storage.url import masked

SCHEMA_VERSION = 4

SWEEP_STATES = ("active", "paused", "cancelled")
PHASE_STATES = ("blocked", "open", "closed", "failed", "skipped")
PHASE_ENDED = ("closed", "failed", "skipped")
TASK_STATES = ("waiting", "running", "done", "failed", "cancelled", "skipped")
TASK_AWAITED = ("waiting", "running", "cancelled")  # may still be done: `resume` takes a cancelled one up again
ATTEMPT_STATES = ("running", "done", "failed", "lost", "released")


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
    Column("needs", JsonText, nullable=False),  # as `storage.queue.needs` writes them
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


def exist(engine: Engine) -> bool:
    """Return whether the database holds our tables, of whichever version."""
    with read(engine) as connection:
        return sqlalchemy.inspect(connection).has_table(version_table.name)


def create_tables(engine: Engine) -> None:
    """Make what is missing. Run it inside `storage.db.engine.create_lock`.

    Raises:
        NotAStorage: tables of another version, or another program's tables under our names.
    """
    with write(engine) as connection:
        present = set(sqlalchemy.inspect(connection).get_table_names())
        if version_table.name not in present:
            if foreign := sorted(present & set(metadata.tables)):
                raise NotAStorage(
                    f"{masked(engine.url)} has a table {foreign[0]!r} that kd-sweeps did not make; use a"
                    " database of its own"
                )
            metadata.create_all(connection)
            connection.execute(version_table.insert().values(version=SCHEMA_VERSION))
    check(engine)


def check(engine: Engine) -> None:
    """Check that the database holds the tables of this version.

    Raises:
        NotAStorage: it holds none, or those of another version.
    """
    with read(engine) as connection:
        version = stored_version(connection)
    if version < SCHEMA_VERSION:
        raise NotAStorage(
            f"{masked(engine.url)} was made by an older kd-sweeps (schema {version}; this one needs {SCHEMA_VERSION})",
            NextStep("stop its workers, and type", "storage upgrade", sweep=""),
        )


def stored_version(connection: Connection) -> int:
    """Return the version of the tables that are there, SCHEMA_VERSION or an older one.

    Raises:
        NotAStorage: there are none, or they are newer.
    """
    found = sqlalchemy.inspect(connection).has_table(version_table.name)
    version = connection.scalar(sqlalchemy.select(version_table.c.version)) if found else None
    shown = masked(connection.engine.url)
    if version is None:
        raise NotAStorage(
            f"{shown} holds no kd-sweeps tables (--storage URL names another storage)",
            NextStep("make a sweep there with", "create"),
        )
    if version > SCHEMA_VERSION:
        raise NotAStorage(
            f"{shown} was made by a newer kd-sweeps (schema {version}; this one knows {SCHEMA_VERSION}):"
            " upgrade kd-sweeps"
        )
    return int(version)
