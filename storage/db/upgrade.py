"""Upgrade a storage from an older schema: one step per version, all in one transaction.

A step is plain SQL for both SQLite and Postgres, with the names of its time. It uses no Table object of
`storage.tables`: those change, and a step must not.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from uuid import uuid4

from sqlalchemy import URL, Connection, Engine, column, select, table, text

from storage.db import sqlite_file
from storage.db.engine import check, create_lock, opened_engine, stored_version
from storage.db.transaction import database_now, retry_transient, write
from storage.errors import StorageError, SweepInUse
from storage.failpoints import failpoint
from storage.tables import SCHEMA_VERSION
from storage.url import masked, sqlite_path


@dataclass(frozen=True)
class Upgraded:
    """The result of an upgrade. before, after: schema versions, equal if nothing was to do.

    copy: of the SQLite file before the upgrade; None on Postgres, and if nothing was to do.
    """

    before: int
    after: int
    copy: Path | None


def upgrade(url: URL) -> Upgraded:
    """Upgrade the storage to SCHEMA_VERSION, entirely or not at all.

    SweepInUse: a lease is valid, so a worker of the older version is probably alive. StorageError: the copy cannot be
    written. Unreachable: no server, no access, or a table locked by another process.
    """
    if url.get_backend_name() == "sqlite":
        sqlite_file.check_path(url, must_exist=True, read_only=False)  # before the lock, which creates a file
    # must_exist=False skips the check of the version.
    with create_lock(url), opened_engine(url, must_exist=False, read_only=False) as engine:
        done = _upgrade(engine)
        check(engine)
    return done


@retry_transient()
def _upgrade(engine: Engine) -> Upgraded:
    with write(engine) as connection:
        version = stored_version(connection)
        if version == SCHEMA_VERSION:
            return Upgraded(version, version, None)
        if engine.dialect.name == "postgresql":  # on SQLite a writing transaction is exclusive
            connection.execute(text("LOCK TABLE tasks, attempts IN ACCESS EXCLUSIVE MODE"))
        _refuse_if_in_use(connection)
        with _copied(engine.url, version) as copy:
            for before in range(version, SCHEMA_VERSION):
                _STEPS[before](connection)
                failpoint("upgrade-step")
            connection.execute(text("UPDATE kd_sweeps_schema SET version = :version"), {"version": SCHEMA_VERSION})
            failpoint("upgrade-done")
            connection.commit()  # inside the block, so that a failed commit removes the copy
    return Upgraded(version, SCHEMA_VERSION, copy)


def valid_lease(connection: Connection, sweep_id: int | None = None) -> str:
    """Return worker, task and remaining time of the longest valid lease, of a sweep or all; "" if there is none."""
    # These columns have been the same since version 1.
    tasks = table("tasks", *map(column, ("id", "key", "sweep_id")))
    attempts = table("attempts", *map(column, ("task_id", "worker", "state", "lease_until")))
    query = (
        select(attempts.c.worker, tasks.c.key, (attempts.c.lease_until - database_now()).label("left"))
        .join_from(attempts, tasks, tasks.c.id == attempts.c.task_id)
        .where(attempts.c.state == "running", attempts.c.lease_until >= database_now())
        .order_by(attempts.c.lease_until.desc())
    )
    row = connection.execute(query if sweep_id is None else query.where(tasks.c.sweep_id == sweep_id)).first()
    return "" if row is None else f"{row.worker} has {row.key}, lease {row.left:.0f} s"


def _refuse_if_in_use(connection: Connection) -> None:
    if lease := valid_lease(connection):
        raise SweepInUse(
            f"{masked(connection.engine.url)} is in use ({lease}): stop every worker, and type the command again; a"
            " killed worker holds its lease that long"
        )


@contextmanager
def _copied(url: URL, version: int) -> Iterator[Path | None]:
    """Copy an SQLite storage before the block changes it; remove the copy if the block fails."""
    if url.get_backend_name() != "sqlite":
        yield None
        return
    path = sqlite_path(url).absolute()
    copy = _free_name(path, version)
    _copy(path, copy)
    failpoint("upgrade-copied")
    try:
        yield copy
    except BaseException:
        copy.unlink(missing_ok=True)
        raise


def _free_name(path: Path, version: int) -> Path:
    """Return FILE.schema-2.db for FILE.db, with a number if that exists: earlier copies stay."""
    numbers = chain([""], (f".{number}" for number in count(2)))
    tries = (path.with_name(f"{path.stem}.schema-{version}{number}{path.suffix}") for number in numbers)
    return next(name for name in tries if not os.path.lexists(name))


def _copy(path: Path, copy: Path) -> None:
    part = copy.with_name(f".{copy.name}.part")  # a fixed name: the next upgrade replaces what a killed one left
    try:
        part.unlink(missing_ok=True)
        # SQLite's backup includes the -wal file. It reads the last committed state, and no process commits
        # meanwhile: our transaction has begun, and has changed nothing yet.
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(part)) as target:
            source.backup(target)
        failpoint("upgrade-copying")
        part.chmod(path.stat().st_mode & 0o777)
        part.rename(copy)
    except (OSError, sqlite3.Error) as error:
        part.unlink(missing_ok=True)
        raise StorageError(
            f"cannot copy {path} to {copy.name} beside it ({error}); nothing was changed; make room there and type the"
            " command again"
        ) from error


def _from_1(connection: Connection) -> None:
    """Revisions of a plan; attempts that no longer count against a cap; when a blob was last stored."""
    for statement in (
        "CREATE TABLE revisions (sweep_id INTEGER NOT NULL, number INTEGER NOT NULL, created_at DOUBLE PRECISION"
        " NOT NULL, fingerprint VARCHAR(64) NOT NULL, spec TEXT NOT NULL, planned TEXT NOT NULL, why TEXT NOT NULL,"
        " PRIMARY KEY (sweep_id, number), FOREIGN KEY (sweep_id) REFERENCES sweeps (id) ON DELETE CASCADE)",
        "ALTER TABLE tasks ADD COLUMN forgiven INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE blobs RENAME COLUMN created_at TO stored_at",
    ):
        connection.execute(text(statement))
    # Nothing could be added to a sweep of version 1: its tasks are the original plan.
    planned = text(
        "SELECT phases.name, count(*) AS number FROM tasks JOIN phases ON phases.id = tasks.phase_id"
        " WHERE tasks.sweep_id = :id GROUP BY phases.name, phases.ordinal ORDER BY phases.ordinal"
    )
    insert = text(
        "INSERT INTO revisions (sweep_id, number, created_at, fingerprint, spec, planned, why)"
        " SELECT id, 1, created_at, fingerprint, spec, :planned, 'created' FROM sweeps WHERE id = :id"
    )
    for sweep_id in connection.scalars(text("SELECT id FROM sweeps ORDER BY id")).all():
        counts = {row.name: row.number for row in connection.execute(planned, {"id": sweep_id})}
        connection.execute(insert, {"id": sweep_id, "planned": json.dumps(counts)})


def _from_2(connection: Connection) -> None:
    """Latest step, traceback and log of an attempt; the workers of a sweep, and when they last repaired it."""
    for statement in (
        "ALTER TABLE sweeps ADD COLUMN repaired_at DOUBLE PRECISION",
        "ALTER TABLE attempts ADD COLUMN progress_at DOUBLE PRECISION",
        "ALTER TABLE attempts ADD COLUMN trace TEXT",
        "ALTER TABLE attempts ADD COLUMN log TEXT",
        "CREATE TABLE workers (sweep_id INTEGER NOT NULL, name VARCHAR(128) NOT NULL, host VARCHAR(128) NOT NULL,"
        " pid INTEGER NOT NULL, provenance TEXT NOT NULL, started_at DOUBLE PRECISION NOT NULL,"
        " seen_at DOUBLE PRECISION NOT NULL, ended_at DOUBLE PRECISION, reason TEXT, PRIMARY KEY (sweep_id, name),"
        " FOREIGN KEY (sweep_id) REFERENCES sweeps (id) ON DELETE CASCADE)",
    ):
        connection.execute(text(statement))


def _from_3(connection: Connection) -> None:
    """The identity of a sweep, and the names of studies about to be created."""
    connection.execute(text("ALTER TABLE sweeps ADD COLUMN identity VARCHAR(32) NOT NULL DEFAULT ''"))
    for sweep_id in connection.scalars(text("SELECT id FROM sweeps")).all():
        values = {"id": sweep_id, "identity": uuid4().hex}
        connection.execute(text("UPDATE sweeps SET identity = :identity WHERE id = :id"), values)
    for statement in (
        "CREATE UNIQUE INDEX sweeps_by_identity ON sweeps (identity)",
        "CREATE TABLE reserved_studies (study VARCHAR(256) NOT NULL, identity VARCHAR(32) NOT NULL,"
        " PRIMARY KEY (study))",
    ):
        connection.execute(text(statement))


def _from_4(connection: Connection) -> None:
    """Trials drawn by a mirror instead of workers: both versions at once would draw them twice.

    Number of retries in a phase; an index for the first task of a phase in a state.
    """
    connection.execute(text("ALTER TABLE phases ADD COLUMN retries INTEGER NOT NULL DEFAULT 0"))
    connection.execute(text("DROP INDEX tasks_by_phase"))
    connection.execute(text("CREATE INDEX tasks_by_phase ON tasks (phase_id, state, id)"))


# By the version that a step starts from.
_STEPS: dict[int, Callable[[Connection], None]] = {1: _from_1, 2: _from_2, 3: _from_3, 4: _from_4}
