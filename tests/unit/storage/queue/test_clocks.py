"""A clock that jumps: the database's, by which leases are counted; what it does to those who work and who are dead."""

from sqlalchemy import Engine, update

from storage.db.transaction import write
from storage.queue import tasks, workers
from storage.queue.tasks import reap
from storage.records import queries
from storage.tables import TaskRecord, attempts, sweeps
from tests.support.both_databases import both
from tests.support.sweeps.storage_sweeps import claimed, finished, new_sweep

HOUR = 3600.0
LEASE_S = 60.0


def jump(engine: Engine, seconds: float) -> None:
    """Set the database's clock forward: move all stored times back instead."""
    with write(engine) as connection:
        connection.execute(update(attempts).values(lease_until=attempts.c.lease_until - seconds))
        connection.execute(update(sweeps).values(repaired_at=sweeps.c.repaired_at - seconds))


def look(engine: Engine, sweep: int) -> list[str]:
    """Return the tasks that a worker frees when it looks for dead ones."""
    before = workers.take_repair(engine, sweep, "watcher", every_s=0.0)
    assert before is not None
    taken = reap(engine, sweep, cap=None, lease_s=LEASE_S, lapsed_before=before)
    return [key for key, _, _ in taken]


def left_s(engine: Engine, claim: TaskRecord) -> float:
    (found,) = [one for one in queries.running_tasks(engine, claim.sweep_id) if one.task_id == claim.id]
    return found.lease_left_s


@both
def test_a_clock_set_forward_takes_tasks_from_dead_workers_only(engine: Engine) -> None:
    sweep = new_sweep(engine, number=2)
    alive, dead = claimed(engine, sweep, lease_s=LEASE_S), claimed(engine, sweep, lease_s=LEASE_S)
    assert look(engine, sweep) == []
    jump(engine, HOUR)
    assert left_s(engine, alive) < -3000
    assert look(engine, sweep) == [], "no worker had the time to renew"
    assert tasks.renew(engine, alive, LEASE_S)
    assert look(engine, sweep) == [dead.key]
    assert finished(engine, alive)


@both
def test_a_clock_set_back_leaves_no_dead_worker_its_task_for_as_long(engine: Engine) -> None:
    sweep = new_sweep(engine, number=2)
    alive, dead = claimed(engine, sweep, lease_s=LEASE_S), claimed(engine, sweep, lease_s=LEASE_S)
    look(engine, sweep)
    jump(engine, -HOUR)
    assert left_s(engine, dead) > 3000
    assert look(engine, sweep) == []
    assert 50 < left_s(engine, dead) <= LEASE_S
    jump(engine, LEASE_S + 1)
    assert tasks.renew(engine, alive, LEASE_S)
    assert [look(engine, sweep), look(engine, sweep)] == [[], [dead.key]]
    assert finished(engine, alive)


@both
def test_a_lease_of_another_sweep_stays_as_long_as_it_is(engine: Engine) -> None:
    one, other = new_sweep(engine, name="one", number=1), new_sweep(engine, name="other", number=1)
    claim = claimed(engine, other, lease_s=HOUR)
    look(engine, one)
    assert left_s(engine, claim) > 3000
