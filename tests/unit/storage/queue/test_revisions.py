"""storage.queue.plans: adding tasks to a running plan, and retrying failed ones."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import sqlalchemy
from sqlalchemy import Connection, Engine, select

from storage.db import transaction
from storage.db.transaction import read, write
from storage.errors import RevisionRefused, SpecConflict, Unreachable
from storage.queue import plans, tasks, workers
from storage.queue.phases import parse_dependencies
from storage.queue.plans import PhasePlan, TaskPlan, insert_sweep
from storage.queue.tasks import Ending
from storage.records import queries
from storage.tables import attempts
from sweeps.hints import explain
from tests.support.both_databases import both
from tests.support.sweeps.storage_sweeps import Needs, claimed, finished, new_sweep, overlap, states


def extend(
    engine: Engine,
    sweep: int,
    phases: Sequence[str],
    *,
    revision: int = 1,
    while_open: Sequence[str] = (),
    new: Sequence[PhasePlan] = (),
) -> None:
    """Add a task to each of the phases, planned on `revision`, and the `new` phases."""
    plans.extend(
        engine,
        sweep,
        revision=revision,
        spec={"v": revision + 1},
        fingerprint=f"f{revision + 1}",
        why="more",
        tasks=[TaskPlan(key=f"{phase}#more{revision}", phase=phase) for phase in phases],
        phases=new,
        while_open=while_open,
    )


def ended(engine: Engine, sweep: int, *, well: bool = True) -> str:
    """Claim a task and end it; return its key."""
    claim = claimed(engine, sweep)
    if well:
        assert finished(engine, claim)
    else:
        assert tasks.end(engine, claim, Ending("failed", "nan", "NaN"), cap=1)
    return claim.key


def work(engine: Engine, sweep: int) -> list[str]:
    """Claim and finish every ready task; return the keys."""
    keys = []
    while claim := tasks.claim(engine, sweep, worker="w", host="h", pid=1, lease_s=60):
        assert finished(engine, claim)
        keys.append(claim.key)
    return keys


def planned(engine: Engine, sweep: int) -> Counter[str]:
    """Return the number of tasks by phase, which the revisions must confirm."""
    counted = Counter[str]()
    for revision in queries.revisions(engine, sweep):
        counted.update(revision.planned)
    assert counted == Counter(task.phase for task in queries.task_records(engine, sweep))
    return counted


@both
def test_an_extension_adds_tasks_and_is_stored_as_a_revision(engine: Engine) -> None:
    sweep = new_sweep(engine, {"search": ((), 1, 2), "confirm": (("search",), 1, 1)})
    extend(engine, sweep, ["search", "confirm"], while_open=["search"])
    assert planned(engine, sweep) == {"search": 3, "confirm": 2}
    changed = queries.find_sweep(engine, "s")
    assert (changed.revision, changed.spec, changed.fingerprint) == (2, {"v": 2}, "f2")
    first, second = queries.revisions(engine, sweep)
    assert [(it.number, it.spec, it.planned, it.why) for it in (first, second)] == [
        (1, {"name": "s"}, {"search": 2, "confirm": 1}, "created"),
        (2, {"v": 2}, {"search": 1, "confirm": 1}, "more"),
    ]
    assert second.created_at >= first.created_at
    keys = ["search#0", "search#1", "search#more1", "confirm#0", "confirm#more1"]
    assert [task.key for task in queries.task_records(engine, sweep)] == keys
    assert work(engine, sweep) == keys

    def create(fingerprint: str) -> bool:
        return insert_sweep(
            engine, name="s", identity="s", spec={}, fingerprint=fingerprint, provenance={}, phases=[], tasks=[]
        )

    assert not create("f"), "the spec at creation"
    assert not create("f2"), "the spec after the extension"
    with pytest.raises(SpecConflict):
        create("f3")


def test_a_phase_whose_result_is_in_use_takes_tasks_only_while_it_is_open(engine: Engine) -> None:
    sweep = new_sweep(engine, {"search": ((), 1, 1), "confirm": (("search",), 1, 1)})
    extend(engine, sweep, ["search"], while_open=["search"])
    work(engine, sweep)
    with pytest.raises(RevisionRefused, match="search of s has closed, and its result is in use") as no:
        extend(engine, sweep, ["confirm", "search"], revision=2, while_open=["search"])
    assert "\n" not in str(no.value)
    assert planned(engine, sweep) == {"search": 2, "confirm": 1}
    assert states(engine, sweep) == {"search": "closed", "confirm": "closed"}, "a refused extension changes nothing"
    assert queries.find_sweep(engine, "s").revision == 2


def test_a_failed_or_cancelled_sweep_refuses_an_extension_until_it_is_retried_or_resumed(engine: Engine) -> None:
    sweep = new_sweep(engine, {"search": ((), 1, 1), "confirm": (("search",), 1, 1)})
    ended(engine, sweep, well=False)
    for name, reason in (("search", "search failed"), ("confirm", "confirm was skipped")):
        with pytest.raises(RevisionRefused, match=rf"{reason} \(.*\)$") as caught:
            extend(engine, sweep, [name])
        assert explain(caught.value).endswith("); first type: kd-sweeps retry s")
    with pytest.raises(RevisionRefused, match="type the command again"):
        plans.retry(engine, sweep, revision=0)
    workers.cancel(engine, sweep)
    for change in (lambda: extend(engine, sweep, ["search"]), lambda: plans.retry(engine, sweep, revision=1)):
        with pytest.raises(RevisionRefused, match=r"s is cancelled$") as caught:
            change()
        assert explain(caught.value).endswith("s is cancelled; first type: kd-sweeps resume s")
    workers.resume(engine, sweep)
    assert plans.retry(engine, sweep, revision=1) == ["search#0", "confirm#0"]
    assert planned(engine, sweep) == {"search": 1, "confirm": 1}


@both
def test_an_extension_whose_commit_gets_no_answer_is_applied_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = new_sweep(engine)
    cut = []

    @contextmanager
    def write_and_lose_the_answer(engine: Engine) -> Iterator[Connection]:
        with transaction.write(engine) as connection:
            yield connection
        if not cut:
            cut.append(True)
            raise Unreachable("cut") from sqlalchemy.exc.OperationalError(
                "COMMIT", None, ConnectionError(), connection_invalidated=True
            )

    monkeypatch.setattr(plans, "write", write_and_lose_the_answer)
    extend(engine, sweep, ["search", "confirm"], new=[phase("confirm", "search")])
    assert cut
    assert planned(engine, sweep) == {"search": 4, "confirm": 1}
    assert states(engine, sweep) == {"search": "open", "confirm": "blocked"}
    assert queries.find_sweep(engine, "s").revision == 2


def phase(name: str, *needs: str, minimum: int = 1) -> PhasePlan:
    return PhasePlan(name=name, stage=name.split("@")[0], needs=tuple(parse_dependencies(needs)), minimum=minimum)


AGAIN = [phase("search@2", "teachers"), phase("confirm@2", "search@2")]
BASIC: Needs = {"teachers": ((), 1, 1), "search": (("teachers",), 1, 1), "measure": (("search?",), 1, 1)}


def test_new_phases_of_a_finished_sweep_come_last_and_open_one_after_the_other(engine: Engine) -> None:
    sweep = new_sweep(engine, BASIC)
    work(engine, sweep)
    extend(engine, sweep, ["search@2", "confirm@2"], new=AGAIN)
    assert list(states(engine, sweep)) == [*BASIC, "search@2", "confirm@2"]
    assert list(states(engine, sweep).values()) == ["closed", "closed", "closed", "open", "blocked"]
    assert [task.stage for task in queries.task_records(engine, sweep, state="waiting")] == ["search", "confirm"]
    assert work(engine, sweep) == ["search@2#more1", "confirm@2#more1"]
    assert set(states(engine, sweep).values()) == {"closed"}
    assert planned(engine, sweep)["confirm@2"] == 1
    extend(engine, sweep, ["search@3", "search@2"], revision=2, new=[phase("search@3", "confirm@2")])
    assert list(states(engine, sweep))[-2:] == ["confirm@2", "search@3"], "later phases come after earlier ones"
    assert sorted(work(engine, sweep)) == ["search@2#more2", "search@3#more2"]


def test_a_new_phase_after_a_failed_one_is_skipped_until_a_retry(engine: Engine) -> None:
    sweep = new_sweep(engine, BASIC)
    ended(engine, sweep, well=False)
    extend(engine, sweep, ["search@2", "confirm@2"], new=AGAIN)
    assert [states(engine, sweep)[name] for name in ("search@2", "confirm@2")] == ["skipped", "skipped"]
    reasons = {task.key: task.reason for task in queries.task_records(engine, sweep, state="skipped")}
    assert reasons["search@2#more1"] == "needs teachers, which failed (0 of 1 done, 1 needed; teachers#0: NaN)"
    keys = plans.retry(engine, sweep, revision=2)
    assert {"teachers#0", "search@2#more1", "confirm@2#more1"} <= set(keys)
    assert {"search@2#more1", "confirm@2#more1"} <= set(work(engine, sweep))
    assert set(states(engine, sweep).values()) == {"closed"}


@pytest.mark.parametrize("new", [AGAIN, [*AGAIN, AGAIN[0]], [phase("search@2", "nowhere"), AGAIN[1]]])
def test_new_phases_of_a_refused_extension_are_not_kept(engine: Engine, new: list[PhasePlan]) -> None:
    sweep = new_sweep(engine, BASIC)
    work(engine, sweep)
    before = queries.phase_records(engine, sweep)
    with pytest.raises((RevisionRefused, ValueError), match=r"changed at the same time|planned twice|no earlier phase"):
        extend(engine, sweep, ["search@2", "confirm@2"], new=new, revision=7 if new == AGAIN else 1)
    assert queries.phase_records(engine, sweep) == before
    assert planned(engine, sweep) == {"teachers": 1, "search": 1, "measure": 1}
    extend(engine, sweep, ["search@2", "confirm@2"], new=AGAIN)
    assert work(engine, sweep) == ["search@2#more1", "confirm@2#more1"]


@both
def test_new_phases_added_at_the_moment_their_need_ends_open(engine: Engine) -> None:
    sweep = new_sweep(engine, BASIC)
    last = claimed(engine, sweep)
    overlap(tasks, lambda: finished(engine, last), lambda: extend(engine, sweep, ["search@2", "confirm@2"], new=AGAIN))
    assert states(engine, sweep)["search@2"] == "open"
    assert {"search@2#more1", "confirm@2#more1"} <= set(work(engine, sweep))
    assert set(states(engine, sweep).values()) == {"closed"}


@both
def test_a_retry_at_the_moment_a_phase_fails_includes_the_tasks_skipped_then(engine: Engine) -> None:
    sweep = new_sweep(engine, {"search": ((), 2, 2), "confirm": (("search",), 1, 2)})
    ended(engine, sweep, well=False)
    last = claimed(engine, sweep)
    overlap(
        tasks,
        lambda: tasks.end(engine, last, Ending("failed", "nan", "NaN"), cap=1),
        lambda: plans.retry(engine, sweep, revision=1),
    )
    assert states(engine, sweep) == {"search": "open", "confirm": "blocked"}
    assert {task.state for task in queries.task_records(engine, sweep)} == {"waiting"}


@both
def test_a_done_task_runs_again_only_if_its_outcome_cannot_be_read(engine: Engine) -> None:
    sweep = new_sweep(engine, {"search": ((), 2, 3), "confirm": (("search",), 1, 1)})
    assert ended(engine, sweep) == "search#0"
    late = claimed(engine, sweep)
    assert finished(engine, late)
    keys = ["search#0", late.key, *work(engine, sweep)]
    with write(engine) as connection:
        connection.exec_driver_sql("UPDATE tasks SET outcome = '{\"score\": 0.' WHERE key = 'search#1'")
    assert plans.retry(engine, sweep, revision=1) == ["search#1"]
    assert states(engine, sweep) == {"search": "open", "confirm": "closed"}
    assert Counter(task.state for task in queries.task_records(engine, sweep)) == {"done": len(keys) - 1, "waiting": 1}
    with read(engine) as connection:
        rows = connection.execute(
            select(attempts.c.state, attempts.c.error_class).where(attempts.c.state != "done")
        ).all()
    assert [tuple(row) for row in rows] == [("failed", "unreadable")]
    assert not finished(engine, late), "a repeated finish of the old attempt is refused"
    retry = claimed(engine, sweep)
    assert (retry.key, retry.attempt) == ("search#1", 2)
    assert finished(engine, retry)
    (task,) = [task for task in queries.task_records(engine, sweep) if task.key == "search#1"]
    assert json.dumps(task.outcome) == '{"score": 0.5}'
    assert set(states(engine, sweep).values()) == {"closed"}
