"""End attempts that have no result: failed, released, or lost with their worker."""

from sqlalchemy import Connection, Engine, Select, func, select, update

from storage.db.dialects import database_now
from storage.db.faults import enduring, retrying
from storage.db.schema import attempts, tasks
from storage.db.transaction import read, write
from storage.queue.bell import ring
from storage.queue.error_classes import LOST
from storage.queue.phases import close_if_over


def end_attempt(
    connection: Connection,
    task_id: int,
    number: int,
    *,
    state: str,
    error_class: str | None,
    reason: str,
    cap: int | None,
    only_if_lapsed: bool = False,
    trace: str | None = None,
    log: str | None = None,
) -> bool:
    """End a running attempt; its task waits again, or has failed when `cap` attempts ended like this one.

    The task row is locked first, as `finish` does: whoever comes second finds nothing left to change.

    Args:
        error_class: what ended it; each class is counted for itself. None = nothing went wrong.
        cap: None = the task waits again whatever came before.
        only_if_lapsed: leave an attempt alone whose lease is still good.
        trace: the traceback. log: the end of what was logged meanwhile; None leaves what a renewal stored.

    Returns:
        False: that attempt is not running (any more), or its lease is good; nothing changed.
    """
    task = connection.execute(
        select(tasks.c.phase_id, tasks.c.sweep_id)
        .where(tasks.c.id == task_id, tasks.c.attempt == number, tasks.c.state == "running")
        .with_for_update(key_share=True)
    ).one_or_none()
    if task is None:
        return False
    lapsed = [attempts.c.lease_until < database_now()] if only_if_lapsed else []
    ended = connection.execute(
        update(attempts)
        .where(attempts.c.task_id == task_id, attempts.c.number == number, attempts.c.state == "running", *lapsed)
        .values(
            state=state,
            error_class=error_class,
            reason=reason,
            finished_at=database_now(),
            trace=trace,
            log=attempts.c.log if log is None else log,
        )
    )
    if ended.rowcount == 0:
        return False
    if cap is None or _ended_so(connection, task_id, error_class) < cap:
        connection.execute(update(tasks).where(tasks.c.id == task_id).values(state="waiting", started_at=None))
        ring(connection, task.sweep_id)
        return True
    connection.execute(
        update(tasks)
        .where(tasks.c.id == task_id)
        .values(state="failed", error_class=error_class, reason=reason, finished_at=database_now())
    )
    close_if_over(connection, task.phase_id)
    return True


def _ended_so(connection: Connection, task_id: int, error_class: str | None) -> int:
    return connection.execute(
        select(func.count())
        .select_from(attempts)
        .join(tasks, tasks.c.id == attempts.c.task_id)
        .where(
            tasks.c.id == task_id, attempts.c.number > tasks.c.retries_reset_at, attempts.c.error_class == error_class
        )
    ).scalar_one()


Reaped = tuple[str, int, str]  # task key, attempt number, worker


@enduring
def reap(
    engine: Engine,
    sweep_id: int,
    *,
    cap: int | None,
    lease_s: float | None = None,
    lapsed_before: float | None = None,
) -> list[Reaped]:
    """End every attempt whose lease has lapsed; its task waits again, or has failed at `cap` lost workers.

    Any process may do this at any time; of several at once, one gets each attempt.

    Args:
        lease_s: how long a lease lasts. One that seems to last longer is cut to this: the database's clock was set
            back, and a dead worker would keep its task until the clock is where it was.
        lapsed_before: leave those alone whose lease was good then, in seconds since 1970 by the database's clock.
    """
    if lease_s is not None:
        _shorten(engine, sweep_id, lease_s)
    lapsed = _running().where(tasks.c.sweep_id == sweep_id, attempts.c.lease_until < database_now())
    if lapsed_before is not None:
        lapsed = lapsed.where(attempts.c.lease_until < lapsed_before)
    return _take_back(engine, lapsed, cap=cap, only_if_lapsed=True, why="its lease lapsed")


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


@retrying
def reap_worker(engine: Engine, worker: str, *, cap: int | None, log: str | None = None) -> list[Reaped]:
    """End the attempts of one worker at once, which is known to be dead: its parent saw it die.

    Args:
        log: the end of what it logged and printed.
    """
    of_worker = _running().where(attempts.c.worker == worker)
    return _take_back(engine, of_worker, cap=cap, only_if_lapsed=False, why="its process died", log=log)


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
    *,
    cap: int | None,
    only_if_lapsed: bool,
    why: str,
    log: str | None = None,
) -> list[Reaped]:
    with read(engine) as connection:
        found = connection.execute(rows).all()
    taken = []
    for task_id, number, key, worker in found:
        # One transaction each: locks on tasks of several phases at once could deadlock with a finish.
        with write(engine) as connection:
            if end_attempt(
                connection,
                task_id,
                number,
                state="lost",
                error_class=LOST,
                reason=f"{LOST} {worker}: {why}",
                cap=cap,
                only_if_lapsed=only_if_lapsed,
                log=log,
            ):
                taken.append((key, number, worker))
    return taken
