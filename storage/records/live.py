"""What the live page reads: sums and the newest rows, in a few milliseconds however many tasks there are."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Select, case, func, select

from storage.db.transaction import database_now, explain_corruption, read, retry_transient
from storage.records import queries
from storage.tables import attempts, phases, tasks, workers


@dataclass(frozen=True)
class Tally:
    """The tasks of one phase in one state.

    attempts: of all of them together. timed, took_s: how many are done and have both times, and their seconds.
    """

    phase: str
    stage: str
    state: str
    tasks: int
    attempts: int
    timed: int
    took_s: float


@retry_transient()
def tallies(engine: Engine, sweep_id: int) -> list[Tally]:
    """Return the tasks of a sweep, counted by phase and state, in plan order."""
    took = case((tasks.c.state == "done", tasks.c.finished_at - tasks.c.started_at))
    sums = (func.count(), func.sum(tasks.c.attempt), func.count(took), func.coalesce(func.sum(took), 0.0))
    query = (
        select(phases.c.name, phases.c.stage, tasks.c.state, *sums)
        .join(tasks, tasks.c.phase_id == phases.c.id)
        .where(phases.c.sweep_id == sweep_id)
        .group_by(phases.c.id, tasks.c.state)
        .order_by(phases.c.ordinal, tasks.c.state)
    )
    with read(engine) as connection:
        return [Tally(*row) for row in connection.execute(query)]


@dataclass(frozen=True)
class TrialRecord:
    """A task that runs or has ended, with the point of its latest attempt. score: as stored, None without one."""

    id: int
    key: str
    stage: str
    phase: str
    state: str
    score: float | None
    params: dict[str, Any]
    worker: str


@retry_transient()
def newest_trials(
    engine: Engine, sweep_id: int, stages: Collection[str], *, most: int, best_of: Collection[str]
) -> list[TrialRecord]:
    """Return the tasks of these stages that have a point, the newest first; then the best one of some stages.

    most: without these best ones. best_of: the stages that they are of, where there are more tasks.
    """
    begun = (tasks.c.sweep_id == sweep_id, tasks.c.state.in_(("running", "done", "failed")))
    order = (tasks.c.started_at.desc(), tasks.c.id.desc())
    # Chosen before they are joined: a join of ten thousand tasks with their attempts takes most of the time.
    newest = select(tasks.c.id).where(*begun, tasks.c.stage.in_(stages)).order_by(*order).limit(most)
    query = (
        select(
            *(tasks.c.id, tasks.c.key, tasks.c.stage, phases.c.name, tasks.c.state, tasks.c.score),
            *(attempts.c.params, attempts.c.worker),
        )
        .join(attempts, queries.LATEST)
        .join(phases, phases.c.id == tasks.c.phase_id)
        .where(attempts.c.params.is_not(None))
        .order_by(*order)
    )
    with read(engine) as connection, explain_corruption(connection, sweep_id):

        def rows(chosen: Select[Any]) -> dict[str, TrialRecord]:
            return {row.key: TrialRecord(*row) for row in connection.execute(query.where(tasks.c.id.in_(chosen)))}

        recent = rows(newest)
        for stage in best_of if len(recent) == most else ():
            of_stage = tasks.c.phase_id.in_(queries.phases_of(sweep_id, stage))
            done = select(tasks.c.id).where(of_stage, tasks.c.state == "done")
            recent |= rows(done.order_by(tasks.c.score.desc(), tasks.c.id).limit(1))
        return list(recent.values())


@dataclass(frozen=True)
class Present:
    """A worker that has not said that it ended. seen_s: seconds since it was last seen."""

    name: str
    host: str
    seen_s: float


@retry_transient()
def present_workers(engine: Engine, sweep_id: int) -> list[Present]:
    """Return the workers that have not ended in order, the oldest first; one that was killed is among them."""
    query = (
        select(workers.c.name, workers.c.host, database_now() - workers.c.seen_at)
        .where(workers.c.sweep_id == sweep_id, workers.c.ended_at.is_(None))
        .order_by(workers.c.started_at, workers.c.name)
    )
    with read(engine) as connection:
        return [Present(*row) for row in connection.execute(query)]
