"""Claim, renew, finish, end, reap: the state machine of a task.

waiting --claim--> running --finish--> done
                          |----end, failed----> waiting, or failed when its attempts are used up
                          |----end, released--> waiting, and the attempt does not count
                          '----(reap)---------> as failed, when the lease lapsed and a process noticed

The attempt number is the fencing token. Every step after the claim names it, and changes nothing when another attempt
has begun: the caller has lost its lease, drops its result and goes on. The deadline itself is never tested: a lapsed
lease that was not taken (a laptop that slept) is still good.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, exists, func, insert, select, update

from storage.db import transaction
from storage.db.transaction import RESULT_RETRY_FOR_S, database_now, is_transient_or_full, read, retry_transient, write
from storage.queue.notify import notify
from storage.queue.phases import close_if_over
from storage.queue.workers import note_seen
from storage.tables import LOST, TaskRecord, attempts, phases, sweeps, tasks


@dataclass(frozen=True)
class Ending:
    """How an attempt ends without a result. state: "failed", "released" or "lost".

    error_class: each is counted for itself; None: nothing went wrong. trace: the traceback. log: the end of what was
    logged meanwhile; None: as it was renewed last.
    """

    state: str
    error_class: str | None
    reason: str
    trace: str | None = None
    log: str | None = None


def given_back(log: str | None = None) -> Ending:
    """Return the ending of an attempt that its worker gives back, and that counts nowhere."""
    return Ending("released", None, "its worker was asked to stop", log=log)


def _end(
    connection: Connection, task_id: int, number: int, ending: Ending, *, cap: int | None, only_if_lapsed: bool = False
) -> bool:
    """End a running attempt; its task waits again, or has failed when `cap` attempts ended like this one.

    The task row is locked first, as `finish` does: the second process finds nothing left to change. False: that attempt
    is not running any more, or, with only_if_lapsed, its lease is good.
    """
    task = connection.execute(
        select(tasks.c.phase_id, tasks.c.sweep_id)
        .where(tasks.c.id == task_id, tasks.c.attempt == number, tasks.c.state == "running")
        .with_for_update(key_share=True)
    ).one_or_none()
    if task is None:
        return False
    values = {name: value for name, value in vars(ending).items() if name != "log" or value is not None}
    ended = update(attempts).where(*_at_work(task_id, number)).values(values | {"finished_at": database_now()})
    if only_if_lapsed:
        ended = ended.where(attempts.c.lease_until < database_now())
    if connection.execute(ended).rowcount == 0:
        return False
    task_row = update(tasks).where(tasks.c.id == task_id)
    if cap is None or _ended_so(connection, task_id, ending.error_class) < cap:
        connection.execute(task_row.values(state="waiting", started_at=None))
        notify(connection, task.sweep_id)
        return True
    why = {"error_class": ending.error_class, "reason": ending.reason}
    connection.execute(task_row.values(why | {"state": "failed", "finished_at": database_now()}))
    close_if_over(connection, task.phase_id)
    return True


def _ended_so(connection: Connection, task_id: int, error_class: str | None) -> int:
    counted = (attempts.c.number > tasks.c.retries_reset_at, attempts.c.error_class == error_class)
    of_task = select(func.count()).join_from(attempts, tasks, tasks.c.id == attempts.c.task_id)
    return connection.execute(of_task.where(tasks.c.id == task_id, *counted)).scalar_one()


Reaped = tuple[str, int, str]  # task key, attempt number, worker


@retry_transient(when=is_transient_or_full)
def reap(
    engine: Engine, sweep_id: int, *, cap: int | None, lease_s: float | None = None, lapsed_before: float | None = None
) -> list[Reaped]:
    """End every attempt whose lease has lapsed; its task waits again, or has failed at `cap` lost workers.

    Any process may do this at any time; of several at once, one gets each attempt. lease_s: how long a lease lasts. One
    that seems to last longer is cut to this: the database's clock was set back, and a dead worker would keep its task
    until the clock is where it was. lapsed_before: leave those alone whose lease was good then, in seconds since 1970.
    """
    if lease_s is not None:
        _shorten(engine, sweep_id, lease_s)
    lapsed = _running().where(tasks.c.sweep_id == sweep_id, attempts.c.lease_until < database_now())
    if lapsed_before is not None:
        lapsed = lapsed.where(attempts.c.lease_until < lapsed_before)
    return _take_back(engine, lapsed, "its lease lapsed", cap=cap, only_if_lapsed=True)


def _shorten(engine: Engine, sweep_id: int, lease_s: float) -> None:
    latest = database_now() + lease_s
    too_long = (
        attempts.c.state == "running",
        attempts.c.lease_until > latest + 1.0,  # not those that are given at this moment
        attempts.c.task_id.in_(select(tasks.c.id).where(tasks.c.sweep_id == sweep_id)),
    )
    with read(engine) as connection:
        if connection.execute(select(attempts.c.task_id).where(*too_long).limit(1)).first() is None:
            return
    with write(engine) as connection:
        connection.execute(update(attempts).where(*too_long).values(lease_until=latest))


@retry_transient()
def reap_worker(engine: Engine, worker: str, *, cap: int | None, log: str | None = None) -> list[Reaped]:
    """End the attempts of a worker that is known to be dead: its parent saw it die. log: the end of its log."""
    return _take_back(engine, _running().where(attempts.c.worker == worker), "its process died", cap=cap, log=log)


def _running() -> Select[int, int, str, str]:
    return (
        select(tasks.c.id, attempts.c.number, tasks.c.key, attempts.c.worker)
        .join(attempts, attempts.c.task_id == tasks.c.id)
        .where(attempts.c.state == "running")
        .order_by(tasks.c.id)
    )


def _take_back(
    engine: Engine,
    rows: Select[int, int, str, str],
    why: str,
    *,
    cap: int | None,
    only_if_lapsed: bool = False,
    log: str | None = None,
) -> list[Reaped]:
    with read(engine) as connection:
        running = connection.execute(rows).all()
    reaped = []
    for task_id, number, key, worker in running:
        ending = Ending("lost", LOST, f"{LOST} {worker}: {why}", log=log)
        # One transaction each: locks on tasks of several phases at once could deadlock with a finish.
        with write(engine) as connection:
            if _end(connection, task_id, number, ending, cap=cap, only_if_lapsed=only_if_lapsed):
                reaped.append((key, number, worker))
    return reaped


@retry_transient(when=is_transient_or_full)
def claim(engine: Engine, sweep_id: int, *, worker: str, host: str, pid: int, lease_s: float) -> TaskRecord | None:
    """Claim the best ready task for `lease_s` seconds; None when nothing can start now.

    If the connection is lost after the commit, the claim is lost with it: its lease lapses and it is reaped.
    """
    is_active = exists().where(sweeps.c.id == sweep_id, sweeps.c.state == "active")
    best = (
        select(tasks.c.id)
        .where(tasks.c.sweep_id == sweep_id, tasks.c.state == "waiting", tasks.c.ready, is_active)
        .order_by(tasks.c.priority.desc(), tasks.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=tasks)
    )
    phase = select(phases.c.name).where(phases.c.id == tasks.c.phase_id).scalar_subquery()
    with write(engine) as connection, transaction.explain_corruption(connection, sweep_id):
        row = connection.execute(
            update(tasks)
            .where(tasks.c.id == best.scalar_subquery())
            .values(state="running", attempt=tasks.c.attempt + 1, started_at=database_now())
            .returning(tasks.c.id, tasks.c.key, tasks.c.stage, phase.label("phase"), tasks.c.payload, tasks.c.attempt)
        ).one_or_none()
        if row is None:
            return None
        params = _earlier_point(connection, row.id) if row.attempt > 1 else None
        times = {"lease_until": database_now() + lease_s, "started_at": database_now(), "progress_at": database_now()}
        values = {"task_id": row.id, "number": row.attempt, "state": "running", "reported": False}
        connection.execute(insert(attempts).values(values | times | {"worker": worker, "host": host, "pid": pid}))
    return TaskRecord(
        id=row.id,
        sweep_id=sweep_id,
        key=row.key,
        stage=row.stage,
        phase=row.phase or "",
        payload=row.payload,
        state="running",
        attempt=row.attempt,
        params=params,
        worker=worker,
    )


def _earlier_point(connection: Connection, task_id: int) -> dict[str, Any] | None:
    query = select(attempts.c.params).where(attempts.c.task_id == task_id, attempts.c.params.is_not(None))
    params: dict[str, Any] | None = connection.scalar(query.order_by(attempts.c.number.desc()).limit(1))
    return params


@retry_transient(when=is_transient_or_full)
def save_point(engine: Engine, claim: TaskRecord, params: dict[str, Any]) -> bool:
    """Note the parameters of this attempt, before it runs. False: the lease was lost."""
    with write(engine) as connection:
        ours = update(attempts).where(*_at_work(claim.id, claim.attempt))
        return connection.execute(ours.values(params=params)).rowcount == 1


def renew(engine: Engine, claim: TaskRecord, lease_s: float, *, idle_s: float = 0.0, log: str | None = None) -> bool:
    """Keep the task for `lease_s` seconds from now. False: it was taken.

    Tried once only: who renews does so again and again anyway. idle_s: since its latest step. log: None: unchanged.
    """
    values = {"lease_until": database_now() + lease_s, "progress_at": database_now() - idle_s}
    with write(engine) as connection:
        ours = update(attempts).where(*_at_work(claim.id, claim.attempt))
        changed = connection.execute(ours.values(values | ({} if log is None else {"log": log})))
        mine = select(attempts.c.worker).where(attempts.c.task_id == claim.id, attempts.c.number == claim.attempt)
        note_seen(connection, claim.sweep_id, mine.scalar_subquery())
        return changed.rowcount == 1


@retry_transient(RESULT_RETRY_FOR_S, when=is_transient_or_full)
def finish(
    engine: Engine, claim: TaskRecord, *, outcome: dict[str, Any], score: float | None, log: str | None = None
) -> bool:
    """Store the whole outcome, and close the phase if this was its last task. False: the lease was lost.

    Its key "trial" holds the result that the trial has to show (`storage.studies.mirror`). score: what tasks of this
    stage are ranked by, if they are.
    """
    with write(engine) as connection:
        row = connection.execute(
            update(tasks)
            .where(tasks.c.id == claim.id, tasks.c.attempt == claim.attempt, tasks.c.state == "running")
            .values(state="done", outcome=outcome, score=score, finished_at=database_now())
            .returning(tasks.c.phase_id)
        ).one_or_none()
        if row is None:
            return _is_done(connection, claim)
        ended = {"state": "done", "finished_at": database_now(), "log": log}
        connection.execute(update(attempts).where(*_at_work(claim.id, claim.attempt)).values(ended))
        close_if_over(connection, row.phase_id)
        return True


@retry_transient(when=is_transient_or_full)
def end(engine: Engine, claim: TaskRecord, ending: Ending, *, cap: int | None = None) -> bool:
    """End this attempt. The task waits again, unless this was the `cap`-th that ended so. False: the lease was lost."""
    with write(engine) as connection:
        return _end(connection, claim.id, claim.attempt, ending, cap=cap)


def _is_done(connection: Connection, claim: TaskRecord) -> bool:
    """Return whether this attempt was finished: the connection was cut after the commit, and it is tried again."""
    this = select(attempts.c.state).where(attempts.c.task_id == claim.id, attempts.c.number == claim.attempt)
    return connection.scalar(this) == "done"


def _at_work(task_id: int, number: int) -> tuple[ColumnElement[bool], ...]:
    return attempts.c.task_id == task_id, attempts.c.number == number, attempts.c.state == "running"
