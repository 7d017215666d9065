"""Register workers, and choose which to wake; pause, resume, cancel."""

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

    ended_at: when it signed out; None if it never did. reason: why, if by an error. task, attempt: running now. done,
    failed: number of its attempts; failed includes lost ones.
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
    """Record the end of a worker. reason: its error, if any. unless_ended: keep an end that it recorded itself."""
    open_only = [workers.c.ended_at.is_(None)] if unless_ended else []
    with write(engine) as connection:
        values = {"seen_at": database_now(), "ended_at": database_now(), "reason": reason}
        connection.execute(update(workers).where(*_worker(sweep_id, worker), *open_only).values(**values))


@dataclass(frozen=True)
class Seen:
    """When a worker was last seen. at: seconds since 1970; signed_out: whether it has signed out."""

    at: float
    signed_out: bool


@retry_transient()
def seen(engine: Engine, sweep_id: int) -> dict[str, Seen]:
    query = select(workers.c.name, workers.c.seen_at, workers.c.ended_at).where(workers.c.sweep_id == sweep_id)
    with read(engine) as connection:
        return {row.name: Seen(row.seen_at, row.ended_at is not None) for row in connection.execute(query)}


def to_wake(engine: Engine, sweep_id: int, *, most: int) -> list[str]:
    """Return the idle workers to wake: one for each task that can start, at most so many.

    Once no task is left: all, so that they end. Not retried: a launch polls anyway.
    """
    of_sweep = tasks.c.sweep_id == sweep_id
    can_start = select(tasks.c.id).where(of_sweep, tasks.c.state == "waiting", tasks.c.ready).limit(most).subquery()
    query = select(
        case((sweeps.c.state == "active", select(func.count()).select_from(can_start).scalar_subquery()), else_=0),
        exists().where(of_sweep, tasks.c.state.in_(TASK_UNENDED)),
    ).where(sweeps.c.id == sweep_id)
    at_work = select(attempts.c.worker).where(attempts.c.state == "running")
    idle = select(workers.c.name).where(
        workers.c.sweep_id == sweep_id, workers.c.ended_at.is_(None), workers.c.name.not_in(at_work)
    )
    with read(engine) as connection:
        ready, unended = connection.execute(query).one_or_none() or (0, True)
        names = [] if unended and not ready else list(connection.scalars(idle))
    # At random, so that a frozen or dead worker is not chosen every time.
    return random.sample(names, min(ready, len(names))) if unended else names


def check_room(engine: Engine, sweep_id: int, worker: str) -> None:
    """Rewrite the last heartbeat of a worker unchanged, which needs as much room as a new one.

    StorageFull: the worker may be alive, and unable to renew. Not retried: a launch polls anyway.
    """
    same = {"lease_until": attempts.c.lease_until, "progress_at": attempts.c.progress_at, "log": attempts.c.log}
    with write(engine) as connection:
        at_work = (attempts.c.worker == worker, attempts.c.state == "running")
        connection.execute(update(attempts).where(*at_work).values(same))
        connection.execute(update(workers).where(*_worker(sweep_id, worker)).values(seen_at=workers.c.seen_at))


@retry_transient()
def has_finished(engine: Engine, worker: str) -> bool:
    query = select(attempts.c.task_id).where(attempts.c.worker == worker, attempts.c.state == "done").limit(1)
    with read(engine) as connection:
        return connection.execute(query).first() is not None


@retry_transient(when=is_transient_or_full)
def take_repair(engine: Engine, sweep_id: int, worker: str, *, every_s: float) -> float | None:
    """Record that a worker is alive; return when the sweep was last repaired, if this worker is to repair it now.

    Of all workers that call within `every_s` seconds, by the database's clock, one gets the repair: two dozen that
    start together would otherwise read the same rows. Seconds since 1970, or now, if never; None for all others.
    """
    now = database_now()
    due = (sweeps.c.repaired_at.is_(None)) | (sweeps.c.repaired_at < now - every_s) | (sweeps.c.repaired_at > now)
    with write(engine) as connection:
        note_seen(connection, sweep_id, worker)
        before = connection.scalar(select(func.coalesce(sweeps.c.repaired_at, now)).where(sweeps.c.id == sweep_id))
        changed = connection.execute(update(sweeps).where(sweeps.c.id == sweep_id, due).values(repaired_at=now))
        return before if changed.rowcount == 1 else None


def note_seen(connection: Connection, sweep_id: int, worker: str | ScalarSelect[str]) -> None:
    """Record, within a transaction, that a worker is alive; worker: its name, or a query for it."""
    connection.execute(update(workers).where(*_worker(sweep_id, worker)).values(seen_at=database_now()))


@retry_transient()
def records(engine: Engine, sweep_id: int) -> list[WorkerRecord]:
    """Return every worker of the sweep, oldest first."""
    by_attempt = select(
        attempts.c.worker,
        func.sum(case((attempts.c.state == "done", 1), else_=0)).label("done"),
        func.sum(case((attempts.c.state.in_(("failed", "lost")), 1), else_=0)).label("failed"),
        func.max(case((attempts.c.state == "running", tasks.c.id))).label("task_id"),
    )
    of_sweep = by_attempt.join(tasks, tasks.c.id == attempts.c.task_id).where(tasks.c.sweep_id == sweep_id)
    by_worker = of_sweep.group_by(attempts.c.worker).subquery()
    query = (
        select(
            *columns_of(WorkerRecord, workers),
            (database_now() - workers.c.seen_at).label("seen_s"),
            tasks.c.key.label("task"),
            tasks.c.attempt,
            func.coalesce(by_worker.c.done, 0).label("done"),
            func.coalesce(by_worker.c.failed, 0).label("failed"),
        )
        .select_from(workers)
        .join(by_worker, by_worker.c.worker == workers.c.name, isouter=True)
        .join(tasks, tasks.c.id == by_worker.c.task_id, isouter=True)
        .where(workers.c.sweep_id == sweep_id)
        .order_by(workers.c.started_at, workers.c.name)
    )
    with read(engine) as connection, transaction.explain_corruption(connection, sweep_id):
        return [WorkerRecord(**row._asdict()) for row in connection.execute(query)]


def _worker(sweep_id: int, worker: str | ScalarSelect[str]) -> tuple[Any, ...]:
    return workers.c.sweep_id == sweep_id, workers.c.name == worker


@retry_transient()
def pause(engine: Engine, sweep_id: int) -> None:
    """Stop starting tasks; running tasks finish. A cancelled sweep stays cancelled."""
    active = update(sweeps).where(sweeps.c.id == sweep_id, sweeps.c.state == "active")
    with write(engine) as connection:
        connection.execute(active.values(state="paused"))


@retry_transient()
def resume(engine: Engine, sweep_id: int) -> int:
    """Resume after a pause or a cancel; return the number of cancelled tasks queued again."""
    with write(engine) as connection:
        # The sweep first: a concurrent cancel has then committed, and its tasks are visible.
        _set_state(connection, sweep_id, "active")
        cancelled = update(tasks).where(tasks.c.sweep_id == sweep_id, tasks.c.state == "cancelled")
        waiting = cancelled.values(state="waiting", reason=None, started_at=None, finished_at=None)
        return connection.execute(waiting).rowcount


@retry_transient()
def cancel(engine: Engine, sweep_id: int) -> int:
    """Cancel every task that has not ended; return how many.

    Running attempts end as released at once: the fence makes their workers abort. Phases keep their state, so `resume`
    continues exactly here.
    """
    with write(engine) as connection:
        number = _cancel_tasks(connection, sweep_id)
        _set_state(connection, sweep_id, "cancelled")
        # Again, for tasks that an extend, retry or resume committed meanwhile; from here on those wait for the sweep.
        return number + _cancel_tasks(connection, sweep_id)


def _cancel_tasks(connection: Connection, sweep_id: int) -> int:
    unended = (tasks.c.sweep_id == sweep_id, tasks.c.state.in_(TASK_UNENDED))
    why = {"reason": "the sweep was cancelled", "finished_at": database_now()}
    # In the order of ids, as `finish` locks them: another order would often deadlock.
    locked = select(tasks.c.id).where(*unended).order_by(tasks.c.id).with_for_update(key_share=True)
    connection.execute(locked).all()
    running = (attempts.c.state == "running", attempts.c.task_id == tasks.c.id, tasks.c.sweep_id == sweep_id)
    connection.execute(update(attempts).where(*running).values(why | {"state": "released"}))
    return connection.execute(update(tasks).where(*unended).values(why | {"state": "cancelled"})).rowcount


def _set_state(connection: Connection, sweep_id: int, state: str) -> None:
    connection.execute(update(sweeps).where(sweeps.c.id == sweep_id).values(state=state))
    notify(connection, sweep_id)
