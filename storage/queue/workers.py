"""Register workers, and tell whom to wake; pause, resume, cancel."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, ScalarSelect, case, exists, func, select, update

from storage.db import transaction
from storage.db.transaction import database_now, insert_into, is_transient_or_full, read, retry_transient, write
from storage.queue.notify import notify
from storage.tables import TASK_UNENDED, attempts, columns_of, sweeps, tasks, workers


@dataclass(frozen=True)
class WorkerRecord:
    """A worker of a sweep. Times in seconds since 1970; seen_s: seconds since it was last seen.

    ended_at: when it ended in order, None if it never said so. reason: why, where something was wrong. task, attempt:
    at work now. done, failed: attempts of it that ended so; failed counts lost ones, too.
    """

    name: str
    host: str
    pid: int
    provenance: dict[str, Any]
    started_at: float
    seen_s: float
    ended_at: float | None
    reason: str | None
    task: str | None
    attempt: int | None
    done: int
    failed: int


@retry_transient(when=is_transient_or_full)
def sign_in(engine: Engine, sweep_id: int, worker: str, *, host: str, pid: int, provenance: Mapping[str, Any]) -> None:
    now = {"started_at": database_now(), "seen_at": database_now(), "ended_at": None, "reason": None}
    values = {"host": host, "pid": pid, "provenance": dict(provenance), **now}
    with write(engine) as connection:
        row = insert_into(connection, workers).values(sweep_id=sweep_id, name=worker, **values)
        connection.execute(row.on_conflict_do_update(index_elements=["sweep_id", "name"], set_=values))


@retry_transient()
def sign_out(engine: Engine, sweep_id: int, worker: str, *, reason: str | None, unless_ended: bool = False) -> None:
    """Note that a worker has ended. reason: what was wrong. unless_ended: keep what it said itself."""
    open_only = [workers.c.ended_at.is_(None)] if unless_ended else []
    with write(engine) as connection:
        values = {"seen_at": database_now(), "ended_at": database_now(), "reason": reason}
        connection.execute(update(workers).where(*_is(sweep_id, worker), *open_only).values(**values))


@dataclass(frozen=True)
class Seen:
    """A worker as it was seen last. at: seconds since 1970; signed_out: it has said that it ends."""

    at: float
    signed_out: bool


@retry_transient()
def seen(engine: Engine, sweep_id: int) -> dict[str, Seen]:
    query = select(workers.c.name, workers.c.seen_at, workers.c.ended_at).where(workers.c.sweep_id == sweep_id)
    with read(engine) as connection:
        return {row.name: Seen(row.seen_at, row.ended_at is not None) for row in connection.execute(query)}


def to_wake(engine: Engine, sweep_id: int, *, most: int) -> list[str]:
    """Return the idle workers that have something to do: one for each task that can start, at most so many.

    All of them once nothing is left, since each then ends. Tried once only: a launch asks again and again.
    """
    here = tasks.c.sweep_id == sweep_id
    can_start = select(tasks.c.id).where(here, tasks.c.state == "waiting", tasks.c.ready).limit(most).subquery()
    query = select(
        case((sweeps.c.state == "active", select(func.count()).select_from(can_start).scalar_subquery()), else_=0),
        exists().where(here, tasks.c.state.in_(TASK_UNENDED)),
    ).where(sweeps.c.id == sweep_id)
    at_work = select(attempts.c.worker).where(attempts.c.state == "running")
    idle = select(workers.c.name).where(
        workers.c.sweep_id == sweep_id, workers.c.ended_at.is_(None), workers.c.name.not_in(at_work)
    )
    with read(engine) as connection:
        ready, unended = connection.execute(query).one_or_none() or (0, True)
        names = [] if unended and not ready else list(connection.scalars(idle))
    # At random: whoever does not answer, because it is frozen or has just died, is not asked each time.
    return random.sample(names, min(ready, len(names))) if unended else names


def check_room(engine: Engine, sweep_id: int, worker: str) -> None:
    """Write again what a worker last wrote to say that it lives: as much as it would need room for.

    StorageFull: the worker may live, and cannot say so. Tried once only: who asks does so again and again.
    """
    same = {"lease_until": attempts.c.lease_until, "progress_at": attempts.c.progress_at, "log": attempts.c.log}
    with write(engine) as connection:
        at_work = (attempts.c.worker == worker, attempts.c.state == "running")
        connection.execute(update(attempts).where(*at_work).values(same))
        connection.execute(update(workers).where(*_is(sweep_id, worker)).values(seen_at=workers.c.seen_at))


@retry_transient()
def has_finished(engine: Engine, worker: str) -> bool:
    query = select(attempts.c.task_id).where(attempts.c.worker == worker, attempts.c.state == "done").limit(1)
    with read(engine) as connection:
        return connection.execute(query).first() is not None


@retry_transient(when=is_transient_or_full)
def take_repair(engine: Engine, sweep_id: int, worker: str, *, every_s: float) -> float | None:
    """Note that a worker lives; return when the sweep was repaired before, if this worker is to repair it now.

    Of all workers that ask within `every_s` seconds one is told so, by the database's clock: two dozen that start
    together would otherwise read the same rows. Seconds since 1970, or now, if never; None for all others.
    """
    now = database_now()
    due = (sweeps.c.repaired_at.is_(None)) | (sweeps.c.repaired_at < now - every_s) | (sweeps.c.repaired_at > now)
    with write(engine) as connection:
        note_seen(connection, sweep_id, worker)
        before = connection.scalar(select(func.coalesce(sweeps.c.repaired_at, now)).where(sweeps.c.id == sweep_id))
        changed = connection.execute(update(sweeps).where(sweeps.c.id == sweep_id, due).values(repaired_at=now))
        return before if changed.rowcount == 1 else None


def note_seen(connection: Connection, sweep_id: int, worker: str | ScalarSelect[str]) -> None:
    """Note, within a transaction, that a worker lives; worker: its name, or the query that gives it."""
    connection.execute(update(workers).where(*_is(sweep_id, worker)).values(seen_at=database_now()))


@retry_transient()
def records(engine: Engine, sweep_id: int) -> list[WorkerRecord]:
    """Return every worker of the sweep, oldest first."""
    mine = select(
        attempts.c.worker,
        func.sum(case((attempts.c.state == "done", 1), else_=0)).label("done"),
        func.sum(case((attempts.c.state.in_(("failed", "lost")), 1), else_=0)).label("failed"),
        func.max(case((attempts.c.state == "running", tasks.c.id))).label("task_id"),
    )
    of_sweep = mine.join(tasks, tasks.c.id == attempts.c.task_id).where(tasks.c.sweep_id == sweep_id)
    counted = of_sweep.group_by(attempts.c.worker).subquery()
    query = (
        select(
            *columns_of(WorkerRecord, workers),
            (database_now() - workers.c.seen_at).label("seen_s"),
            tasks.c.key.label("task"),
            tasks.c.attempt,
            func.coalesce(counted.c.done, 0).label("done"),
            func.coalesce(counted.c.failed, 0).label("failed"),
        )
        .select_from(workers)
        .join(counted, counted.c.worker == workers.c.name, isouter=True)
        .join(tasks, tasks.c.id == counted.c.task_id, isouter=True)
        .where(workers.c.sweep_id == sweep_id)
        .order_by(workers.c.started_at, workers.c.name)
    )
    with read(engine) as connection, transaction.explain_corruption(connection, sweep_id):
        return [WorkerRecord(**row._asdict()) for row in connection.execute(query)]


def _is(sweep_id: int, worker: str | ScalarSelect[str]) -> tuple[Any, ...]:
    return workers.c.sweep_id == sweep_id, workers.c.name == worker


@retry_transient()
def pause(engine: Engine, sweep_id: int) -> None:
    """Stop starting tasks; running tasks finish. A cancelled sweep stays cancelled."""
    active = update(sweeps).where(sweeps.c.id == sweep_id, sweeps.c.state == "active")
    with write(engine) as connection:
        connection.execute(active.values(state="paused"))


@retry_transient()
def resume(engine: Engine, sweep_id: int) -> int:
    """Go on after a pause or a cancel; return how many cancelled tasks wait again."""
    with write(engine) as connection:
        # The sweep first: a cancel at the same moment is over then, and its tasks are seen.
        _set_state(connection, sweep_id, "active")
        cancelled = update(tasks).where(tasks.c.sweep_id == sweep_id, tasks.c.state == "cancelled")
        waiting = cancelled.values(state="waiting", reason=None, started_at=None, finished_at=None)
        return connection.execute(waiting).rowcount


@retry_transient()
def cancel(engine: Engine, sweep_id: int) -> int:
    """Take back every task that is not ended; return how many.

    Running attempts end as released here and now: the fence makes their workers drop what they are doing.
    Phases stay as they are, so that `resume` can go on exactly from here.
    """
    with write(engine) as connection:
        number = _take_back(connection, sweep_id)
        _set_state(connection, sweep_id, "cancelled")
        # Once more: what an extend, retry or resume committed meanwhile. From here on they wait for the sweep.
        return number + _take_back(connection, sweep_id)


def _take_back(connection: Connection, sweep_id: int) -> int:
    unended = (tasks.c.sweep_id == sweep_id, tasks.c.state.in_(TASK_UNENDED))
    why = {"reason": "the sweep was cancelled", "finished_at": database_now()}
    # In the order of their ids, as finish and what it opens: the other way round would often deadlock.
    locked = select(tasks.c.id).where(*unended).order_by(tasks.c.id).with_for_update(key_share=True)
    connection.execute(locked).all()
    running = (attempts.c.state == "running", attempts.c.task_id == tasks.c.id, tasks.c.sweep_id == sweep_id)
    connection.execute(update(attempts).where(*running).values(why | {"state": "released"}))
    return connection.execute(update(tasks).where(*unended).values(why | {"state": "cancelled"})).rowcount


def _set_state(connection: Connection, sweep_id: int, state: str) -> None:
    connection.execute(update(sweeps).where(sweeps.c.id == sweep_id).values(state=state))
    notify(connection, sweep_id)
