"""Taking tasks back from workers that are gone."""

from sqlalchemy import Engine, Select, select

from storage.clock import database_now
from storage.endings import end_attempt
from storage.faults import retrying
from storage.schema import attempts, tasks
from storage.transaction import read, write

LOST = "lost worker"

Reaped = tuple[str, int, str]  # task key, attempt number, worker


@retrying
def reap(engine: Engine, sweep_id: int, *, cap: int | None) -> list[Reaped]:
    """End every attempt whose lease has lapsed; its task waits again, or has failed at `cap` lost workers.

    Any process may do this at any time; of several at once, one gets each attempt.
    """
    lapsed = _running().where(tasks.c.sweep_id == sweep_id, attempts.c.lease_until < database_now())
    return _take_back(engine, lapsed, cap=cap, only_if_lapsed=True, why="its lease lapsed")


@retrying
def reap_worker(engine: Engine, worker: str, *, cap: int | None) -> list[Reaped]:
    """The same at once, for a worker that is known to be dead: its parent saw it die."""
    of_worker = _running().where(attempts.c.worker == worker)
    return _take_back(engine, of_worker, cap=cap, only_if_lapsed=False, why="its process died")


def _running() -> Select[int, int, str, str]:
    return (
        select(tasks.c.id, attempts.c.number, tasks.c.key, attempts.c.worker)
        .join(attempts, attempts.c.task_id == tasks.c.id)
        .where(attempts.c.state == "running")
        .order_by(tasks.c.id)
    )


def _take_back(
    engine: Engine, rows: Select[int, int, str, str], *, cap: int | None, only_if_lapsed: bool, why: str
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
            ):
                taken.append((key, number, worker))
    return taken
