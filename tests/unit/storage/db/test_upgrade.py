"""storage.db.upgrade: storages of older versions get the current schema, completely or not at all."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import Engine

from storage import tables
from storage.db.engine import open_engine
from storage.db.transaction import write
from storage.db.upgrade import Upgraded, upgrade
from storage.errors import NotAStorage, StorageError, SweepInUse
from storage.failpoints import POINTS, VARIABLE
from storage.queue import plans
from storage.records import artifacts, queries
from storage.url import resolve
from sweeps.plan.audit import audit
from sweeps.plan.plan import more
from sweeps.spec.stored import stored_spec
from sweeps.usecases.steering import extend
from tests.support.both_databases import both
from tests.support.old_storages import columns, placed, rows_of, unpack
from tests.support.sweeps.planted_sweeps import work
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import FORK
from tests.support.sweeps.storage_sweeps import new_storage

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("storage_url", "version"),
    [("sqlite", 1), ("sqlite", 2), ("sqlite", 3), ("postgres", 1)],
    indirect=["storage_url"],
)
def test_an_upgraded_storage_has_the_schema_of_a_new_one_and_every_row(
    storage_url: str, tmp_path: Path, version: int
) -> None:
    url = placed(version, storage_url, tmp_path)
    unpack(version, tmp_path / "before.db")
    before = rows_of(tmp_path / "before.db")
    done = upgrade(url)
    assert (done.before, done.after) == (version, tables.SCHEMA_VERSION)
    engine = open_engine(url)
    with engine.connect() as connection:
        for table in ("sweeps", "phases", "tasks", "attempts", "selections", "blobs"):
            count = connection.scalar(sqlalchemy.text(f"SELECT count(*) FROM {table}"))
            assert count == len(before[table]), table
    (sweep,) = queries.list_sweeps(engine)
    (plan,) = queries.revisions(engine, sweep.id)
    assert (plan.number, plan.spec, plan.fingerprint, plan.why) == (1, sweep.spec, sweep.fingerprint, "created")
    assert plan.created_at == pytest.approx(sweep.created_at, abs=0.1)
    counts = {phase.name: sum(phase.counts.values()) for phase in queries.phase_records(engine, sweep.id)}
    assert plan.planned == {name: total for name, total in counts.items() if total}
    outcomes = [task.outcome or {} for task in queries.task_records(engine, sweep.id)]
    digests = {digest for outcome in outcomes for digest in outcome.get("blobs", {}).values()}
    assert len(digests) >= 2
    for digest in digests:
        assert artifacts.get(engine, digest)
    upgraded = columns(engine)
    with write(engine) as connection:
        tables.metadata.drop_all(connection)
        tables.metadata.create_all(connection)
    assert upgraded == columns(engine)
    engine.dispose()


def test_a_storage_of_the_previous_version_has_the_schema_of_a_new_one_after_an_upgrade(
    engine: Engine, tmp_path: Path
) -> None:
    url = unpack(tables.SCHEMA_VERSION - 1, tmp_path / "x.db")
    upgrade(url)
    upgraded = open_engine(url)
    assert columns(upgraded) == columns(engine)
    upgraded.dispose()


def test_a_copy_of_an_sqlite_file_is_kept_and_never_overwrites_an_earlier_copy(tmp_path: Path) -> None:
    first = None
    for name in ("x.schema-1.db", "x.schema-1.2.db"):
        url = unpack(1, tmp_path / "x.db")
        before = rows_of(tmp_path / "x.db")
        upgraded = upgrade(url)
        assert upgraded == Upgraded(1, tables.SCHEMA_VERSION, tmp_path / name)
        assert rows_of(tmp_path / name) == before
        first = first or (tmp_path / name).read_bytes()
    assert (tmp_path / "x.schema-1.db").read_bytes() == first
    assert {path.name for path in tmp_path.iterdir()} == {"x.db", "x.db.lock", "x.schema-1.db", "x.schema-1.2.db"}


@both
def test_a_storage_of_this_version_is_unchanged_and_a_newer_one_is_refused(engine: Engine, tmp_path: Path) -> None:
    assert upgrade(engine.url) == Upgraded(tables.SCHEMA_VERSION, tables.SCHEMA_VERSION, None)
    with new_storage(f"sqlite:///{tmp_path}/x.db") as newer, write(newer) as connection:
        connection.execute(tables.version_table.update().values(version=tables.SCHEMA_VERSION + 1))
    with pytest.raises(NotAStorage, match=r"newer kd-sweeps .*: upgrade kd-sweeps"):
        upgrade(newer.url)


def test_a_file_that_is_not_a_storage_is_refused_and_no_file_is_created(tmp_path: Path) -> None:
    with pytest.raises(NotAStorage, match="no storage at"):
        upgrade(resolve(f"sqlite:///{tmp_path}/missing.db"))
    (tmp_path / "text.db").write_text("not a database, but long enough to be read as one\n" * 20)
    with pytest.raises(NotAStorage, match="not a readable SQLite database"):
        upgrade(resolve(f"sqlite:///{tmp_path}/text.db"))
    assert [path.name for path in tmp_path.iterdir()] == ["text.db"]


def test_live_leases_prevent_an_upgrade_and_lapsed_ones_do_not(storage_url: str, tmp_path: Path) -> None:
    url = placed(1, storage_url, tmp_path)
    engine = sqlalchemy.create_engine(url)
    now = "extract(epoch FROM now())" if engine.dialect.name == "postgresql" else "unixepoch('now')"
    change = "UPDATE attempts SET state = 'running', lease_until = {} WHERE task_id = 3"
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(change.format(f"{now} + 40")))
    with pytest.raises(SweepInUse, match=r"in use \(host-1-abcd has search#0, lease \d+ s\): stop every worker"):
        upgrade(url)
    with pytest.raises(NotAStorage, match="schema 1"):
        open_engine(url)
    assert not list(tmp_path.glob("*schema*"))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(change.format(f"{now} - 1")))
    assert upgrade(url).before == 1
    engine.dispose()


def test_an_upgrade_that_cannot_write_its_copy_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    url = unpack(2, tmp_path / "x.db")
    before = rows_of(tmp_path / "x.db")
    monkeypatch.setattr(Path, "chmod", full)
    with pytest.raises(StorageError, match=r"cannot copy .* \(.*No space left.*\); nothing was changed"):
        upgrade(url)
    assert rows_of(tmp_path / "x.db") == before
    assert {path.name for path in tmp_path.iterdir()} == {"x.db", "x.db.lock"}


def _upgrade_and_crash(url: str, point: str) -> None:
    os.environ[VARIABLE] = point
    upgrade(resolve(url))


@pytest.mark.processes
@pytest.mark.slow_on("postgres")
def test_an_upgrade_killed_at_any_point_leaves_the_old_storage_and_can_be_repeated(
    storage_url: str, tmp_path: Path
) -> None:
    url = placed(1, storage_url, tmp_path)
    on_sqlite = url.get_backend_name() == "sqlite"
    points = [point for point in POINTS["upgrade"] if on_sqlite or "cop" not in point]
    for point in points:
        doomed = FORK.Process(target=_upgrade_and_crash, args=(storage_url, point))
        doomed.start()
        doomed.join(60)
        assert doomed.exitcode == -9, point
        with pytest.raises(NotAStorage, match="schema 1; this one needs"):
            open_engine(url)
    assert upgrade(url).before == 1
    open_engine(url).dispose()
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.processes
def test_of_five_upgrades_at_once_one_does_the_work(storage_url: str, tmp_path: Path) -> None:
    url = placed(1, storage_url, tmp_path)
    several = [FORK.Process(target=_upgrade_and_crash, args=(storage_url, "")) for _ in range(5)]
    for process in several:
        process.start()
    for process in several:
        process.join(60)
    assert [process.exitcode for process in several] == [0] * 5
    open_engine(url).dispose()
    assert len(list(tmp_path.glob("*.schema-1*.db"))) == (url.get_backend_name() == "sqlite")


@pytest.mark.parametrize("version", [1, 2])
def test_tasks_added_to_a_sweep_of_an_older_version_are_done(tmp_path: Path, version: int) -> None:
    url = unpack(version, tmp_path / "x.db")
    upgrade(url)
    engine = open_engine(url)
    (sweep,) = queries.list_sweeps(engine)
    before = len(queries.task_records(engine, sweep.id))
    if version == 1:
        added = extend(url, "old", seeds=1).tasks
    else:  # its only look is used, so `extend` refuses; change the plan as `extend` would
        larger, further = more(stored_spec(sweep), seeds=1)
        added = len(further.tasks)
        plans.extend(
            engine, sweep.id, revision=1, why="a test", spec=larger.as_dict(), fingerprint=larger.fingerprint,
            tasks=further.tasks, phases=further.phases,
        )  # fmt: skip
    assert added >= 5
    work(url, quadratic, name="old")
    result = audit(engine, queries.list_sweeps(engine)[0])
    assert (result.violations, result.warnings, result.planned, result.accounted) == ([], [], *[before + added] * 2)
    assert {task.state for task in queries.task_records(engine, sweep.id)} == {"done"}
    engine.dispose()


def test_the_error_for_an_old_storage_names_the_command_that_upgrades_it(kd_sweeps: Run, tmp_path: Path) -> None:
    unpack(1, tmp_path / "kd-sweeps.db")
    code, _, err = kd_sweeps("status", "old")
    assert code == 1
    assert err == (
        "kd-sweeps: sqlite:///kd-sweeps.db was made by an older kd-sweeps (schema 1; this one needs 5); stop its"
        " workers, and type: kd-sweeps storage upgrade\n"
    )
    code, out, err = kd_sweeps("storage", "upgrade")
    assert (code, out) == (0, "")
    copy = tmp_path / "kd-sweeps.schema-1.db"
    assert err.splitlines()[1] == f"upgraded from schema 1 to {tables.SCHEMA_VERSION}; copy of the old file: {copy}"
    assert kd_sweeps("status", "old")[0] == 0
    assert (
        kd_sweeps("storage", "upgrade")[2].splitlines()[1]
        == f"already at schema {tables.SCHEMA_VERSION}; nothing to do"
    )
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT version FROM kd_sweeps_schema").fetchall() == [(1,)]
