"""Counts over all sweeps: a few aggregates, however many tasks there are."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, case, exists, func, select

from storage.db.transaction import database_now, explain_corruption, read, retry_transient
from storage.tables import attempts, sweeps, tasks, workers


@dataclass(frozen=True, kw_only=True)
class TaskTally:
    """Number of tasks of a sweep in one stage and state. error_class: of failed ones."""

    sweep: str
    stage: str
    state: str
    error_class: str | None
    count: int


@dataclass(frozen=True, kw_only=True)
class AttemptTally:
    """Attempts of a sweep. retries: attempts beyond the first of a task; lost: those whose lease lapsed.

    best: highest score of a search trial, a fraction; None before the first.
    """

    sweep: str
    retries: int
    lost: int
    best: float | None


@dataclass(frozen=True, kw_only=True)
class SecondsTally:
    """Durations of the done tasks of a stage. up_to: how many took at most each of the requested bounds."""

    sweep: str
    stage: str
    count: int
    seconds: float
    up_to: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class WorkerTally:
    """What determines the state of a worker. seen_s: seconds since it was last seen. busy: it has a task."""

    sweep: str
    ended: bool
    has_reason: bool
    seen_s: float
    busy: bool


@dataclass(frozen=True, kw_only=True)
class Tallies:
    tasks: tuple[TaskTally, ...]
    attempts: tuple[AttemptTally, ...]
    seconds: tuple[SecondsTally, ...]
    workers: tuple[WorkerTally, ...]


@retry_transient()
def tallies(engine: Engine, bounds: Sequence[float]) -> Tallies:
    """Return the tallies of all sweeps of a storage. bounds: of durations in seconds, ascending."""
    kinds = (tasks.c.stage, tasks.c.state, tasks.c.error_class)
    by_state = (
        select(sweeps.c.name.label("sweep"), *kinds, func.count().label("count"))
        .join(tasks, tasks.c.sweep_id == sweeps.c.id)
        .group_by(sweeps.c.name, *kinds)
    )
    tried = (
        select(
            tasks.c.sweep_id,
            func.sum(case((attempts.c.number > 1, 1), else_=0)).label("retries"),
            func.sum(case((attempts.c.state == "lost", 1), else_=0)).label("lost"),
        )
        .join(attempts, attempts.c.task_id == tasks.c.id)
        .group_by(tasks.c.sweep_id)
        .subquery()
    )
    # Excludes the NaN of diverged trainings, which Postgres sorts above every number.
    scored = (tasks.c.stage == "search", tasks.c.state == "done", tasks.c.score <= 1)
    top = select(tasks.c.sweep_id, func.max(tasks.c.score).label("best")).where(*scored)
    top_of = top.group_by(tasks.c.sweep_id).subquery()
    by_attempt = (
        select(
            sweeps.c.name.label("sweep"),
            func.coalesce(tried.c.retries, 0).label("retries"),
            func.coalesce(tried.c.lost, 0).label("lost"),
            top_of.c.best,
        )
        .join(tried, tried.c.sweep_id == sweeps.c.id, isouter=True)
        .join(top_of, top_of.c.sweep_id == sweeps.c.id, isouter=True)
    )
    took = tasks.c.finished_at - tasks.c.started_at
    by_seconds = (
        select(
            sweeps.c.name,
            tasks.c.stage,
            func.count(),
            func.sum(took),
            *(func.sum(case((took <= bound, 1), else_=0)) for bound in bounds),
        )
        .join(tasks, tasks.c.sweep_id == sweeps.c.id)
        .where(tasks.c.state == "done", took.is_not(None))
        .group_by(sweeps.c.name, tasks.c.stage)
    )
    at_work = exists().where(
        attempts.c.worker == workers.c.name,
        attempts.c.state == "running",
        attempts.c.task_id == tasks.c.id,
        tasks.c.sweep_id == workers.c.sweep_id,
    )
    by_worker = select(
        sweeps.c.name.label("sweep"),
        workers.c.ended_at.is_not(None).label("ended"),
        workers.c.reason.is_not(None).label("has_reason"),
        (database_now() - workers.c.seen_at).label("seen_s"),
        at_work.label("busy"),
    ).join(workers, workers.c.sweep_id == sweeps.c.id)
    with read(engine) as connection, explain_corruption(connection):
        return Tallies(
            tasks=tuple(TaskTally(**row._asdict()) for row in connection.execute(by_state)),
            attempts=tuple(AttemptTally(**row._asdict()) for row in connection.execute(by_attempt)),
            seconds=tuple(
                SecondsTally(sweep=name, stage=stage, count=count, seconds=seconds, up_to=tuple(up_to))
                for name, stage, count, seconds, *up_to in connection.execute(by_seconds)
            ),
            workers=tuple(WorkerTally(**row._asdict()) for row in connection.execute(by_worker)),
        )
