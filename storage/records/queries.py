"""Read sweeps, phases, tasks and attempts as row classes; one query each."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from sqlalchemy import Connection, Engine, Select, Text, and_, case, func, select, type_coerce

from storage import json_text, tables
from storage.db.transaction import database_now, explain_corruption, read, retry_transient
from storage.errors import NextStep, RecordBroken, SweepNotFound
from storage.tables import TASK_UNENDED, attempts, phases, sweeps, tasks
from storage.url import masked

LATEST = and_(attempts.c.task_id == tasks.c.id, attempts.c.number == tasks.c.attempt)
"""The condition of a join of tasks with their latest attempts."""


@dataclass(frozen=True)
class Outlook:
    """State of a sweep ("deleted" if it is gone), and how many of its tasks are waiting or running."""

    state: str
    unended: int


@retry_transient()
def find_sweep(engine: Engine, name: str) -> tables.SweepRecord:
    """Return the sweep of that name; SweepNotFound lists those that exist."""
    with read(engine) as connection, explain_corruption(connection):
        row = connection.execute(select(sweeps).where(sweeps.c.name == name)).one_or_none()
        if row is not None:
            return tables.SweepRecord(**row._asdict())
        known = connection.scalars(select(sweeps.c.name).order_by(sweeps.c.id)).all()
    names = ", ".join(known) or "none yet"
    raise SweepNotFound(
        f"no sweep {name!r} in {masked(engine.url)}; sweeps there: {names}", NextStep("create it with", "create", name)
    )


@retry_transient()
def is_sweep(engine: Engine, name: str) -> bool:
    with read(engine) as connection:
        return connection.scalar(select(sweeps.c.id).where(sweeps.c.name == name)) is not None


@retry_transient()
def list_sweeps(engine: Engine) -> list[tables.SweepRecord]:
    with read(engine) as connection, explain_corruption(connection):
        return [tables.SweepRecord(**row._asdict()) for row in connection.execute(select(sweeps).order_by(sweeps.c.id))]


@retry_transient()
def revisions(engine: Engine, sweep_id: int) -> list[tables.RevisionRecord]:
    table = tables.revisions
    query = select(*tables.columns_of(tables.RevisionRecord, table)).where(table.c.sweep_id == sweep_id)
    with read(engine) as connection, explain_corruption(connection, sweep_id):
        return [tables.RevisionRecord(**row._asdict()) for row in connection.execute(query.order_by(table.c.number))]


@retry_transient()
def outlook(engine: Engine, sweep_id: int) -> Outlook:
    """Return the state and the number of open tasks, in one small query for polling."""
    open_tasks = select(func.count()).where(tasks.c.sweep_id == sweep_id, tasks.c.state.in_(TASK_UNENDED))
    query = select(sweeps.c.state, open_tasks.scalar_subquery().label("unended")).where(sweeps.c.id == sweep_id)
    with read(engine) as connection:
        row = connection.execute(query).one_or_none()
    return Outlook(state="deleted", unended=0) if row is None else Outlook(**row._asdict())


@retry_transient()
def progress(engine: Engine, sweep_id: int) -> tuple[Any, ...]:
    """Return a value that changes whenever a task, a phase or a selection of the sweep changes."""
    # Without a new attempt no task gets back to where it was. Counted like this, SQLite reads no row of either table.
    by_state = (
        select(tasks.c.state, func.count(), func.count(attempts.c.task_id))
        .join(attempts, attempts.c.task_id == tasks.c.id, isouter=True)
        .where(tasks.c.sweep_id == sweep_id)
        .group_by(tasks.c.state)
    )
    of_phases = select(phases.c.name, phases.c.state).where(phases.c.sweep_id == sweep_id).order_by(phases.c.ordinal)
    chosen = select(func.count()).where(tables.selections.c.sweep_id == sweep_id)
    with read(engine) as connection:
        rows = connection.execute(by_state.order_by(tasks.c.state)).all(), connection.execute(of_phases).all()
        return *map(tuple, rows), connection.scalar(chosen)


@retry_transient()
def phase_records(engine: Engine, sweep_id: int) -> list[tables.PhaseRecord]:
    query = (
        select(phases, tasks.c.state.label("task_state"), func.count(tasks.c.id).label("task_count"))
        .join(tasks, tasks.c.phase_id == phases.c.id, isouter=True)
        .where(phases.c.sweep_id == sweep_id)
        .group_by(phases.c.id, tasks.c.state)
        .order_by(phases.c.ordinal)
    )
    by_name: dict[str, tables.PhaseRecord] = {}
    with read(engine) as connection, explain_corruption(connection, sweep_id):
        for row in connection.execute(query):
            values = {name: row._mapping[name] for name in ("name", "stage", "state", "minimum", "reason")}
            record = by_name.setdefault(row.name, tables.PhaseRecord(needs=tuple(row.needs), **values))
            if row.task_state is not None:
                record.counts[row.task_state] = row.task_count
    return list(by_name.values())


@retry_transient()
def task_records(
    engine: Engine,
    sweep_id: int,
    *,
    stage: str | None = None,
    phase: str | None = None,
    state: str | None = None,
    keys: Collection[str] | None = None,
    keep: Collection[str] | None = None,
) -> list[tables.TaskRecord]:
    """Return the tasks in plan order; all, or those of one stage, phase or state, or with these keys.

    keep: only these keys of each outcome, since thousands of whole outcomes are slow. RecordBroken: a value is no
    longer JSON, or a score not a number.
    """
    wanted = ((tasks.c.sweep_id, sweep_id), (tasks.c.stage, stage), (phases.c.name, phase), (tasks.c.state, state))
    only = [column == value for column, value in wanted if value is not None]
    # Redundant, but then SQLite begins with the one phase instead of all tasks of the sweep.
    only += [] if phase is None else [phases.c.sweep_id == sweep_id]
    only += [] if keys is None else [tasks.c.key.in_(keys)]
    query = _tasks_with_latest_attempt().where(*only).order_by(phases.c.ordinal, tasks.c.ordinal)
    with read(engine) as connection, explain_corruption(connection, sweep_id):
        return [_record(row, keep) for row in connection.execute(query)]


def _record(row: Sequence[Any], keep: Collection[str] | None) -> tables.TaskRecord:
    """Return the task of a row whose columns are the record's fields, in order."""
    record = tables.TaskRecord(*row)
    if record.score is not None and not (isinstance(record.score, float) and math.isfinite(record.score)):
        # SQLite accepts text in any column.
        raise RecordBroken(f"the stored score of {record.key} was edited: it is {record.score!r}, not a number")
    if record.outcome is None or keep is None:
        return record
    return replace(record, outcome={key: record.outcome[key] for key in keep if key in record.outcome})


def phases_of(sweep_id: int, stage: str) -> Select[Any]:
    """Return a query for the ids of the phases of a stage.

    An index has the tasks of a phase by their state: found like this, no rows of other stages are read.
    """
    return select(phases.c.id).where(phases.c.sweep_id == sweep_id, phases.c.stage == stage)


@retry_transient()
def selections(engine: Engine, sweep_id: int) -> dict[str, Any]:
    query = select(tables.selections.c.name, tables.selections.c.value).where(tables.selections.c.sweep_id == sweep_id)
    with read(engine) as connection, explain_corruption(connection, sweep_id):
        return {row.name: row.value for row in connection.execute(query)}


def _tasks_with_latest_attempt() -> Select[Any]:
    joined = {
        "phase": phases.c.name,
        "reason": func.coalesce(tasks.c.reason, attempts.c.reason),
        "error_class": func.coalesce(tasks.c.error_class, attempts.c.error_class),
    }
    own = {**attempts.c, **tasks.c, **joined}
    return (
        select(*(own[field.name].label(field.name) for field in fields(tables.TaskRecord)))
        .select_from(tasks)
        .join(phases, phases.c.id == tasks.c.phase_id)
        .join(attempts, LATEST, isouter=True)
    )


@retry_transient()
def attempts_of(engine: Engine, sweep_id: int, key: str) -> list[tables.AttemptRecord] | None:
    """Return the attempts of a task, oldest first; None if the sweep has no such task."""
    with read(engine) as connection, explain_corruption(connection, sweep_id):
        task = connection.scalar(select(tasks.c.id).where(tasks.c.sweep_id == sweep_id, tasks.c.key == key))
        if task is None:
            return None
        query = select(*tables.columns_of(tables.AttemptRecord, attempts)).where(attempts.c.task_id == task)
        return [tables.AttemptRecord(**row._asdict()) for row in connection.execute(query.order_by(attempts.c.number))]


@retry_transient()
def last_log(engine: Engine, worker: str) -> str | None:
    """Return the stored end of a worker's log during its latest attempt."""
    latest = select(attempts.c.log).where(attempts.c.worker == worker).order_by(attempts.c.started_at.desc()).limit(1)
    with read(engine) as connection:
        return connection.scalar(latest)


@dataclass(eq=False)
class Past:
    """An earlier trial of a search, as a sampler sees it: its point and its score; without a score it failed.

    running: it has not ended. Samplers avoid points that are running. trial: what Optuna is given, built once: for ten
    thousand trials that takes as long as the proposal.
    """

    params: dict[str, Any] | None
    value: float | None
    running: bool = False
    trial: Any = field(default=None, init=False, repr=False)


@dataclass(eq=False)
class TaskPoint(Past):
    """A task of a search and its point. params: None before they are proposed; only then the payload is read."""

    id: int = field(kw_only=True)
    key: str = field(kw_only=True)
    state: str = field(kw_only=True)
    payload: dict[str, Any] | None = field(kw_only=True)


class PhasePoints:
    """Cached points of the tasks of a sweep. Ended tasks are read once: only a retry changes them, and is detected."""

    def __init__(self, engine: Engine, sweep_id: int) -> None:
        self._engine, self._sweep_id = engine, sweep_id
        self._ended: dict[str, tuple[int, list[TaskPoint]]] = {}  # by phase: its retries, its first tasks

    @retry_transient()
    def until(self, phase: str, task_id: int) -> list[TaskPoint]:
        """Return the tasks of the phase in plan order, up to and including this one."""
        retries, ended = self._ended.get(phase, (0, []))
        if ended and ended[-1].id >= task_id:
            ended = [task for task in ended if task.id < task_id]
        with read(self._engine) as connection, explain_corruption(connection, self._sweep_id):
            retries_now, rest = self._read(connection, phase, after=ended[-1].id if ended else 0, until=task_id)
            if ended and retries_now != retries:
                ended = []
                retries_now, rest = self._read(connection, phase, after=0, until=task_id)
        points = ended + rest
        unended = (place for place in range(len(ended), len(points)) if points[place].state not in _ENDED)
        self._ended[phase] = retries_now, points[: next(unended, len(points))]
        return points

    def _read(self, connection: Connection, phase: str, *, after: int, until: int) -> tuple[int, list[TaskPoint]]:
        """Return how often the phase was retried, and its tasks with ids in (after, until]."""
        query = (
            select(
                tasks.c.id,
                tasks.c.key,
                tasks.c.state,
                tasks.c.score,
                type_coerce(attempts.c.params, Text),
                case((attempts.c.params.is_(None), tasks.c.payload)),
                phases.c.retries,
            )
            .select_from(tasks)
            # By id, which rises in plan order, and by no index of the phase: most of it has been read before.
            .join(phases, phases.c.id == tasks.c.phase_id + 0)
            .join(attempts, LATEST, isouter=True)
            .where(tasks.c.id > after, tasks.c.id <= until)
            .where(phases.c.sweep_id == self._sweep_id, phases.c.name == phase)
            .order_by(tasks.c.id)
        )
        rows = connection.execute(query).all()
        points = _decoded([row[4] for row in rows])
        return rows[-1].retries, [
            TaskPoint(point, score if state == "done" else None, id=id, key=key, state=state, payload=payload)
            for (id, key, state, score, _, payload, _), point in zip(rows, points, strict=True)
        ]


_ENDED = ("done", "failed", "skipped")


def _decoded(texts: list[str | None]) -> list[dict[str, Any] | None]:
    """Parse what `JsonText` stored, in one call: half the time for a thousand small texts."""
    try:
        points: list[dict[str, Any] | None] = json_text.parse(f"[{','.join(text or 'null' for text in texts)}]")
    except ValueError as error:
        raise RecordBroken(f"the parameters of an attempt are not JSON: {error}") from error
    return points


@dataclass(frozen=True)
class RunningRecord:
    """A running attempt. `idle_s`: since its latest step. `lease_left_s` < 0: lapsed, not yet reaped."""

    task_id: int
    key: str
    stage: str
    attempt: int
    worker: str
    host: str
    pid: int
    started_at: float
    running_s: float
    idle_s: float
    lease_left_s: float


@retry_transient()
def running_tasks(engine: Engine, sweep_id: int) -> list[RunningRecord]:
    """Return the running attempts, longest first."""
    now = database_now()
    query = (
        select(
            tasks.c.id.label("task_id"),
            tasks.c.key,
            tasks.c.stage,
            attempts.c.number.label("attempt"),
            *tables.columns_of(RunningRecord, attempts, but=("task_id",)),
            (now - attempts.c.started_at).label("running_s"),
            (now - func.coalesce(attempts.c.progress_at, attempts.c.started_at)).label("idle_s"),
            (attempts.c.lease_until - now).label("lease_left_s"),
        )
        .join(attempts, attempts.c.task_id == tasks.c.id)
        .where(tasks.c.sweep_id == sweep_id, attempts.c.state == "running")
        .order_by(attempts.c.started_at)
    )
    with read(engine) as connection:
        return [RunningRecord(**row._asdict()) for row in connection.execute(query)]


@retry_transient()
def durations(engine: Engine, sweep_id: int, stage: str) -> list[float]:
    done = (tasks.c.phase_id.in_(phases_of(sweep_id, stage)), tasks.c.state == "done")
    took = tasks.c.finished_at - tasks.c.started_at
    query = select(took).where(*done, took.is_not(None)).order_by(tasks.c.finished_at.desc()).limit(101)
    with read(engine) as connection:
        return list(connection.scalars(query))
