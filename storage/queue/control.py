"""Pause, resume and cancel, each in one transaction. Workers notice at their next claim or heartbeat."""

from sqlalchemy import Connection, Engine, select, update

from storage.db.dialects import database_now
from storage.db.faults import retrying
from storage.db.schema import attempts, sweeps, tasks
from storage.db.transaction import write
from storage.queue.bell import ring


@retrying
def pause(engine: Engine, sweep_id: int) -> None:
    """Stop starting tasks; running tasks finish. A cancelled sweep stays cancelled."""
    with write(engine) as connection:
        connection.execute(
            update(sweeps).where(sweeps.c.id == sweep_id, sweeps.c.state == "active").values(state="paused")
        )


@retrying
def resume(engine: Engine, sweep_id: int) -> int:
    """Go on after a pause or a cancel. Returns how many cancelled tasks wait again."""
    with write(engine) as connection:
        # The sweep first: a cancel at the same moment is over then, and its tasks are seen.
        _set_state(connection, sweep_id, "active")
        again = connection.execute(
            update(tasks)
            .where(tasks.c.sweep_id == sweep_id, tasks.c.state == "cancelled")
            .values(state="waiting", reason=None, started_at=None, finished_at=None)
        )
        return again.rowcount


@retrying
def cancel(engine: Engine, sweep_id: int) -> int:
    """Take back every task that is not ended. Returns how many.

    Running attempts end as released here and now: the fence makes their workers drop what they are doing.
    Phases stay as they are, so that `resume` can go on exactly from here.
    """
    with write(engine) as connection:
        taken = _take_back(connection, sweep_id)
        _set_state(connection, sweep_id, "cancelled")
        # Once more: what an extend, retry or resume committed meanwhile. From here on they wait for the sweep.
        return taken + _take_back(connection, sweep_id)


def _take_back(connection: Connection, sweep_id: int) -> int:
    reason = "the sweep was cancelled"
    # In the order of their ids, as finish and what it opens: the other way round would often deadlock.
    connection.execute(
        select(tasks.c.id)
        .where(tasks.c.sweep_id == sweep_id, tasks.c.state.in_(("waiting", "running")))
        .order_by(tasks.c.id)
        .with_for_update(key_share=True)
    ).all()
    connection.execute(
        update(attempts)
        .where(attempts.c.state == "running", attempts.c.task_id == tasks.c.id, tasks.c.sweep_id == sweep_id)
        .values(state="released", reason=reason, finished_at=database_now())
    )
    taken = connection.execute(
        update(tasks)
        .where(tasks.c.sweep_id == sweep_id, tasks.c.state.in_(("waiting", "running")))
        .values(state="cancelled", reason=reason, finished_at=database_now())
    )
    return taken.rowcount


def _set_state(connection: Connection, sweep_id: int, state: str) -> None:
    connection.execute(update(sweeps).where(sweeps.c.id == sweep_id).values(state=state))
    ring(connection, sweep_id)
