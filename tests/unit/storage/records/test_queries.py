"""storage.records: reads, errors of reads, blobs and selections."""

import hashlib

import pytest
import sqlalchemy
from sqlalchemy import Engine, func, select, update

from storage import tables
from storage.db.engine import open_engine
from storage.db.transaction import is_transient, read, write
from storage.errors import NotAStorage, SweepNotFound
from storage.queue import tasks
from storage.queue.tasks import Ending
from storage.records import artifacts, queries
from storage.tables import blobs as table
from storage.url import resolve
from sweeps.hints import explain
from tests.support.both_databases import both
from tests.support.sweeps.storage_sweeps import Needs, claimed, finished, new_storage, new_sweep


def test_the_error_for_an_unknown_sweep_lists_the_existing_ones_and_the_next_command(engine: Engine) -> None:
    with pytest.raises(SweepNotFound, match=r"no sweep 'x' .* sweeps there: none yet$") as caught:
        queries.find_sweep(engine, "x")
    assert explain(caught.value).endswith("none yet; create it with: kd-sweeps create x")
    new_sweep(engine, name="one")
    new_sweep(engine, name="two")
    with pytest.raises(SweepNotFound, match="sweeps there: one, two"):
        queries.find_sweep(engine, "x")
    assert [sweep.name for sweep in queries.list_sweeps(engine)] == ["one", "two"]


@both
def test_the_progress_of_a_sweep_differs_after_each_change_and_only_then(engine: Engine) -> None:
    sweep = new_sweep(engine, {"a": ((), 1, 2)})
    other = new_sweep(engine, name="other")
    states = [queries.progress(engine, sweep)]

    def is_new() -> bool:
        states.append(queries.progress(engine, sweep))
        return states[-1] not in states[:-1]

    first = claimed(engine, sweep)
    assert is_new()
    assert tasks.end(engine, first, Ending("failed", "error", "why"), cap=2)
    assert is_new(), "the task waits again"
    retry = claimed(engine, sweep)
    assert is_new()
    assert tasks.renew(engine, retry, 60.0)
    finished(engine, claimed(engine, other))
    assert not is_new(), "a renewal and another sweep change no report"
    for claim in (retry, claimed(engine, sweep)):
        finished(engine, claim)
        assert is_new()


@both
def test_tasks_are_filtered_by_stage_phase_and_state(engine: Engine) -> None:
    sweep = new_sweep(engine, {"teachers:a": ((), 1, 1), "teachers:b": ((), 1, 1), "search": ((), 1, 1)})
    finished(engine, claimed(engine, sweep))

    def keys(**wanted: str) -> list[str]:
        return [task.key for task in queries.task_records(engine, sweep, **wanted)]

    assert keys() == ["teachers:a#0", "teachers:b#0", "search#0"]
    assert keys(stage="teachers") == ["teachers:a#0", "teachers:b#0"]
    assert keys(phase="teachers:b") == ["teachers:b#0"]
    assert keys(state="done") == ["teachers:a#0"]
    assert keys(stage="teachers", state="waiting") == ["teachers:b#0"]


@both
def test_the_durations_of_a_stage_are_those_of_its_done_tasks_in_this_sweep_the_latest_first(engine: Engine) -> None:
    phases: Needs = {"teachers:a": ((), 1, 2), "teachers:b": ((), 1, 1), "search": ((), 1, 1)}
    sweep, other = new_sweep(engine, phases), new_sweep(engine, {"teachers:a": ((), 1, 1)}, name="other")
    for id in (other, *4 * [sweep]):
        finished(engine, claimed(engine, id))
    took = {"teachers:a#0": 1.0, "teachers:a#1": 2.0, "teachers:b#0": 3.0}
    rows = tables.tasks
    with write(engine) as connection:
        for key, seconds in took.items():
            changed = update(rows).where(rows.c.sweep_id == sweep, rows.c.key == key)
            connection.execute(changed.values(started_at=10.0, finished_at=10.0 + seconds))
        connection.execute(update(rows).where(rows.c.key == "teachers:a#1").values(state="failed"))
    assert queries.durations(engine, sweep, "teachers") == [3.0, 1.0]
    assert len(queries.durations(engine, sweep, "search")) == len(queries.durations(engine, other, "teachers")) == 1


@both
def test_programming_errors_are_not_retried_and_a_missing_table_gives_a_one_line_error(engine: Engine) -> None:
    with read(engine) as connection, pytest.raises(sqlalchemy.exc.DBAPIError) as mistake:
        connection.exec_driver_sql("SELEKT 1")
    assert not is_transient(mistake.value)
    with pytest.raises(NotAStorage, match=r"lacks a table .*no_table"), read(engine) as connection:
        connection.exec_driver_sql("SELECT * FROM no_table")


def test_a_read_only_role_can_read_everything_and_claim_nothing(postgres_url: str) -> None:
    with new_storage(postgres_url) as owner:
        sweep = new_sweep(owner)
        with write(owner) as connection:
            connection.exec_driver_sql("CREATE ROLE viewer LOGIN")
            connection.exec_driver_sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO viewer")
        viewer = open_engine(resolve(postgres_url).set(username="viewer"), read_only=True)
        assert [task.state for task in queries.task_records(viewer, sweep)] == ["waiting"] * 3
        with pytest.raises(Exception, match="read-only"):
            tasks.claim(viewer, sweep, worker="w", host="h", pid=1, lease_s=1)
        viewer.dispose()
        with write(owner) as connection:
            connection.exec_driver_sql("DROP OWNED BY viewer")
            connection.exec_driver_sql("DROP ROLE viewer")


DATA = bytes(range(256)) * 10


@both
def test_blobs_are_stored_under_their_hash_and_equal_ones_once(engine: Engine) -> None:
    for data in (DATA, b"", b"\0", DATA):
        digest = artifacts.put(engine, data)
        assert digest == hashlib.sha256(data).hexdigest()
        assert artifacts.get(engine, digest) == data
    with read(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(table)) == 3


@both
def test_a_frozen_selection_is_never_replaced(engine: Engine) -> None:
    sweep, other = new_sweep(engine, name="one"), new_sweep(engine, name="other")
    assert artifacts.get_selection(engine, sweep, "confirm") is None
    assert artifacts.freeze_selection(engine, sweep, "confirm", {"best": 1}) == {"best": 1}
    assert artifacts.freeze_selection(engine, sweep, "confirm", {"best": 2}) == {"best": 1}
    assert artifacts.get_selection(engine, sweep, "confirm") == {"best": 1}
    assert queries.selections(engine, sweep) == {"confirm": {"best": 1}}
    assert queries.selections(engine, other) == {}
