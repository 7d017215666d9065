"""Between the tables and the lines: read a sweep of one moment, and write one in one transaction."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from pydantic import ValidationError
from sqlalchemy import URL, Connection, Engine, Select, StaticPool, Table, insert, select

from storage.archive.lines import (
    AttemptLine,
    PhaseLine,
    RevisionLine,
    SelectionLine,
    SweepLine,
    SweepLines,
    TaskLine,
    WorkerLine,
)
from storage.db import transaction
from storage.db.transaction import database_now, insert_into, read, retrying, write
from storage.errors import NextStep, RecordBroken, SpecConflict, SweepNotFound
from storage.failpoints import failpoint
from storage.records.queries import SweepRecord, find_sweep
from storage.tables import attempts, metadata, phases, revisions, selections, sweeps, tasks, workers
from storage.tables import blobs as blob_table
from storage.url import masked


@retrying
def read_lines(engine: Engine, sweep_id: int) -> SweepLines:
    """Return everything of a sweep but its blobs, of one moment. Workers may be at it meanwhile.

    Raises:
        SweepNotFound: it was deleted meanwhile.
        RecordBroken: a stored value cannot be read.
    """
    with read(engine) as connection, transaction.explain_corruption(connection, sweep_id):
        if engine.dialect.name == "postgresql":  # on SQLite what a transaction reads is of one moment
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        (sweep,) = _read(connection, SweepLine, sweeps, select(sweeps).where(sweeps.c.id == sweep_id)) or [None]
        if sweep is None:
            raise SweepNotFound("the sweep was deleted a moment ago")

        def own(model: type[Any], table: Table, *order: Any) -> list[Any]:
            return _read(connection, model, table, select(table).where(table.c.sweep_id == sweep_id).order_by(*order))

        of_phase = select(*tasks.c, phases.c.name.label("phase")).join_from(
            tasks, phases, phases.c.id == tasks.c.phase_id
        )
        of_task = select(*attempts.c, tasks.c.key.label("task")).join_from(
            attempts, tasks, tasks.c.id == attempts.c.task_id
        )
        return SweepLines(
            sweep=sweep,
            revisions=own(RevisionLine, revisions, revisions.c.number),
            phases=own(PhaseLine, phases, phases.c.id),
            tasks=_read(connection, TaskLine, tasks, of_phase.where(tasks.c.sweep_id == sweep_id).order_by(tasks.c.id)),
            attempts=_read(
                connection,
                AttemptLine,
                attempts,
                of_task.where(tasks.c.sweep_id == sweep_id).order_by(tasks.c.id, attempts.c.number),
            ),
            selections=own(SelectionLine, selections, selections.c.name),
            workers=own(WorkerLine, workers, workers.c.name),
        )


def _read(connection: Connection, model: type[Any], table: Table, query: Select[Any]) -> list[Any]:
    # By the keys of the columns, which are our names of them, not by those in the database.
    keys = [name for name in model.model_fields if name not in ("phase", "task") or name in table.c]
    more = [name for name in model.model_fields if name not in keys]
    try:
        return [
            model(
                **{name: _clean(row._mapping[table.c[name]]) for name in keys},
                **{name: row._mapping[name] for name in more},
            )
            for row in connection.execute(query)
        ]
    except ValidationError as error:
        problem = error.errors()[0]
        raise RecordBroken(
            f"a stored {table.name.removesuffix('s')} has {'.'.join(map(str, problem['loc']))}"
            f" {repr(problem['input'])[:80]} ({problem['msg'].removeprefix('Value error, ')}), so it cannot be archived"
        ) from error


def _clean(value: Any) -> Any:
    """Return text as both databases take it: what a library printed may hold a NUL."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def taken(url: URL, name: str) -> SpecConflict:
    """Return the error that a sweep of that name is there."""
    return SpecConflict(
        f"a sweep {name!r} exists in {masked(url)}; import it under another name: add --as NAME",
        NextStep("or remove the one that is there", "delete", name),
    )


@retrying
def write_lines(
    engine: Engine, lines: SweepLines, *, name: str, identity: str, blobs: Mapping[str, Callable[[], bytes]]
) -> int:
    """Write a sweep under that name with its blobs, in one transaction. Returns its number in the database.

    Its trials are taken to be reported. Run it inside `storage.db.engine.create_lock`, after they were made.

    Args:
        blobs: to be stored, each as what gives its bytes: they need not fit into memory together.

    Raises:
        SpecConflict: the name is taken.
    """
    with write(engine) as connection:
        if connection.scalar(select(sweeps.c.id).where(sweeps.c.name == name)) is not None:
            raise taken(engine.url, name)
        values = lines.sweep.model_dump() | {"name": name, "identity": identity}
        sweep_id = connection.execute(insert(sweeps).values(values).returning(sweeps.c.id)).scalar_one()
        for table, own in (
            (revisions, lines.revisions),
            (phases, lines.phases),
            (selections, lines.selections),
            (workers, lines.workers),
        ):
            _insert(connection, table, [line.model_dump() | {"sweep_id": sweep_id} for line in own])
        of_sweep = select(phases.c.name, phases.c.id).where(phases.c.sweep_id == sweep_id)
        numbers = {row.name: row.id for row in connection.execute(of_sweep)}
        _insert(
            connection,
            tasks,
            [
                task.model_dump(exclude={"phase"}) | {"sweep_id": sweep_id, "phase_id": numbers[task.phase]}
                for task in lines.tasks
            ],
        )
        of_sweep = select(tasks.c.key, tasks.c.id).where(tasks.c.sweep_id == sweep_id)
        numbers = {row.key: row.id for row in connection.execute(of_sweep)}
        _insert(
            connection,
            attempts,
            [
                attempt.model_dump(exclude={"task"})
                | {"task_id": numbers[attempt.task], "reported": attempt.trial_number is not None}
                for attempt in lines.attempts
            ],
        )
        for digest, load in blobs.items():
            _store(connection, digest, load())
        if blobs:  # not in the storage in memory that verifies the file first
            failpoint("import-rows")
    return int(sweep_id)


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _store(connection: Connection, digest: str, data: bytes) -> None:
    row = insert_into(connection, blob_table).values(
        digest=digest, bytes=data, size=len(data), stored_at=database_now()
    )
    healed = {name: row.excluded[name] for name in ("bytes", "size", "stored_at")}  # as `storage.records.artifacts.put`
    connection.execute(row.on_conflict_do_update(index_elements=[blob_table.c.digest], set_=healed))


@contextmanager
def opened(lines: SweepLines) -> Iterator[tuple[Engine, SweepRecord]]:
    """Give the lines as a storage in memory, without blobs and trials: whatever reads a sweep can read them."""
    # One connection: each further one would have a database of its own.
    engine = sqlalchemy.create_engine("sqlite://", poolclass=StaticPool)
    try:
        metadata.create_all(engine)
        write_lines(engine, lines, name=lines.sweep.name, identity="", blobs={})
        yield engine, find_sweep(engine, lines.sweep.name)
    finally:
        engine.dispose()
