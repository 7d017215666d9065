"""A real worker dies as by kill -9 between any two of its steps; nothing is lost or doubled."""

from collections import Counter

import pytest

from storage.failpoints import POINTS
from storage.records import queries
from sweeps.plan.plan import RECIPE_SEEDS, make_plan
from sweeps.query.listing import open_sweep
from sweeps.spec.model import override
from tests.support.present import present
from tests.support.sweeps.archived_sweeps import records
from tests.support.sweeps.audit_checks import audited
from tests.support.sweeps.small_sweeps import SMALL, created, draw, start_worker

OWN = override(SMALL, {"transfer.target_arms": ["best", "scratch-own", "native"]})


@pytest.mark.parametrize("point", POINTS["worker"])
@pytest.mark.slow_on("postgres")
def test_a_worker_killed_at_any_point_loses_nothing_and_doubles_nothing(storage_url: str, point: str) -> None:
    url = created(storage_url)
    # At the third task, so that there is something to lose.
    doomed = start_worker(storage_url, crash_at=f"{point}:3")
    doomed.join(60)
    assert doomed.exitcode == -9
    done_before = {key: task.score for key, task in records(url).items() if task.state == "done"}
    survivor = start_worker(storage_url)
    survivor.join(60)
    assert survivor.exitcode == 0
    tasks = records(url)
    assert {task.state for task in tasks.values()} == {"done"}
    assert done_before == {key: tasks[key].score for key in done_before}, "a result changed"
    # The current task has a second attempt, unless it was done when its worker died.
    stored = POINTS["worker"].index(point) >= POINTS["worker"].index("finished")
    assert Counter(task.attempt for task in tasks.values()) == (
        {1: len(tasks)} if stored else {1: len(tasks) - 1, 2: 1}
    )
    assert draw(url) == sum(task.attempt for task in tasks.values())
    books = audited(storage_url)
    assert (books.violations, books.warnings, books.notes) == ([], [], [])


@pytest.mark.parametrize("point", ["saved", "ran", "finished"])
def test_a_worker_killed_while_recipes_are_tried_does_not_change_the_choice_or_its_trainings(
    storage_url: str, point: str
) -> None:
    url = created(storage_url, OWN)
    doomed = start_worker(storage_url, crash_at=f"{point}:{_before_recipes() + 3}")
    doomed.join(60)
    assert doomed.exitcode == -9
    tried = [task for task in records(url).values() if task.stage == "recipes"]
    assert 0 < sum(task.state == "done" for task in tried) < len(tried) == RECIPE_SEEDS * len(OWN.candidates("target"))
    workers = [start_worker(storage_url) for _ in range(2)]
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    tasks = records(url)
    assert {task.state for task in tasks.values()} == {"done"}
    # All recipes have the same T and alpha, so the same score here: the first one wins, which is that of the spec.
    with open_sweep(url, "s") as (engine, sweep):
        chosen = queries.selections(engine, sweep.id)["recipes.best:target"]
    params = present(tasks["transfer#target.scratch-own.0"].params)
    assert chosen["rank"] == 0
    assert chosen["more"] == {name: params[name] for name in ("learning_rate", "schedule")}
    books = audited(storage_url)
    assert (books.violations, books.warnings) == ([], [])


def _before_recipes() -> int:
    """Return how many tasks one worker does before the first recipe: all that do not wait for recipes."""
    after = ("recipes", "transfer", "measure")
    return sum(not task.phase.startswith(after) for task in make_plan(OWN).tasks)
