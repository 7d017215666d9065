"""Read what is stored, as frozen values: for status, best, trials and report. One query each, no Optuna."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import Engine, Select, and_, func, select

from storage.db import corruption, schema
from storage.db.faults import retrying
from storage.db.schema import attempts, phases, sweeps, tasks
from storage.db.transaction import read
from storage.errors import NextStep, RecordBroken, SweepNotFound
from storage.url import masked


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
    """A task with its latest attempt's trial, parameters and worker.

    `reason` and `error_class` say why a task failed or was skipped; of a task that waits for its next
    attempt, why the latest one ended.
    """

    id: int
    key: str
    stage: str
    phase: str
    payload: dict[str, Any]
    state: str
    attempt: int
    score: float | None
    outcome: dict[str, Any] | None
    reason: str | None
    error_class: str | None
    started_at: float | None
    finished_at: float | None
    params: dict[str, Any] | None
    trial_number: int | None
    study: str | None
    worker: str | None


@dataclass(frozen=True)
class Outlook:
    """State of a sweep ("deleted" where it is gone), and how many of its tasks are waiting or running."""

    state: str
    unended: int


@retrying
def find_sweep(engine: Engine, name: str) -> SweepRecord:
    """Return the sweep of that name.

    Raises:
        SweepNotFound: there is none; says which there are.
    """
    with read(engine) as connection, corruption.explain_corruption(connection):
        row = connection.execute(select(sweeps).where(sweeps.c.name == name)).one_or_none()
        if row is not None:
            return SweepRecord(**row._asdict())
        known = connection.scalars(select(sweeps.c.name).order_by(sweeps.c.id)).all()
    names = ", ".join(known) or "none yet"
    raise SweepNotFound(
        f"no sweep {name!r} in {masked(engine.url)}; sweeps there: {names}", NextStep("make it with", "create", name)
    )


@retrying
def is_sweep(engine: Engine, name: str) -> bool:
    """Return whether there is a sweep of that name."""
    with read(engine) as connection:
        return connection.scalar(select(sweeps.c.id).where(sweeps.c.name == name)) is not None


@retrying
def list_sweeps(engine: Engine) -> list[SweepRecord]:
    """Return all sweeps, oldest first."""
    with read(engine) as connection, corruption.explain_corruption(connection):
        return [SweepRecord(**row._asdict()) for row in connection.execute(select(sweeps).order_by(sweeps.c.id))]


@retrying
def revisions(engine: Engine, sweep_id: int) -> list[RevisionRecord]:
    """Return every plan of the sweep, from the first on."""
    table = schema.revisions
    names = [column.name for column in fields(RevisionRecord)]
    query = select(*(table.c[name] for name in names)).where(table.c.sweep_id == sweep_id).order_by(table.c.number)
    with read(engine) as connection, corruption.explain_corruption(connection, sweep_id):
        return [RevisionRecord(**row._asdict()) for row in connection.execute(query)]


@retrying
def outlook(engine: Engine, sweep_id: int) -> Outlook:
    """Return what is left of the sweep, in one small query: for loops that wait."""
    open_tasks = select(func.count()).where(tasks.c.sweep_id == sweep_id, tasks.c.state.in_(("waiting", "running")))
    query = select(sweeps.c.state, open_tasks.scalar_subquery().label("unended")).where(sweeps.c.id == sweep_id)
    with read(engine) as connection:
        row = connection.execute(query).one_or_none()
    return Outlook(state="deleted", unended=0) if row is None else Outlook(**row._asdict())


@retrying
def phase_records(engine: Engine, sweep_id: int) -> list[PhaseRecord]:
    """Return the phases in plan order."""
    query = (
        select(phases, tasks.c.state.label("task_state"), func.count(tasks.c.id).label("task_count"))
        .join(tasks, tasks.c.phase_id == phases.c.id, isouter=True)
        .where(phases.c.sweep_id == sweep_id)
        .group_by(phases.c.id, tasks.c.state)
        .order_by(phases.c.ordinal)
    )
    found: dict[str, PhaseRecord] = {}
    with read(engine) as connection, corruption.explain_corruption(connection, sweep_id):
        for row in connection.execute(query):
            record = found.setdefault(
                row.name,
                PhaseRecord(
                    name=row.name,
                    stage=row.stage,
                    state=row.state,
                    needs=tuple(row.needs),
                    minimum=row.minimum,
                    reason=row.reason,
                    closed_at=row.closed_at,
                ),
            )
            if row.task_state is not None:
                record.counts[row.task_state] = row.task_count
    return list(found.values())


@retrying
def task_records(
    engine: Engine,
    sweep_id: int,
    *,
    stage: str | None = None,
    phase: str | None = None,
    state: str | None = None,
    keep: Collection[str] | None = None,
) -> list[TaskRecord]:
    """Return the tasks in plan order; all, or those of one stage, phase or state.

    Args:
        keep: of each outcome only these keys: to hold thousands of whole ones is what takes the time.

    Raises:
        RecordBroken: a value is not JSON any more, or a score no number.
    """
    query = _tasks_with_latest_attempt().where(tasks.c.sweep_id == sweep_id)
    query = query.order_by(phases.c.ordinal, tasks.c.ordinal)
    if stage is not None:
        query = query.where(tasks.c.stage == stage)
    if phase is not None:
        query = query.where(phases.c.name == phase)
    if state is not None:
        query = query.where(tasks.c.state == state)
    with read(engine) as connection, corruption.explain_corruption(connection, sweep_id):
        return [
            TaskRecord(**row._asdict() | {"outcome": _part(row.outcome, keep), "score": _number(row.key, row.score)})
            for row in connection.execute(query)
        ]


@retrying
def selections(engine: Engine, sweep_id: int) -> dict[str, Any]:
    """Return every selection made so far, by name."""
    query = select(schema.selections.c.name, schema.selections.c.value).where(schema.selections.c.sweep_id == sweep_id)
    with read(engine) as connection, corruption.explain_corruption(connection, sweep_id):
        return {row.name: row.value for row in connection.execute(query)}


def _number(key: str, score: float | None) -> float | None:
    if score is not None and not (isinstance(score, float) and math.isfinite(score)):  # SQLite keeps text in any column
        raise RecordBroken(f"the stored score of {key} was edited: it is {score!r}, no number")
    return score


def _part(outcome: dict[str, Any] | None, keep: Collection[str] | None) -> dict[str, Any] | None:
    if outcome is None or keep is None:
        return outcome
    return {key: outcome[key] for key in keep if key in outcome}


def _tasks_with_latest_attempt() -> Select[Any]:
    latest = and_(attempts.c.task_id == tasks.c.id, attempts.c.number == tasks.c.attempt)
    return (
        select(
            tasks.c.id,
            tasks.c.key,
            tasks.c.stage,
            phases.c.name.label("phase"),
            tasks.c.payload,
            tasks.c.state,
            tasks.c.attempt,
            tasks.c.score,
            tasks.c.outcome,
            func.coalesce(tasks.c.reason, attempts.c.reason).label("reason"),
            func.coalesce(tasks.c.error_class, attempts.c.error_class).label("error_class"),
            tasks.c.started_at,
            tasks.c.finished_at,
            attempts.c.params,
            attempts.c.trial_number,
            attempts.c.study,
            attempts.c.worker,
        )
        .select_from(tasks)
        .join(phases, phases.c.id == tasks.c.phase_id)
        .join(attempts, latest, isouter=True)
    )
