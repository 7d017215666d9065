"""The state machine of a task: claim, renew, finish, end, reap.

waiting --claim--> running --finish--> done
                          |----end, failed----> waiting, or failed when its attempts are used up
                          |----end, released--> waiting, and the attempt does not count
                          '----(reap)---------> as failed, once any process sees that the lease has lapsed

The attempt number is the fencing token. Every step after the claim names it, and changes nothing once another attempt
has begun: the caller has lost its lease, and drops its result. The deadline itself is never tested: a lapsed lease that
no other worker took (a laptop that slept) is still valid.
"""

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, exists, func, insert, select, update

from storage.db.transaction import (
    RESULT_RETRY_FOR_S,
    database_now,
    explain_corruption,
    is_transient_or_full,
    read,
    retry_transient,
    write,
)
from storage.queue.notify import notify
from storage.queue.phases import close_if_over
from storage.queue.workers import note_seen
from storage.tables import LOST, TaskRecord, attempts, phases, sweeps, tasks


@dataclass(frozen=True)
class Ending:
    """How an attempt ends without a result. state: "failed", "released" or "lost".

    error_class: attempts are counted by class; None: no error. trace: the traceback. log: the end of the log; None: as
    of the latest renewal.
    """

    state: str
    error_class: str | None
    reason: str
    trace: str | None = None
    log: str | None = None


def given_back(log: str | None = None) -> Ending:
    """Return the ending of an attempt that its worker releases; it counts against no cap."""
    return Ending("released", None, "its worker was asked to stop", log=log)


def _end(
    connection: Connection, task_id: int, number: int, ending: Ending, *, cap: int | None, only_if_lapsed: bool = False
) -> bool:
    """End a running attempt; its task waits again, or fails if `cap` attempts ended like this one.

    The task row is locked first, as in `finish`, so of two processes the second changes nothing. False: the attempt is
    no longer running, or, with only_if_lapsed, its lease is valid.
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
    if cap is None or _count_ended(connection, task_id, ending.error_class) < cap:
        connection.execute(task_row.values(state="waiting", started_at=None))
        notify(connection, task.sweep_id)
        return True
    why = {"error_class": ending.error_class, "reason": ending.reason}
    connection.execute(task_row.values(why | {"state": "failed", "finished_at": database_now()}))
    close_if_over(connection, task.phase_id)
    return True


def _count_ended(connection: Connection, task_id: int, error_class: str | None) -> int:
    counted = (attempts.c.number > tasks.c.retries_reset_at, attempts.c.error_class == error_class)
    of_task = select(func.count()).join_from(attempts, tasks, tasks.c.id == attempts.c.task_id)
    return connection.execute(of_task.where(tasks.c.id == task_id, *counted)).scalar_one()


Reaped = tuple[str, int, str]  # task key, attempt number, worker


@retry_transient(when=is_transient_or_full)
def reap(
    engine: Engine, sweep_id: int, *, cap: int | None, lease_s: float | None = None, lapsed_before: float | None = None
) -> list[Reaped]:
    """End every attempt whose lease has lapsed; its task waits again, or fails at `cap` lost workers.

    Any process may do this at any time; of several at once, one gets each attempt. lease_s: length of a lease. A longer
    remaining time is cut to it: the database's clock was set back, and a dead worker would keep its task until the
    clock catches up. lapsed_before: spare leases that were valid then, in seconds since 1970.
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
        attempts.c.lease_until > latest + 1.0,  # spares leases being granted at this moment
        attempts.c.task_id.in_(select(tasks.c.id).where(tasks.c.sweep_id == sweep_id)),
    )
    with read(engine) as connection:
        if connection.execute(select(attempts.c.task_id).where(*too_long).limit(1)).first() is None:
            return
    with write(engine) as connection:
        connection.execute(update(attempts).where(*too_long).values(lease_until=latest))


@retry_transient()
def reap_worker(engine: Engine, worker: str, *, cap: int | None, log: str | None = None) -> list[Reaped]:
    """End the attempts of a worker whose parent saw it die. log: the end of its log."""
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
    """Claim the ready task of highest priority for `lease_s` seconds; None if no task can start now.

    If the connection breaks after the commit, the claim is lost: its lease lapses and it is reaped.
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
    with write(engine) as connection, explain_corruption(connection, sweep_id):
        row = connection.execute(
            update(tasks)
            .where(tasks.c.id == best.scalar_subquery())
            .values(state="running", attempt=tasks.c.attempt + 1, started_at=database_now())
            .returning(tasks.c.id, tasks.c.key, tasks.c.stage, phase.label("phase"), tasks.c.payload, tasks.c.attempt)
        ).one_or_none()
        if row is None:
            return None
        params = _latest_point(connection, row.id, row.attempt) if row.attempt > 1 else None
        times = {"lease_until": database_now() + lease_s, "started_at": database_now(), "progress_at": database_now()}
        values = {"task_id": row.id, "number": row.attempt, "state": "running", "reported": False}
        connection.execute(insert(attempts).values(values | times | {"worker": worker, "host": host, "pid": pid}))
    of_claim = {"sweep_id": sweep_id, "phase": row.phase or "", "state": "running", "params": params, "worker": worker}
    return TaskRecord(**row._asdict() | of_claim)


def _latest_point(connection: Connection, task_id: int, until: int) -> dict[str, Any] | None:
    """Return the parameters of the latest attempt that saved some, up to attempt `until`."""
    saved = (attempts.c.task_id == task_id, attempts.c.number <= until, attempts.c.params.is_not(None))
    query = select(attempts.c.params).where(*saved).order_by(attempts.c.number.desc()).limit(1)
    params: dict[str, Any] | None = connection.scalar(query)
    return params


@retry_transient()
def at_work(engine: Engine, sweep_id: int, worker: str) -> TaskRecord | None:
    """Return the running task of a worker as its claim returned it; None: it has none.

    A worker that claims while it has one never received the answer to its earlier claim.
    """
    query = _attempts_of(sweep_id, worker).where(attempts.c.state == "running", attempts.c.number == tasks.c.attempt)
    return _claimed(engine, sweep_id, query)


@retry_transient()
def of_worker(engine: Engine, sweep_id: int, worker: str, *, task: int, number: int) -> TaskRecord | None:
    """Return a task as a worker claimed it for an attempt, also after its end; None: it never claimed it."""
    query = _attempts_of(sweep_id, worker).where(attempts.c.task_id == task, attempts.c.number == number)
    return _claimed(engine, sweep_id, query)


@retry_transient()
def saved_point(engine: Engine, claim: TaskRecord) -> dict[str, Any] | None:
    """Return the parameters that this attempt itself saved; None: none yet."""
    own = select(attempts.c.params).where(attempts.c.task_id == claim.id, attempts.c.number == claim.attempt)
    with read(engine) as connection:
        params: dict[str, Any] | None = connection.scalar(own)
    return params


def _attempts_of(sweep_id: int, worker: str) -> Select[Any]:
    return (
        select(
            *(tasks.c[name] for name in ("id", "sweep_id", "key", "stage", "payload")),
            phases.c.name.label("phase"),
            attempts.c.state,
            attempts.c.number.label("attempt"),
            attempts.c.worker,
        )
        .join_from(tasks, attempts, attempts.c.task_id == tasks.c.id)
        .join(phases, phases.c.id == tasks.c.phase_id)
        .where(tasks.c.sweep_id == sweep_id, attempts.c.worker == worker)
    )


def _claimed(engine: Engine, sweep_id: int, query: Select[Any]) -> TaskRecord | None:
    with read(engine) as connection, explain_corruption(connection, sweep_id):
        row = connection.execute(query.order_by(attempts.c.started_at.desc()).limit(1)).one_or_none()
        if row is None:
            return None
        return replace(TaskRecord(**row._asdict()), params=_latest_point(connection, row.id, row.attempt))


@retry_transient(when=is_transient_or_full)
def save_point(engine: Engine, claim: TaskRecord, params: dict[str, Any]) -> bool:
    """Store the parameters of this attempt, before it runs. False: the lease was lost."""
    with write(engine) as connection:
        ours = update(attempts).where(*_at_work(claim.id, claim.attempt))
        return connection.execute(ours.values(params=params)).rowcount == 1


def renew(engine: Engine, claim: TaskRecord, lease_s: float, *, idle_s: float = 0.0, log: str | None = None) -> bool:
    """Renew the lease for `lease_s` seconds from now. False: another worker took the task.

    Not retried: the next renewal follows anyway. idle_s: seconds since its latest step. log: None: unchanged.
    """
    values = {"lease_until": database_now() + lease_s, "progress_at": database_now() - idle_s}
    with write(engine) as connection:
        ours = update(attempts).where(*_at_work(claim.id, claim.attempt))
        changed = connection.execute(ours.values(values | ({} if log is None else {"log": log})))
        query = select(attempts.c.worker).where(attempts.c.task_id == claim.id, attempts.c.number == claim.attempt)
        note_seen(connection, claim.sweep_id, query.scalar_subquery())
        return changed.rowcount == 1


@retry_transient(RESULT_RETRY_FOR_S, when=is_transient_or_full)
def finish(
    engine: Engine, claim: TaskRecord, *, outcome: dict[str, Any], score: float | None, log: str | None = None
) -> bool:
    """Store the whole outcome, and close the phase if this was its last task. False: the lease was lost.

    The outcome's key "trial" is what the trial shows (`storage.studies.mirror`). score: ranks the tasks of the stage.
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
    """End this attempt. The task waits again, or fails at the `cap`-th ending of this kind. False: lease lost."""
    with write(engine) as connection:
        return _end(connection, claim.id, claim.attempt, ending, cap=cap)


def _is_done(connection: Connection, claim: TaskRecord) -> bool:
    """Return whether this attempt is done: this call is a retry, as the connection broke after the commit."""
    query = select(attempts.c.state).where(attempts.c.task_id == claim.id, attempts.c.number == claim.attempt)
    return connection.scalar(query) == "done"


def _at_work(task_id: int, number: int) -> tuple[ColumnElement[bool], ...]:
    return attempts.c.task_id == task_id, attempts.c.number == number, attempts.c.state == "running"
