"""storage.queue.workers: pause, resume and cancel while workers are running."""

from collections import Counter
from collections.abc import Callable
from types import ModuleType

import pytest
from sqlalchemy import Engine

from storage.errors import RevisionRefused
from storage.queue import plans, tasks, workers
from storage.queue.tasks import Ending
from storage.records import queries
from tests.support.sweeps.storage_sweeps import claimed, extend, finished, new_sweep, overlap


def counts(engine: Engine, sweep: int) -> Counter[str]:
    return Counter(task.state for task in queries.task_records(engine, sweep))


def test_as_many_idle_workers_are_woken_as_tasks_can_start_and_all_when_nothing_is_left(engine: Engine) -> None:
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


def test_steering_a_sweep_leaves_the_others_alone(engine: Engine) -> None:
    sweep, other = new_sweep(engine, name="one"), new_sweep(engine, name="other")
    held = claimed(engine, other)
    assert workers.cancel(engine, sweep) == 3
    assert counts(engine, other) == {"waiting": 2, "running": 1}
    assert finished(engine, held)
    workers.pause(engine, other)
    workers.resume(engine, sweep)
    assert queries.outlook(engine, other).state == "paused"
    assert claimed(engine, sweep).attempt == 1


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


@pytest.mark.parametrize("storage", ["postgres"], indirect=True)  # SQLite has a single writer
@pytest.mark.parametrize(("first", "module", "second"), OVERLAPS, ids=lambda it: it.__name__.removeprefix("storage."))
def test_two_commands_at_once_leave_a_sweep_in_one_state(
    engine: Engine, first: Change, module: ModuleType, second: Change
) -> None:
    sweep = new_sweep(engine, {"search": ((), 1, 3), "confirm": (("search",), 1, 1)})
    failed(engine, sweep)
    claimed(engine, sweep)
    if first is workers.resume:
        workers.cancel(engine, sweep)
    overlap(module, lambda: first(engine, sweep), lambda: allowed(second, engine, sweep))
    state, numbers = queries.outlook(engine, sweep).state, counts(engine, sweep)
    if state == "cancelled":
        assert not numbers["waiting"] + numbers["running"], numbers
        assert not queries.running_tasks(engine, sweep)
    else:
        assert not numbers["cancelled"], numbers


def allowed(change: Change, engine: Engine, sweep: int) -> None:
    try:
        change(engine, sweep)
    except RevisionRefused:
        assert change in (extended, retried)
