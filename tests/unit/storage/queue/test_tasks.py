"""storage.queue.tasks, endings and reaping: claims, leases, fencing, retries."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, select

from storage.db.engine import open_engine
from storage.db.transaction import is_transient, read, write
from storage.errors import Unreachable
from storage.queue import plans, tasks
from storage.queue.tasks import Ending, given_back, reap
from storage.records import queries
from storage.tables import TaskRecord, attempts
from storage.url import resolve
from tests.support.both_databases import both
from tests.support.sweeps.storage_sweeps import claimed, finished, lapse, new_storage, new_sweep, states

PARAMS = {"temperature": 4.0, "alpha": 0.5}


def state_of(engine: Engine, sweep: int, claim: TaskRecord) -> str:
    return next(task.state for task in queries.task_records(engine, sweep) if task.id == claim.id)


@both
def test_a_claim_has_its_payload_and_is_listed_as_running(engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    claim = claimed(engine, sweep, worker="w7", lease_s=60)
    assert claim == TaskRecord(
        id=claim.id, sweep_id=sweep, key="search#0", stage="search", phase="search", payload={"n": 0}, state="running",
        attempt=1, worker="w7",
    )  # fmt: skip
    (at_work,) = queries.running_tasks(engine, sweep)
    assert (at_work.key, at_work.worker, at_work.host, at_work.attempt) == ("search#0", "w7", "h", 1)
    assert 50 < at_work.lease_left_s <= 60
    assert 0 <= at_work.running_s < 10
    assert abs(at_work.started_at - time.time()) < 10, "times are seconds since 1970"


@both
def test_the_finished_task_holds_its_whole_outcome(engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    claim = claimed(engine, sweep)
    outcome = {"trial": {"value": 0.9, "attrs": {}, "epoch_values": [0.1, float("nan"), 0.9]}, "text": "ümlaut"}
    assert tasks.save_point(engine, claim, PARAMS)
    assert tasks.finish(engine, claim, outcome=outcome, score=0.9)
    assert finished(engine, claim, score=0.1), "a finish sent twice stores the first result"
    (task,) = queries.task_records(engine, sweep)
    assert (task.state, task.score, task.params, task.trial_number, task.study) == ("done", 0.9, PARAMS, None, None)
    assert str(task.outcome) == str(outcome), "NaN included"
    assert task.finished_at is not None
    assert task.started_at is not None
    assert task.finished_at >= task.started_at
    assert queries.running_tasks(engine, sweep) == []
    assert plans.retry(engine, sweep, revision=1) == [], "NaN in an outcome is not damage"


@both
def test_a_late_result_of_a_lost_attempt_is_refused(engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    late = claimed(engine, sweep, worker="frozen")
    lapse(engine, late)
    assert reap(engine, sweep, cap=3) == [("search#0", 1, "frozen")]
    assert state_of(engine, sweep, late) == "waiting"
    assert not finished(engine, late, score=0.1), "a lost attempt cannot finish, even while its task waits"
    retry = claimed(engine, sweep, worker="other")
    assert retry.attempt == 2
    assert not finished(engine, late, score=0.1)
    assert not tasks.renew(engine, late, 60)
    assert not tasks.end(engine, late, Ending("failed", "error", "late"), cap=1)
    assert not tasks.end(engine, late, given_back())
    assert not tasks.save_point(engine, late, {})
    assert finished(engine, retry, score=0.9)
    assert not finished(engine, late, score=0.1)
    (task,) = queries.task_records(engine, sweep)
    assert (task.state, task.score, task.worker) == ("done", 0.9, "other")
    with read(engine) as connection:
        query = select(attempts.c.state).where(attempts.c.task_id == late.id).order_by(attempts.c.number)
        assert list(connection.scalars(query)) == ["lost", "done"]


@both
def test_a_lease_renewed_just_before_it_is_reaped_is_left_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = new_sweep(engine, number=2)
    woken, dead = claimed(engine, sweep), claimed(engine, sweep)
    lapse(engine, woken)
    lapse(engine, dead)

    @contextmanager
    def renew_first(engine: Engine) -> Iterator[Connection]:
        monkeypatch.setattr(tasks, "write", write)  # the renewal itself calls write
        tasks.renew(engine, woken, 60)
        with write(engine) as connection:
            yield connection

    monkeypatch.setattr(tasks, "write", renew_first)
    assert reap(engine, sweep, cap=None) == [(dead.key, 1, "w")]
    assert finished(engine, woken)


@both
def test_reaping_leaves_living_attempts_alone_and_fails_a_task_at_its_cap(engine: Engine) -> None:
    sweep = new_sweep(engine, number=2)
    claim, living = claimed(engine, sweep, worker="dead1"), claimed(engine, sweep, worker="living")
    for attempt in (1, 2):
        if attempt == 2:
            claim = claimed(engine, sweep, worker="dead2")
        lapse(engine, claim)
        assert reap(engine, sweep, cap=2) == [("search#0", attempt, f"dead{attempt}")]
    assert state_of(engine, sweep, claim) == "failed"
    failed = queries.task_records(engine, sweep, state="failed")[0]
    assert (failed.error_class, failed.reason) == ("lost worker", "lost worker dead2: its lease lapsed")
    assert finished(engine, living)
    assert states(engine, sweep) == {"search": "closed"}


def test_a_renewal_is_not_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with new_storage(f"sqlite:///{tmp_path}/x.db") as engine:
        claim = claimed(engine, new_sweep(engine))
        monkeypatch.setattr("storage.db.sqlite_file.BUSY_TIMEOUT_S", 0.05)
        impatient = open_engine(resolve(f"sqlite:///{tmp_path}/x.db"))
        with write(engine):
            began = time.monotonic()
            with pytest.raises(Unreachable, match="database is locked") as caught:
                tasks.renew(impatient, claim, 60)
            assert is_transient(caught.value)
            assert time.monotonic() - began < 2, "a renewal that retried would wait for up to a minute"
        assert tasks.renew(impatient, claim, 60)
        impatient.dispose()
