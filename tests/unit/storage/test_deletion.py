"""storage.deletion: all of one sweep is deleted, nothing of another, also after a crash."""

import contextlib
import os
from typing import Any

import optuna
import pytest
import sqlalchemy
from sqlalchemy import Engine, func, select

from storage import tables
from storage.db.engine import open_engine
from storage.db.transaction import read, write
from storage.deletion import Deleted, delete_sweep
from storage.errors import SweepInUse, SweepNotFound
from storage.failpoints import POINTS, VARIABLE
from storage.queue import tasks, workers
from storage.queue.tasks import Ending
from storage.records import artifacts, queries
from storage.studies.studies import Studies, open_studies
from storage.tables import TaskRecord
from storage.url import resolve
from sweeps.hints import local
from sweeps.plan.audit import audit
from sweeps.plan.plan import make_plan
from sweeps.usecases.create import create_sweep
from tests.support.both_databases import both
from tests.support.sweeps.small_sweeps import FORK, SMALL, created
from tests.support.sweeps.storage_sweeps import claimed, finished, lapse, new_sweep

OF_SWEEP = (tables.phases, tables.tasks, tables.attempts, tables.selections, tables.revisions)


def a_sweep(storage: Studies, name: str) -> int:
    """Make a sweep of three search tasks with its study."""
    storage.create(name, metric="val_accuracy", attrs={"identity": name, "stage": "search"}, note=None)
    return new_sweep(storage.engine, name=name)


def done_with(engine: Engine, claim: TaskRecord, data: bytes) -> str:
    """Store bytes, then an outcome that names them; return their digest."""
    digest = artifacts.put(engine, data)
    assert tasks.finish(engine, claim, outcome={"blobs": {"model": digest}}, score=0.5)
    return digest


def delete(storage: Studies, name: str) -> Deleted:
    return delete_sweep(storage, storage.engine, queries.find_sweep(storage.engine, name))


def stored(engine: Engine) -> set[str]:
    with read(engine) as connection:
        return set(connection.scalars(select(tables.blobs.c.digest)))


def rows(engine: Engine) -> list[int]:
    """Count the rows that belong to a sweep, by table."""
    with read(engine) as connection:
        return [connection.scalar(select(func.count()).select_from(table)) or 0 for table in OF_SWEEP]


@both
def test_deleting_a_sweep_leaves_nothing_of_it_and_the_others_unchanged(storage: Studies, engine: Engine) -> None:
    kept = a_sweep(storage, "kept")
    assert finished(engine, claimed(engine, kept))
    held = claimed(engine, kept)
    before, tasks_before = rows(engine), queries.task_records(engine, kept)
    sweep = a_sweep(storage, "s")
    assert finished(engine, claimed(engine, sweep))
    claim = claimed(engine, sweep)
    assert tasks.end(engine, claim, Ending("failed", "nan", "NaN"), cap=1)
    assert delete(storage, "s") == Deleted(tasks=3, studies=1, blobs=0, bytes=0)
    with pytest.raises(SweepNotFound, match="sweeps there: kept"):
        queries.find_sweep(engine, "s")
    assert rows(engine) == before
    assert queries.task_records(engine, kept) == tasks_before
    assert finished(engine, held)


def test_studies_with_other_names_stay(storage: Studies) -> None:
    others = ("s2", "s2.confirm", "other", "s.mine", "S", "sweep.s")
    for name in others:
        optuna.create_study(study_name=name, storage=storage.storage)
    a_sweep(storage, "s")
    assert delete(storage, "s").studies == 1
    assert sorted(storage.names()) == sorted(others)


@both
def test_a_sweep_with_running_workers_is_not_deleted(storage: Studies, engine: Engine) -> None:
    sweep = a_sweep(storage, "s")
    claim = claimed(engine, sweep, worker="busy", lease_s=60)
    before = rows(engine)
    with pytest.raises(SweepInUse, match=r"s is in use \(busy has search#0, lease (60|59) s\)") as caught:
        delete(storage, "s")
    assert [(step.action, step.sweep) for step in caught.value.next_steps] == [("cancel", "s")]
    assert "\n" not in str(caught.value)
    assert rows(engine) == before
    assert storage.names() == ["s"]
    assert queries.outlook(engine, sweep) == queries.Outlook("active", 3), "a refused deletion does not cancel it"
    assert finished(engine, claim)
    assert delete(storage, "s").tasks == 3


@pytest.mark.parametrize("how", ["lapsed", "cancelled"])
def test_a_sweep_with_a_lapsed_lease_or_without_its_study_can_be_deleted(
    storage: Studies, engine: Engine, how: str
) -> None:
    sweep = a_sweep(storage, "s")
    late = claimed(engine, sweep)
    if how == "lapsed":
        lapse(engine, late)
    else:
        workers.cancel(engine, sweep)
        optuna.delete_study(study_name="s", storage=storage.storage)
    assert delete(storage, "s") == Deleted(tasks=3, studies=how == "lapsed", blobs=0, bytes=0)
    assert not tasks.renew(engine, late, 60)
    assert not finished(engine, late), "its worker can no longer finish"
    assert rows(engine) == [0] * len(OF_SWEEP)


@both
def test_blobs_of_other_sweeps_stay_and_all_others_are_deleted(storage: Studies, engine: Engine) -> None:
    sweep, other = a_sweep(storage, "one"), a_sweep(storage, "other")
    shared = done_with(engine, claimed(engine, sweep), b"the same teacher")
    assert done_with(engine, claimed(engine, other), b"the same teacher") == shared
    done_with(engine, claimed(engine, sweep), b"mine")
    theirs = done_with(engine, claimed(engine, other), b"theirs")
    artifacts.put(engine, b"of an attempt that was killed before it finished")
    assert delete(storage, "one") == Deleted(tasks=3, studies=1, blobs=2, bytes=52)
    assert stored(engine) == {shared, theirs}
    assert artifacts.get(engine, shared) == b"the same teacher"
    assert delete(storage, "other") == Deleted(tasks=3, studies=1, blobs=2, bytes=22)
    assert stored(engine) == set()


@both
def test_blobs_that_a_running_task_has_stored_stay(storage: Studies, engine: Engine) -> None:
    sweep, other = a_sweep(storage, "one"), a_sweep(storage, "other")
    repeated = done_with(engine, claimed(engine, sweep), b"stored before, and once more")
    done_with(engine, claimed(engine, sweep), b"old")
    at_work = claimed(engine, other)
    young = artifacts.put(engine, b"its outcome will name it")
    artifacts.put(engine, b"stored before, and once more")
    assert delete(storage, "one").blobs == 1
    assert stored(engine) == {young, repeated}
    assert tasks.finish(engine, at_work, outcome={"blobs": {"logits": young, "model": repeated}}, score=0.5)
    assert artifacts.get(engine, young) == b"its outcome will name it"


# On SQLite no other connection can write during a deletion.
@pytest.mark.parametrize("storage", ["postgres"], indirect=True)
@pytest.mark.parametrize(
    "before", ["min(attempts.started_at)", "SELECT tasks.outcome", "SELECT blobs.digest", "DELETE FROM blobs"]
)
def test_a_task_that_ends_during_a_deletion_keeps_its_blobs(storage: Studies, engine: Engine, before: str) -> None:
    sweep, other = a_sweep(storage, "one"), a_sweep(storage, "other")
    done_with(engine, claimed(engine, sweep), b"goes")
    at_work, kept = claimed(engine, other), artifacts.put(engine, b"named at the last moment")
    elsewhere = open_engine(engine.url)
    statements = []

    def finish_first(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if before in statement and not statements:
            statements.append(statement)
            assert tasks.finish(elsewhere, at_work, outcome={"blobs": {"model": kept}}, score=0.5)

    sqlalchemy.event.listen(engine, "before_cursor_execute", finish_first)
    try:
        assert delete(storage, "one").blobs == 1
    finally:
        sqlalchemy.event.remove(engine, "before_cursor_execute", finish_first)
        elsewhere.dispose()
    assert statements
    assert stored(engine) == {kept}


def test_blobs_named_by_an_unreadable_outcome_stay(storage: Studies, engine: Engine) -> None:
    sweep, other = a_sweep(storage, "one"), a_sweep(storage, "other")
    digest = done_with(engine, claimed(engine, other), b"a teacher")
    with write(engine) as connection:
        connection.exec_driver_sql(
            f'UPDATE tasks SET outcome = \'{{"blobs": {{"model": "{digest}", \' WHERE state = \'done\''
        )
    workers.cancel(engine, sweep)
    assert delete(storage, "one").blobs == 0
    assert artifacts.get(engine, digest) == b"a teacher"


def delete_and_crash(url: str, point: str) -> None:
    os.environ[VARIABLE] = point
    with contextlib.closing(open_studies(resolve(url))) as storage:
        delete(storage, "s")


@pytest.mark.processes
@pytest.mark.slow_on("postgres")
def test_a_deletion_killed_at_any_point_is_completed_by_the_next(storage_url: str) -> None:
    url = created(storage_url, name="other")
    plan = make_plan(SMALL)
    whole, stages = plan.tasks, plan.stages
    for point in POINTS["delete"]:
        assert create_sweep(url, "s", SMALL).new
        doomed = FORK.Process(target=delete_and_crash, args=(storage_url, point))
        doomed.start()
        doomed.join(60)
        assert doomed.exitcode == -9
        with contextlib.closing(open_studies(url)) as storage:
            remaining = [name for name in storage.names() if name.split(".")[0] == "s"]
            assert len(remaining) == (len(stages) if point == "delete-cancelled" else 0)
            half = queries.find_sweep(storage.engine, "s")
            assert half.state == "cancelled", "otherwise a worker would resume it"
            lines = [local().after(line.text, line.next_steps) for line in audit(storage.engine, half).violations]
            assert len(lines) == len(stages) - len(remaining), "the audit names the interrupted deletion"
            for line in lines:
                assert "missing and the sweep is cancelled: its deletion was interrupted; to complete it, type:" in line
                assert "kd-sweeps delete s" in line
            if point == "delete-studies":
                assert not create_sweep(url, "s", SMALL).new, "the cancelled sweep exists; its studies are recreated"
                remaining = list(stages)
            assert delete(storage, "s") == Deleted(tasks=len(whole), studies=len(remaining), blobs=0, bytes=0)
            (other,) = queries.list_sweeps(storage.engine)
            assert [name.split(".")[0] for name in storage.names()] == ["other"] * len(stages)
            report = audit(storage.engine, other)
            assert (report.violations, report.warnings, report.accounted) == ([], [], len(whole))
