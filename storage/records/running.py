"""Read what is at work, and how long such work took so far."""

from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from storage.db.dialects import database_now
from storage.db.faults import retrying
from storage.db.schema import attempts, phases, tasks
from storage.db.transaction import read


@dataclass(frozen=True)
class RunningRecord:
    """An attempt at work. `idle_s`: since its latest step. `lease_left_s` < 0: lapsed, and nobody has the task yet."""

    task_id: int
    key: str
    stage: str
    phase: str
    attempt: int
    worker: str
    host: str
    pid: int
    started_at: float
    running_s: float
    idle_s: float
    lease_left_s: float


@retrying
def running(engine: Engine, sweep_id: int) -> list[RunningRecord]:
    """Return the running attempts, longest first."""
    now = database_now()
    query = (
        select(
            tasks.c.id.label("task_id"),
            tasks.c.key,
            tasks.c.stage,
            phases.c.name.label("phase"),
            attempts.c.number.label("attempt"),
            attempts.c.worker,
            attempts.c.host,
            attempts.c.pid,
            attempts.c.started_at,
            (now - attempts.c.started_at).label("running_s"),
            (now - func.coalesce(attempts.c.progress_at, attempts.c.started_at)).label("idle_s"),
            (attempts.c.lease_until - now).label("lease_left_s"),
        )
        .join(attempts, attempts.c.task_id == tasks.c.id)
        .join(phases, phases.c.id == tasks.c.phase_id)
        .where(tasks.c.sweep_id == sweep_id, attempts.c.state == "running")
        .order_by(attempts.c.started_at)
    )
    with read(engine) as connection:
        return [RunningRecord(**row._asdict()) for row in connection.execute(query)]


@retrying
def durations(engine: Engine, sweep_id: int, stage: str) -> list[float]:
    """Return how many seconds each of the latest 101 done tasks of a stage took."""
    done = (tasks.c.sweep_id == sweep_id, tasks.c.stage == stage, tasks.c.state == "done")
    took = tasks.c.finished_at - tasks.c.started_at
    query = select(took).where(*done, took.is_not(None)).order_by(tasks.c.finished_at.desc()).limit(101)
    with read(engine) as connection:
        return list(connection.scalars(query))
