"""storage.records.queries and storage.db.transaction: what is read back, and which faults pass by themselves."""

import hashlib
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import Engine, func, select

from storage.db.engine import open_engine
from storage.db.transaction import is_transient, read, retry_transient, write
from storage.errors import RecordBroken, SweepNotFound, Unreachable
from storage.queue import tasks
from storage.records import artifacts, queries
from storage.records.artifacts import freeze_selection
from storage.tables import blobs as table
from storage.tables import sweeps
from storage.url import resolve
from sweeps.hints import explain
from tests.support.sweeps.storage_sweeps import claimed, finished, new_storage, new_sweep


def test_an_unknown_sweep_is_answered_with_those_that_exist_and_what_to_type(engine: Engine) -> None:
    with pytest.raises(SweepNotFound, match=r"no sweep 'x' .* sweeps there: none yet$") as caught:
        queries.find_sweep(engine, "x")
    assert explain(caught.value).endswith("none yet; make it with: kd-sweeps create x")
    new_sweep(engine, name="one")
    new_sweep(engine, name="two")
    with pytest.raises(SweepNotFound, match="sweeps there: one, two"):
        queries.find_sweep(engine, "x")
    assert [sweep.name for sweep in queries.list_sweeps(engine)] == ["one", "two"]


def test_a_sweep_comes_back_as_it_was_written(engine: Engine) -> None:
    new_sweep(engine, name="one")
    sweep = queries.find_sweep(engine, "one")
    assert (sweep.name, sweep.spec, sweep.state, sweep.revision) == ("one", {"name": "one"}, "active", 1)


def test_phases_come_in_plan_order_with_their_tasks_counted(engine: Engine) -> None:
    sweep = new_sweep(engine, {"b": ((), 2, 3), "a": (("b",), 1, 2), "c": (("a?",), 0, 0)})
    finished(engine, claimed(engine, sweep))
    claimed(engine, sweep)
    found = queries.phase_records(engine, sweep)
    assert [(phase.name, phase.needs, phase.minimum) for phase in found] == [
        ("b", (), 2),
        ("a", ("b",), 1),
        ("c", ("a?",), 0),
    ]
    assert [phase.counts for phase in found] == [{"done": 1, "running": 1, "waiting": 1}, {"waiting": 2}, {}]
    assert [phase.total for phase in found] == [3, 2, 0]


def test_tasks_can_be_asked_for_by_stage_phase_and_state(engine: Engine) -> None:
    sweep = new_sweep(engine, {"teachers:a": ((), 1, 1), "teachers:b": ((), 1, 1), "search": ((), 1, 1)})
    finished(engine, claimed(engine, sweep))

    def keys(**wanted: str) -> list[str]:
        return [task.key for task in queries.task_records(engine, sweep, **wanted)]

    assert keys() == ["teachers:a#0", "teachers:b#0", "search#0"]
    assert keys(stage="teachers") == ["teachers:a#0", "teachers:b#0"]
    assert keys(phase="teachers:b") == ["teachers:b#0"]
    assert keys(state="done") == ["teachers:a#0"]
    assert keys(stage="teachers", state="waiting") == ["teachers:b#0"]


def test_an_outlook_counts_what_is_left_and_notices_a_deletion(engine: Engine) -> None:
    sweep = new_sweep(engine, {"search": ((), 1, 2), "confirm": (("search",), 1, 1)})
    assert queries.outlook(engine, sweep) == queries.Outlook("active", 3)
    finished(engine, claimed(engine, sweep))
    claimed(engine, sweep)
    assert queries.outlook(engine, sweep) == queries.Outlook("active", 2)
    with write(engine) as connection:
        connection.execute(sweeps.delete())
    assert queries.outlook(engine, sweep) == queries.Outlook("deleted", 0)


def test_a_connection_cut_inside_a_transaction_is_tried_again_and_written_once(postgres_url: str) -> None:
    with new_storage(postgres_url) as engine:
        tries = 0

        @retry_transient()
        def rename() -> None:
            nonlocal tries
            tries += 1
            with write(engine) as connection:
                connection.execute(sweeps.update().values(revision=sweeps.c.revision + 1))
                if tries == 1:
                    own = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
                    with read(engine) as other:
                        other.exec_driver_sql(f"SELECT pg_terminate_backend({own})")
                connection.execute(select(sweeps.c.id))

        sweep = new_sweep(engine)
        rename()
        assert tries == 2
        assert queries.find_sweep(engine, "s").revision == 2
        assert claimed(engine, sweep).key == "search#0"


def test_a_row_locked_too_long_is_a_transient_fault(postgres_url: str) -> None:
    def update_impatiently(engine: Engine) -> None:
        with write(engine) as connection:
            connection.exec_driver_sql("SET lock_timeout = '50ms'")
            connection.execute(sweeps.update().values(revision=6))

    with new_storage(postgres_url) as engine:
        new_sweep(engine)
        with write(engine) as holder:
            holder.execute(sweeps.update().values(revision=5))
            with pytest.raises(Unreachable, match="lock timeout") as caught:
                update_impatiently(engine)
        assert is_transient(caught.value)


def test_a_locked_sqlite_file_is_a_transient_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with new_storage(f"sqlite:///{tmp_path}/x.db") as engine:
        monkeypatch.setattr("storage.db.sqlite_file.BUSY_TIMEOUT_S", 0.05)
        impatient = open_engine(resolve(f"sqlite:///{tmp_path}/x.db"))
        with write(engine), pytest.raises(Unreachable, match="database is locked") as caught:
            freeze_selection.__wrapped__(impatient, 1, "x", {})  # type: ignore[attr-defined]
        assert is_transient(caught.value)
        impatient.dispose()


def test_mistakes_of_ours_are_not_tried_again(postgres_url: str) -> None:
    with new_storage(postgres_url) as engine:
        with read(engine) as connection, pytest.raises(sqlalchemy.exc.ProgrammingError) as mistake:
            connection.exec_driver_sql("SELEKT 1")
        assert not is_transient(mistake.value)


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


def test_bytes_come_back_under_the_name_of_their_hash(engine: Engine) -> None:
    for data in (DATA, b"", b"\0"):
        digest = artifacts.put(engine, data)
        assert digest == hashlib.sha256(data).hexdigest()
        assert artifacts.get(engine, digest) == data


def test_the_same_bytes_twice_are_one_row(engine: Engine) -> None:
    assert artifacts.put(engine, DATA) == artifacts.put(engine, DATA)
    with read(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(table)) == 1


def test_the_first_selection_stays(engine: Engine) -> None:
    sweep, other = new_sweep(engine, name="one"), new_sweep(engine, name="other")
    assert artifacts.get_selection(engine, sweep, "confirm") is None
    assert artifacts.freeze_selection(engine, sweep, "confirm", {"best": 1}) == {"best": 1}
    assert artifacts.freeze_selection(engine, sweep, "confirm", {"best": 2}) == {"best": 1}
    assert artifacts.get_selection(engine, sweep, "confirm") == {"best": 1}
    assert queries.selections(engine, sweep) == {"confirm": {"best": 1}}
    assert queries.selections(engine, other) == {}


def test_a_stored_value_that_is_no_json_is_one_clear_line(engine: Engine) -> None:
    sweep = new_sweep(engine)
    artifacts.freeze_selection(engine, sweep, "confirm", {"best": 1})
    with write(engine) as connection:
        connection.exec_driver_sql("UPDATE selections SET value = '{best: 1}'")
    with pytest.raises(RecordBroken, match="is not JSON"):
        artifacts.get_selection(engine, sweep, "confirm")
