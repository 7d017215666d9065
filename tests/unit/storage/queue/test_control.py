"""storage.queue.workers: pause, resume and cancel, on whatever is at work."""

from collections import Counter
from collections.abc import Callable
from types import ModuleType

import pytest
from sqlalchemy import Engine, select

from storage.db.transaction import read
from storage.errors import RevisionRefused
from storage.queue import plans, tasks, workers
from storage.queue.tasks import Ending, given_back, reap, reap_worker
from storage.records import queries
from storage.tables import attempts
from tests.support.sweeps.storage_sweeps import claimed, extend, finished, lapse, new_sweep, overlap, states


def idle(engine: Engine, sweep: int) -> bool:
    """Whether nothing can be claimed."""
    return tasks.claim(engine, sweep, worker="w", host="h", pid=1, lease_s=60) is None


def counts(engine: Engine, sweep: int) -> Counter[str]:
    return Counter(task.state for task in queries.task_records(engine, sweep))


def test_a_paused_sweep_gives_no_work_what_runs_ends_and_opens_what_follows_and_the_rest_waits(engine: Engine) -> None:
    sweep = new_sweep(engine, {"teachers": ((), 1, 1), "search": (("teachers",), 1, 1), "baselines": ((), 1, 2)})
    ending, failing, dying = (claimed(engine, sweep, worker=name) for name in ("w", "w", "dead"))
    workers.pause(engine, sweep)
    assert idle(engine, sweep)
    assert tasks.renew(engine, ending, 60)
    assert finished(engine, ending)
    assert states(engine, sweep) == {"teachers": "closed", "search": "open", "baselines": "open"}
    assert tasks.end(engine, failing, Ending("failed", "error", "a bug"), cap=2)
    assert reap_worker(engine, "dead", cap=None) == [(dying.key, 1, "dead")]
    assert idle(engine, sweep), "still paused"
    assert queries.outlook(engine, sweep) == queries.Outlook("paused", 3)
    assert workers.resume(engine, sweep) == 0
    assert [claimed(engine, sweep).key for _ in range(3)] == ["search#0", "baselines#0", "baselines#1"]


def test_as_many_idle_workers_are_woken_as_tasks_can_start_and_all_once_nothing_is_left(engine: Engine) -> None:
    sweep = new_sweep(engine, {"search": ((), 1, 3), "confirm": (("search",), 1, 1)})
    names = ["at work", "first", "second", "third"]
    for name in [*names, "gone"]:
        workers.sign_in(engine, sweep, name, host="h", pid=1, provenance={})
    workers.sign_out(engine, sweep, "gone", reason=None)
    first = claimed(engine, sweep, worker="at work")
    woken = [workers.to_wake(engine, sweep, most=9) for _ in range(20)]
    assert {len(each) for each in woken} == {2}
    assert {name for each in woken for name in each} == {"first", "second", "third"}
    assert len(workers.to_wake(engine, sweep, most=1)) == 1
    workers.pause(engine, sweep)
    assert workers.to_wake(engine, sweep, most=9) == []
    workers.resume(engine, sweep)
    second, third = (claimed(engine, sweep, worker=name) for name in ("first", "second"))
    assert workers.to_wake(engine, sweep, most=9) == [], "the last phase is not open yet"
    assert all(finished(engine, claim) for claim in (first, second, third))
    assert len(workers.to_wake(engine, sweep, most=9)) == 1
    assert finished(engine, claimed(engine, sweep, worker="third"))
    assert sorted(workers.to_wake(engine, sweep, most=1)) == names


def test_cancel_takes_back_what_waits_and_what_runs_and_resume_goes_on_with_that(engine: Engine) -> None:
    sweep = new_sweep(engine, {"search": ((), 1, 4), "confirm": (("search",), 1, 2)})
    assert finished(engine, claimed(engine, sweep))
    assert tasks.end(engine, claimed(engine, sweep), Ending("failed", "nan", "NaN"), cap=1)
    claim = claimed(engine, sweep, worker="at work")
    assert workers.cancel(engine, sweep) == 4
    assert counts(engine, sweep) == {"done": 1, "failed": 1, "cancelled": 4}
    assert states(engine, sweep) == {"search": "open", "confirm": "blocked"}, "as they were: resume goes on from here"
    assert queries.running_tasks(engine, sweep) == []
    assert idle(engine, sweep)
    assert workers.cancel(engine, sweep) == 0
    with read(engine) as connection:
        ended = connection.execute(
            select(attempts.c.state, attempts.c.error_class, attempts.c.reason).where(attempts.c.worker == "at work")
        ).one()
    assert tuple(ended) == ("released", None, "the sweep was cancelled")
    assert not tasks.renew(engine, claim, 60), "so its worker learns that it is to stop"
    workers.pause(engine, sweep)
    assert queries.outlook(engine, sweep) == queries.Outlook("cancelled", 0), "no pause brings it back"
    assert workers.resume(engine, sweep) == 4
    waiting = queries.task_records(engine, sweep, state="waiting")
    assert {(task.reason, task.finished_at) for task in waiting if task.attempt == 0} == {(None, None)}
    assert [claimed(engine, sweep).key for _ in waiting[:2]] == ["search#2", "search#3"]


def test_a_worker_of_a_cancelled_sweep_can_change_nothing_and_its_attempt_does_not_count(engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    late = claimed(engine, sweep)
    workers.cancel(engine, sweep)
    for again in (False, True):
        assert not tasks.save_point(engine, late, {})
        assert not tasks.renew(engine, late, 60)
        assert not finished(engine, late)
        assert not tasks.end(engine, late, Ending("failed", "error", "late"), cap=1)
        assert not tasks.end(engine, late, given_back())
        lapse(engine, late)
        assert reap(engine, sweep, cap=1) == []
        assert counts(engine, sweep) == {"waiting" if again else "cancelled": 1}
        assert workers.resume(engine, sweep) == (0 if again else 1)
    for _ in range(2):
        new = claimed(engine, sweep)
        assert not finished(engine, late)
        assert tasks.end(engine, new, Ending("failed", "error", "a bug"), cap=2)
    assert counts(engine, sweep) == {"failed": 1}


def test_a_sweep_is_steered_alone(engine: Engine) -> None:
    one, other = new_sweep(engine, name="one"), new_sweep(engine, name="other")
    held = claimed(engine, other)
    assert workers.cancel(engine, one) == 3
    assert counts(engine, other) == {"waiting": 2, "running": 1}
    assert finished(engine, held)
    workers.pause(engine, other)
    workers.resume(engine, one)
    assert queries.outlook(engine, other).state == "paused"
    assert claimed(engine, one).attempt == 1


def extended(engine: Engine, sweep: int) -> None:
    extend(engine, sweep, "search", revision=1, number=2)


def retried(engine: Engine, sweep: int) -> None:
    plans.retry(engine, sweep, revision=1)


def failed(engine: Engine, sweep: int) -> None:
    assert tasks.end(engine, claimed(engine, sweep), Ending("failed", "nan", "NaN"), cap=1)


Change = Callable[[Engine, int], object]
OVERLAPS = [
    (first, module, second)
    for first, module in ((extended, plans), (retried, plans), (workers.resume, workers), (workers.cancel, workers))
    for second in (workers.cancel, workers.resume, extended, retried)
    if first is not second
]


@pytest.mark.parametrize("storage", ["postgres"], indirect=True)  # on SQLite who writes is alone
@pytest.mark.parametrize(("first", "module", "second"), OVERLAPS, ids=lambda it: it.__name__.removeprefix("storage."))
def test_two_that_steer_at_once_leave_a_sweep_in_one_state(
    engine: Engine, first: Change, module: ModuleType, second: Change
) -> None:
    sweep = new_sweep(engine, {"search": ((), 1, 3), "confirm": (("search",), 1, 1)})
    failed(engine, sweep)
    claimed(engine, sweep)
    if first is workers.resume:
        workers.cancel(engine, sweep)
    overlap(module, lambda: first(engine, sweep), lambda: allowed(second, engine, sweep))
    state, found = queries.outlook(engine, sweep).state, counts(engine, sweep)
    if state == "cancelled":
        assert not found["waiting"] + found["running"], found
        assert not queries.running_tasks(engine, sweep)
    else:
        assert not found["cancelled"], found


def allowed(change: Change, engine: Engine, sweep: int) -> None:
    try:
        change(engine, sweep)
    except RevisionRefused:
        assert change in (extended, retried)
