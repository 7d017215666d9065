"""storage.tasks, endings and reaping: claims, leases, fencing, retries."""

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, select, update
from storage_sweeps import claimed, finished, new_storage, new_sweep, states

from storage import records, tasks
from storage.engine import read, write
from storage.plans import PhasePlan, TaskPlan, insert_sweep
from storage.reaping import reap, reap_worker
from storage.schema import attempts
from storage.tasks import Claim

PARAMS = {"temperature": 4.0, "alpha": 0.5}


@pytest.fixture
def engine(storage_url: str) -> Iterator[Engine]:
    with new_storage(storage_url) as engine:
        yield engine


def lapse(engine: Engine, claim: Claim) -> None:
    """Let the claim's lease end a second ago."""
    with write(engine) as connection:
        connection.execute(
            update(attempts).where(attempts.c.task_id == claim.task_id).values(lease_until=attempts.c.lease_until - 61)
        )


def attempt_states(engine: Engine, claim: Claim) -> list[str]:
    with read(engine) as connection:
        query = select(attempts.c.state).where(attempts.c.task_id == claim.task_id).order_by(attempts.c.number)
        return list(connection.scalars(query))


def state_of(engine: Engine, sweep: int, claim: Claim) -> str:
    return next(task.state for task in records.task_records(engine, sweep) if task.id == claim.task_id)


def test_the_highest_priority_is_claimed_first_then_plan_order(engine: Engine) -> None:
    insert_sweep(
        engine,
        name="s",
        spec={},
        fingerprint="f",
        provenance={},
        phases=[PhasePlan(name="p", stage="p", minimum=0)],
        tasks=[TaskPlan(key=f"{n}", phase="p", priority=priority) for n, priority in enumerate([0, 5, 0, 9, 5])],
    )
    sweep = records.find_sweep(engine, "s").id
    assert [claimed(engine, sweep).key for _ in range(5)] == ["3", "1", "4", "0", "2"]


def test_a_claim_says_what_to_do_and_shows_as_running(engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    claim = claimed(engine, sweep, worker="w7", lease_s=60)
    assert claim == Claim(
        sweep_id=sweep,
        task_id=claim.task_id,
        key="search#0",
        stage="search",
        phase="search",
        payload={"n": 0},
        attempt=1,
        params=None,
        retry_of=None,
    )
    (at_work,) = records.running(engine, sweep)
    assert (at_work.key, at_work.worker, at_work.host, at_work.attempt) == ("search#0", "w7", "h", 1)
    assert 50 < at_work.lease_left_s <= 60
    assert 0 <= at_work.running_s < 10
    assert abs(at_work.started_at - time.time()) < 10, "the database tells seconds since 1970"


def test_the_finished_task_holds_its_whole_outcome(engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    claim = claimed(engine, sweep)
    outcome = {"trial": {"value": 0.9, "attrs": {}, "epoch_values": [0.1, float("nan"), 0.9]}, "text": "ümlaut"}
    assert tasks.save_trial(engine, claim, study="s", number=3, params=PARAMS)
    assert tasks.finish(engine, claim, outcome=outcome, score=0.9)
    (task,) = records.task_records(engine, sweep)
    assert (task.state, task.score, task.params, task.trial_number, task.study) == ("done", 0.9, PARAMS, 3, "s")
    assert str(task.outcome) == str(outcome), "NaN included"
    assert task.finished_at is not None
    assert task.started_at is not None
    assert task.finished_at >= task.started_at
    assert records.running(engine, sweep) == []


@pytest.mark.parametrize("state", ["paused", "cancelled"])
def test_a_sweep_that_is_not_active_gives_no_work_and_lets_running_tasks_finish(engine: Engine, state: str) -> None:
    sweep = new_sweep(engine)
    claim = claimed(engine, sweep)
    tasks.set_state(engine, sweep, state)
    assert tasks.claim(engine, sweep, worker="w", host="h", pid=1, lease_s=60) is None
    assert finished(engine, claim)
    tasks.set_state(engine, sweep, "active")
    assert claimed(engine, sweep).key == "search#1"
    with pytest.raises(ValueError, match="active, paused, cancelled"):
        tasks.set_state(engine, sweep, "stopped")


def test_claims_stay_inside_their_sweep(engine: Engine) -> None:
    one, other = new_sweep(engine, name="one", number=1), new_sweep(engine, name="other", number=1)
    claimed(engine, other)
    assert tasks.claim(engine, other, worker="w", host="h", pid=1, lease_s=60) is None
    assert claimed(engine, one).sweep_id == one


def test_a_late_result_of_a_lost_attempt_is_dropped(engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    late = claimed(engine, sweep, worker="frozen")
    lapse(engine, late)
    assert reap(engine, sweep, cap=3) == [("search#0", 1, "frozen")]
    assert state_of(engine, sweep, late) == "waiting"
    assert not finished(engine, late, score=0.1), "even before anybody else began"
    again = claimed(engine, sweep, worker="other")
    assert again.attempt == 2
    assert not finished(engine, late, score=0.1)
    assert not tasks.renew(engine, late, 60)
    assert not tasks.fail(engine, late, error_class="error", reason="late", cap=1)
    assert not tasks.release(engine, late)
    assert not tasks.save_trial(engine, late, study="s", number=0, params={})
    assert finished(engine, again, score=0.9)
    assert not finished(engine, late, score=0.1)
    (task,) = records.task_records(engine, sweep)
    assert (task.state, task.score, task.worker) == ("done", 0.9, "other")
    assert attempt_states(engine, late) == ["lost", "done"]


def test_a_lapsed_lease_that_nobody_took_is_still_good(engine: Engine) -> None:
    sweep = new_sweep(engine, number=2)
    slept, slept_too = claimed(engine, sweep), claimed(engine, sweep)
    lapse(engine, slept)
    lapse(engine, slept_too)
    assert records.running(engine, sweep)[0].lease_left_s < 0
    assert tasks.renew(engine, slept, 60)
    assert finished(engine, slept_too)
    assert reap(engine, sweep, cap=1) == [], "renewed, and finished"


def test_reaping_leaves_living_attempts_alone_and_fails_a_task_at_its_cap(engine: Engine) -> None:
    sweep = new_sweep(engine, number=2)
    claim, living = claimed(engine, sweep, worker="dead1"), claimed(engine, sweep, worker="living")
    for attempt in (1, 2):
        if attempt == 2:
            claim = claimed(engine, sweep, worker="dead2")
        lapse(engine, claim)
        assert reap(engine, sweep, cap=2) == [("search#0", attempt, f"dead{attempt}")]
    assert state_of(engine, sweep, claim) == "failed"
    failed = records.task_records(engine, sweep, state="failed")[0]
    assert (failed.error_class, failed.reason) == ("lost worker", "lost worker dead2: its lease lapsed")
    assert finished(engine, living)
    assert states(engine, sweep) == {"search": "closed"}


def test_a_worker_known_to_be_dead_is_reaped_at_once(engine: Engine) -> None:
    sweep = new_sweep(engine, number=2)
    claimed(engine, sweep, worker="dead")
    claimed(engine, sweep, worker="living")
    assert reap(engine, sweep, cap=3) == []
    assert reap_worker(engine, "dead", cap=3) == [("search#0", 1, "dead")]
    assert reap_worker(engine, "dead", cap=3) == []
    assert [task.worker for task in records.running(engine, sweep)] == ["living"]


def test_a_retry_keeps_its_parameters_and_names_its_predecessor(engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    first = claimed(engine, sweep)
    assert tasks.save_trial(engine, first, study="s", number=7, params=PARAMS)
    assert tasks.fail(engine, first, error_class="error", reason="disk full", cap=3)
    (waiting,) = records.task_records(engine, sweep)
    assert (waiting.state, waiting.reason, waiting.error_class) == ("waiting", "disk full", "error")
    second = claimed(engine, sweep)
    assert (second.attempt, second.params, second.retry_of) == (2, PARAMS, 7)
    tasks.release(engine, second)  # before it asked for a trial of its own
    third = claimed(engine, sweep)
    assert (third.attempt, third.params, third.retry_of) == (3, PARAMS, 7)


def test_failed_and_lost_attempts_count_and_released_ones_never_do(engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    for _ in range(5):
        assert tasks.release(engine, claimed(engine, sweep))
    assert tasks.fail(engine, claimed(engine, sweep), error_class="error", reason="a bug", cap=3)
    claim = claimed(engine, sweep)
    lapse(engine, claim)
    assert len(reap(engine, sweep, cap=3)) == 1
    last = claimed(engine, sweep)
    assert last.attempt == 8
    assert tasks.fail(engine, last, error_class="error", reason="a bug", cap=3)
    (task,) = records.task_records(engine, sweep)
    assert (task.state, task.reason, task.error_class) == ("failed", "a bug", "error")
    assert states(engine, sweep) == {"search": "failed"}
