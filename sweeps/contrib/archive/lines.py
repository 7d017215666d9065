"""The lines of an archive, one per row of a table: read from a storage, written to one, loaded into memory.

Types, lengths and numbers that one of the two databases would refuse are refused here, before anything is written.
JSON columns of the tables are JSON in the lines.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import sqlalchemy
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import URL, Connection, Engine, Select, StaticPool, Table, insert, select

from storage import tables
from storage.db import transaction
from storage.db.transaction import read, retry_transient, write
from storage.errors import ArchiveBroken, NextStep, RecordBroken, SpecConflict, SweepNotFound
from storage.failpoints import failpoint
from storage.queue.phases import Dependency, parse_dependencies, parse_lag
from storage.records import artifacts
from storage.records.queries import find_sweep
from storage.tables import SweepRecord, attempts, phases, revisions, selections, tasks, workers
from storage.url import masked

SHA256 = "[0-9a-f]{64}"


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL character, which Postgres refuses")
    text.encode()  # half of a surrogate pair, which JSON allows, is a ValueError
    return text


def _one_of(*states: str) -> Any:
    def check(text: str) -> str:
        if text not in states:
            raise ValueError(f"allowed: {', '.join(states)}")
        return text

    return AfterValidator(check)


Time = Annotated[float, Field(ge=0, lt=1e11, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Text = Annotated[str, AfterValidator(_storable)]
Name = Annotated[Text, Field(max_length=128)]
Sha256 = Annotated[str, Field(pattern=f"^{SHA256}$")]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SweepLine(_Line):
    name: Annotated[Text, Field(max_length=64)]
    revision: Whole
    spec: dict[str, Any]
    fingerprint: Sha256
    provenance: dict[str, Any]
    state: Annotated[str, _one_of(*tables.SWEEP_STATES)]
    created_at: Time


class RevisionLine(_Line):
    number: Whole
    created_at: Time
    fingerprint: Sha256
    spec: dict[str, Any]
    planned: dict[str, int]
    why: Text


class PhaseLine(_Line):
    name: Name
    stage: Annotated[Text, Field(max_length=32)]
    needs: list[str]
    minimum: Whole
    state: Annotated[str, _one_of(*tables.PHASE_STATES)]
    ordinal: Whole
    closed_at: Time | None
    reason: Text | None


class TaskLine(_Line):
    key: Name
    phase: Name
    stage: Annotated[Text, Field(max_length=32)]
    ordinal: Whole
    payload: dict[str, Any]
    state: Annotated[str, _one_of(*tables.TASK_STATES)]
    ready: bool
    priority: Whole
    attempt: Whole
    retries_reset_at: Whole
    revision: Whole
    score: Annotated[float, Field(allow_inf_nan=False)] | None
    outcome: dict[str, Any] | None
    reason: Text | None
    error_class: Annotated[Text, Field(max_length=64)] | None
    started_at: Time | None
    finished_at: Time | None

    @property
    def blobs(self) -> Mapping[str, str]:
        named = (self.outcome or {}).get("blobs")
        return {what: str(digest) for what, digest in named.items()} if isinstance(named, dict) else {}


class AttemptLine(_Line):
    task: Name
    number: Whole
    worker: Name
    host: Name
    pid: Whole
    state: Annotated[str, _one_of(*tables.ATTEMPT_STATES)]
    lease_until: Time
    started_at: Time
    progress_at: Time | None
    finished_at: Time | None
    study: Annotated[Text, Field(max_length=256)] | None
    trial_number: Annotated[int, Field(ge=0, lt=2**31)] | None
    params: dict[str, Any] | None
    retry_of: Whole | None
    error_class: Annotated[Text, Field(max_length=64)] | None
    reason: Text | None
    trace: Text | None
    log: Text | None


class SelectionLine(_Line):
    name: Name
    value: dict[str, Any]
    created_at: Time


class WorkerLine(_Line):
    name: Name
    host: Name
    pid: Whole
    provenance: dict[str, Any]
    started_at: Time
    seen_at: Time
    ended_at: Time | None
    reason: Text | None


class VerdictClaim(_Line):
    """The verdict on one target, in the unit of a page. word: None while trainings are missing."""

    dataset: Text
    word: Text | None
    regret: float | None
    low: float | None
    high: float | None


class Manifest(_Line):
    """The first file of an archive: its format and its claims.

    version: of the format. sweep: its name. answer_hash: None while the sweep is unfinished. files: SHA-256 of each
    file of lines; a blob's is its name.
    """

    format: Literal["kd-sweeps archive"] = "kd-sweeps archive"
    version: int
    sweep: Text
    answer_hash: Text | None
    verdicts: list[VerdictClaim]
    files: dict[str, Sha256]


LINES: Mapping[str, type[_Line]] = {
    "sweep": SweepLine,
    "revisions": RevisionLine,
    "phases": PhaseLine,
    "tasks": TaskLine,
    "attempts": AttemptLine,
    "selections": SelectionLine,
    "workers": WorkerLine,
}
"""The kinds of lines by the stem of their file, in the order in which they are written."""


@dataclass(frozen=True, kw_only=True)
class SweepLines:
    """A sweep without its blobs. Tasks are in the order of the plan, attempts in the order of their start."""

    sweep: SweepLine
    revisions: Sequence[RevisionLine]
    phases: Sequence[PhaseLine]
    tasks: Sequence[TaskLine]
    attempts: Sequence[AttemptLine]
    selections: Sequence[SelectionLine]
    workers: Sequence[WorkerLine]

    def of(self, kind: str) -> Sequence[_Line]:
        lines: Any = getattr(self, kind)
        return [lines] if kind == "sweep" else lines

    @property
    def digests(self) -> Mapping[str, str]:
        """The digests that outcomes name, sorted, each with the key of the last such task."""
        named = {digest: task.key for task in self.tasks for digest in task.blobs.values()}
        return dict(sorted(named.items()))

    def check(self) -> None:
        unique: dict[str, Iterable[Any]] = {
            "revisions": (line.number for line in self.revisions),
            "phases": (line.name for line in self.phases),
            "tasks": (line.key for line in self.tasks),
            "attempts": (f"{line.task} attempt {line.number}" for line in self.attempts),
            "selections": (line.name for line in self.selections),
            "workers": (line.name for line in self.workers),
        }
        for kind, keys in unique.items():
            if repeated := [key for key, number in Counter(keys).items() if number > 1]:
                raise ArchiveBroken(f"{kind}.jsonl: {repeated[0]} appears twice")
        phases, tasks = {line.name for line in self.phases}, {line.key for line in self.tasks}
        for phase in self.phases:
            if unknown := [need.phase for need in _needs(phase) if need.phase not in phases]:
                raise ArchiveBroken(f"phases.jsonl: {phase.name} needs {unknown[0]!r}, which phases.jsonl lacks")
        for task in self.tasks:
            if task.phase not in phases:
                raise ArchiveBroken(f"tasks.jsonl: {task.key} is of phase {task.phase!r}, which phases.jsonl lacks")
        for digest, key in self.digests.items():
            if not re.fullmatch(SHA256, digest):
                raise ArchiveBroken(f"tasks.jsonl: {key} names a blob {digest[:80]!r}, which is not a SHA-256")
        for attempt in self.attempts:
            if attempt.task not in tasks:
                raise ArchiveBroken(f"attempts.jsonl: an attempt at {attempt.task!r}, which tasks.jsonl lacks")

    def at_rest(self) -> "SweepLines":
        """Return the same sweep without workers: running tasks wait, as if they had been released."""
        return replace(self, tasks=list(map(_waiting, self.tasks)), attempts=list(map(_released, self.attempts)))


def _needs(phase: PhaseLine) -> list[Dependency]:
    try:
        parse_lag(phase.needs)
    except ValueError:
        raise ArchiveBroken(f"phases.jsonl: {phase.name} needs {phase.needs!r}, which has no meaning") from None
    return parse_dependencies(phase.needs)


def _waiting(task: TaskLine) -> TaskLine:
    return task.model_copy(update={"state": "waiting", "started_at": None}) if task.state == "running" else task


def _released(attempt: AttemptLine) -> AttemptLine:
    if attempt.state != "running":
        return attempt
    ended = attempt.progress_at or attempt.started_at
    return attempt.model_copy(
        update={"state": "released", "finished_at": ended, "reason": "it was running when the sweep was archived"}
    )


@retry_transient()
def read_lines(engine: Engine, sweep_id: int) -> SweepLines:
    """Read a consistent snapshot of a sweep without its blobs; workers may be running.

    Raises SweepNotFound if it was deleted, RecordBroken where a stored value cannot be read.
    """
    with read(engine) as connection, transaction.explain_corruption(connection, sweep_id):
        if engine.dialect.name == "postgresql":  # on SQLite every transaction reads a snapshot
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

        def own(model: type[Any], table: Table, *order: Any) -> list[Any]:
            return _read(connection, model, table, select(table).where(table.c.sweep_id == sweep_id).order_by(*order))

        of_id = select(tables.sweeps).where(tables.sweeps.c.id == sweep_id)
        if not (sweep := _read(connection, SweepLine, tables.sweeps, of_id)):
            raise SweepNotFound("the sweep has just been deleted")
        task_rows = select(tasks, phases.c.name.label("phase")).join(phases, phases.c.id == tasks.c.phase_id)
        task_rows = task_rows.where(tasks.c.sweep_id == sweep_id).order_by(tasks.c.id)
        attempt_rows = select(attempts, tasks.c.key.label("task")).join(tasks, tasks.c.id == attempts.c.task_id)
        attempt_rows = attempt_rows.where(tasks.c.sweep_id == sweep_id).order_by(tasks.c.id, attempts.c.number)
        return SweepLines(
            sweep=sweep[0],
            revisions=own(RevisionLine, revisions, revisions.c.number),
            phases=own(PhaseLine, phases, phases.c.id),
            tasks=_read(connection, TaskLine, tasks, task_rows),
            attempts=_read(connection, AttemptLine, attempts, attempt_rows),
            selections=own(SelectionLine, selections, selections.c.name),
            workers=own(WorkerLine, workers, workers.c.name),
        )


def _read(connection: Connection, model: type[Any], table: Table, query: Select[Any]) -> list[Any]:
    # By the keys of the columns, which differ from their names in the database.
    keys = [name for name in model.model_fields if name not in ("phase", "task") or name in table.c]
    more = [name for name in model.model_fields if name not in keys]
    rows = connection.execute(query).mappings()
    try:
        return [
            model(**{name: _clean(row[table.c[name]]) for name in keys}, **{name: row[name] for name in more})
            for row in rows
        ]
    except ValidationError as error:
        problem = error.errors()[0]
        raise RecordBroken(
            f"a stored {table.name.removesuffix('s')} has {'.'.join(map(str, problem['loc']))}"
            f" {repr(problem['input'])[:80]} ({problem['msg'].removeprefix('Value error, ')}), so it cannot be archived"
        ) from error


def _clean(value: Any) -> Any:
    # Output of a library may contain a NUL, which Postgres refuses.
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def name_conflict(url: URL, name: str) -> SpecConflict:
    return SpecConflict(
        f"a sweep {name!r} exists in {masked(url)}; import it under another name: add --as NAME",
        NextStep("or remove the existing one", "delete", name),
    )


@retry_transient()
def write_lines(
    engine: Engine, lines: SweepLines, *, name: str, identity: str, blobs: Mapping[str, Callable[[], bytes]]
) -> None:
    """Write a sweep with its blobs under that name, in one transaction.

    Run it inside `storage.db.engine.create_lock`, after the trials were created; a mirror draws those still missing.
    blobs: functions that return their bytes, since together they may not fit into memory. Raises SpecConflict where
    the name is taken.
    """
    with write(engine) as connection:
        if connection.scalar(select(tables.sweeps.c.id).where(tables.sweeps.c.name == name)) is not None:
            raise name_conflict(engine.url, name)
        values = lines.sweep.model_dump() | {"name": name, "identity": identity}
        sweep_id = connection.execute(insert(tables.sweeps).values(values).returning(tables.sweeps.c.id)).scalar_one()
        for table, own in (
            (revisions, lines.revisions),
            (phases, lines.phases),
            (selections, lines.selections),
            (workers, lines.workers),
        ):
            _insert(connection, table, [line.model_dump() | {"sweep_id": sweep_id} for line in own])
        numbers = _numbers(connection, phases, phases.c.name, sweep_id)
        task_rows = [
            task.model_dump(exclude={"phase"}) | {"sweep_id": sweep_id, "phase_id": numbers[task.phase]}
            for task in lines.tasks
        ]
        _insert(connection, tasks, task_rows)
        numbers = _numbers(connection, tasks, tasks.c.key, sweep_id)
        attempt_rows = [
            attempt.model_dump(exclude={"task"})
            | {"task_id": numbers[attempt.task], "reported": attempt.trial_number is not None or attempt.params is None}
            for attempt in lines.attempts
        ]
        _insert(connection, attempts, attempt_rows)
        for digest, load in blobs.items():
            artifacts.put_in(connection, digest, load())
        if blobs:  # not in the storage in memory of `opened`
            failpoint("import-rows")


def _numbers(connection: Connection, table: Table, name: Any, sweep_id: int) -> dict[str, int]:
    return dict(connection.execute(select(name, table.c.id).where(table.c.sweep_id == sweep_id)).all())


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


@contextmanager
def opened(lines: SweepLines) -> Iterator[tuple[Engine, SweepRecord]]:
    """Load the lines into a storage in memory, without blobs and trials, for all functions that read a sweep."""
    # One connection: another one would open another database.
    engine = sqlalchemy.create_engine("sqlite://", poolclass=StaticPool)
    try:
        tables.metadata.create_all(engine)
        write_lines(engine, lines, name=lines.sweep.name, identity="", blobs={})
        yield engine, find_sweep(engine, lines.sweep.name)
    finally:
        engine.dispose()
