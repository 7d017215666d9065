"""A database clock that jumps: living workers keep their tasks, dead ones lose theirs. Leases follow that clock."""

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
    """Move all stored times back, as if the clock of the database had jumped forward."""
    with write(engine) as connection:
        connection.execute(update(attempts).values(lease_until=attempts.c.lease_until - seconds))
        connection.execute(update(sweeps).values(repaired_at=sweeps.c.repaired_at - seconds))


def look(engine: Engine, sweep: int) -> list[str]:
    """Return the tasks that a worker frees when it looks for dead ones."""
    before = workers.take_repair(engine, sweep, "watcher", every_s=0.0)
    assert before is not None
    reaped = reap(engine, sweep, cap=None, lease_s=LEASE_S, lapsed_before=before)
    return [key for key, _, _ in reaped]


def left_s(engine: Engine, claim: TaskRecord) -> float:
    (running,) = [task for task in queries.running_tasks(engine, claim.sweep_id) if task.task_id == claim.id]
    return running.lease_left_s


@both
def test_a_clock_set_forward_takes_tasks_from_dead_workers_only(engine: Engine) -> None:
    sweep = new_sweep(engine, number=2)
    alive, dead = claimed(engine, sweep, lease_s=LEASE_S), claimed(engine, sweep, lease_s=LEASE_S)
    assert look(engine, sweep) == []
    jump(engine, HOUR)
    assert left_s(engine, alive) < -3000
    assert look(engine, sweep) == [], "no worker has had time to renew"
    assert tasks.renew(engine, alive, LEASE_S)
    assert look(engine, sweep) == [dead.key]
    assert finished(engine, alive)


@both
def test_a_clock_set_back_does_not_prolong_the_lease_of_a_dead_worker(engine: Engine) -> None:
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
def test_leases_of_other_sweeps_stay_as_they_are(engine: Engine) -> None:
    sweep, other = new_sweep(engine, name="one", number=1), new_sweep(engine, name="other", number=1)
    claim = claimed(engine, other, lease_s=HOUR)
    look(engine, sweep)
    assert left_s(engine, claim) > 3000
