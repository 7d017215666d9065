"""How an attempt ends without a result: one transition for failing, releasing and losing."""

from sqlalchemy import Connection, func, select, update

from storage.clock import database_now
from storage.phases import close_if_over
from storage.schema import attempts, tasks


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
) -> bool:
    """End a running attempt; its task waits again, or has failed when `cap` attempts ended like this one.

    The task row is locked first, as `finish` does: whoever comes second finds nothing left to change.

    Args:
        error_class: what ended it; each class is counted for itself. None = nothing went wrong.
        cap: None = the task waits again whatever came before.
        only_if_lapsed: leave an attempt alone whose lease is still good.

    Returns:
        False: that attempt is not running (any more), or its lease is good; nothing changed.
    """
    task = connection.execute(
        select(tasks.c.phase_id)
        .where(tasks.c.id == task_id, tasks.c.attempt == number, tasks.c.state == "running")
        .with_for_update(key_share=True)
    ).one_or_none()
    if task is None:
        return False
    lapsed = [attempts.c.lease_until < database_now()] if only_if_lapsed else []
    ended = connection.execute(
        update(attempts)
        .where(attempts.c.task_id == task_id, attempts.c.number == number, attempts.c.state == "running", *lapsed)
        .values(state=state, error_class=error_class, reason=reason, finished_at=database_now())
    )
    if ended.rowcount == 0:
        return False
    if cap is None or _ended_so(connection, task_id, error_class) < cap:
        connection.execute(update(tasks).where(tasks.c.id == task_id).values(state="waiting", started_at=None))
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
        .where(tasks.c.id == task_id, attempts.c.number > tasks.c.forgiven, attempts.c.error_class == error_class)
    ).scalar_one()
