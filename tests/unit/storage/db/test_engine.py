"""storage.db.engine, sqlite_file and schema: what can be opened, and what opening changes."""

import hashlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import Engine

from storage import tables
from storage.db.engine import create_lock, create_tables, most_connections, open_engine
from storage.db.sqlite_file import file_lock
from storage.db.transaction import write
from storage.errors import NotAStorage, StorageError, Unreachable
from storage.records import queries
from storage.url import resolve
from sweeps.hints import explain
from tests.support.both_databases import both
from tests.support.faults.lossy_proxy import LossyProxy
from tests.support.faults.small_disks import CannotMount, small_disk
from tests.support.paths import REPOSITORY
from tests.support.postgres_server import ROLE, PostgresServer
from tests.support.sweeps.storage_sweeps import new_storage, new_sweep


def files(folder: Path) -> dict[str, tuple[str, int]]:
    """Return the hash and the modification time of every file in a folder."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
        if path.is_file()
    }


def a_missing_file(folder: Path) -> Path:
    return folder / "missing.db"


def a_text_file(folder: Path) -> Path:
    path = folder / "notes.db"
    path.write_text("temperature, alpha\n" * 100)
    return path


def a_directory(folder: Path) -> Path:
    path = folder / "folder.db"
    path.mkdir()
    return path


def a_path_below_a_file(folder: Path) -> Path:
    (folder / "file").write_text("x")
    return folder / "file" / "x.db"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (a_missing_file, "names another"),
        (a_text_file, "not a readable SQLite database"),
        (a_directory, "is a directory"),
        (a_path_below_a_file, "names another"),
    ],
)
def test_a_file_that_is_not_a_storage_gives_a_one_line_error_and_stays_as_it_is(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    url = resolve(f"sqlite:///{make(tmp_path)}")
    before = files(tmp_path)
    missing = message == "names another"
    for read_only in (True, False):
        with pytest.raises(StorageError, match=message) as caught:
            open_engine(url, read_only=read_only)
        assert "\n" not in str(caught.value)
        assert explain(caught.value).endswith("; make one with: kd-sweeps create NAME") == missing
    if make is not a_missing_file:  # it would be created
        with pytest.raises(StorageError), create_lock(url):
            pass
        with pytest.raises(StorageError):
            open_engine(url, must_exist=False)
    assert files(tmp_path) == before


def test_the_error_for_a_missing_directory_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=f"mkdir -p {tmp_path}/no/such"):
        open_engine(resolve(f"sqlite:///{tmp_path}/no/such/x.db"), must_exist=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_creating_in_a_read_only_directory_is_an_error_about_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(Unreachable, match="no permission to write"):
        open_engine(resolve(f"sqlite:///{tmp_path}/x.db"), must_exist=False)


def test_creating_on_a_read_only_file_system_is_not_an_error_about_permission(tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "disk", megabytes=1) as disk:
            subprocess.run(["mount", "-o", "remount,ro", str(disk.folder)], check=True)
            with pytest.raises(Unreachable, match=r"cannot make .* is on a read-only file system; name another file"):
                open_engine(resolve(f"sqlite:///{disk.folder}/x.db"), must_exist=False)
    except CannotMount as error:
        pytest.skip(str(error))


def test_reading_a_database_without_our_tables_changes_nothing(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as connection:
        connection.execute("CREATE TABLE studies (study_id INTEGER PRIMARY KEY)")
    before = files(tmp_path)
    with pytest.raises(NotAStorage, match="holds no kd-sweeps tables"):
        open_engine(resolve(f"sqlite:///{tmp_path}/optuna.db"), read_only=True)
    assert files(tmp_path) == before


def test_a_damaged_database_gives_a_one_line_error(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 64)
    with pytest.raises(NotAStorage, match="not a readable SQLite database"):
        open_engine(resolve(f"sqlite:///{path}"), read_only=True)


@pytest.mark.parametrize("version", [tables.SCHEMA_VERSION - 1, tables.SCHEMA_VERSION + 1])
def test_another_schema_version_is_refused_with_the_remedy(tmp_path: Path, version: int) -> None:
    with new_storage(f"sqlite:///{tmp_path}/x.db") as engine:
        with write(engine) as connection:
            connection.execute(tables.version_table.update().values(version=version))
        remedy = "upgrade kd-sweeps" if version > tables.SCHEMA_VERSION else "older kd-sweeps"
        with pytest.raises(NotAStorage, match=remedy):
            open_engine(engine.url)
        with pytest.raises(NotAStorage, match=remedy):
            create_tables(engine)


def test_tables_of_another_program_are_left_alone(tmp_path: Path) -> None:
    engine = open_engine(resolve(f"sqlite:///{tmp_path}/x.db"), must_exist=False)
    with write(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE tasks (title TEXT)")
    with pytest.raises(NotAStorage, match="'tasks' that kd-sweeps did not make"):
        create_tables(engine)
    with engine.connect() as connection:
        assert sqlalchemy.inspect(connection).get_table_names() == ["tasks"]
    engine.dispose()


@both
def test_a_reading_engine_cannot_write(engine: Engine) -> None:
    reading = open_engine(engine.url, read_only=True)
    with pytest.raises(StorageError, match=r"read-?only"):
        new_sweep(reading)
    reading.dispose()


def test_reading_creates_no_file_and_changes_no_byte(tmp_path: Path) -> None:
    with new_storage(f"sqlite:///{tmp_path}/x.db") as engine:
        new_sweep(engine)
    before = files(tmp_path)
    assert not [name for name in before if name.endswith(("-wal", "-shm"))]
    engine = open_engine(resolve(f"sqlite:///{tmp_path}/x.db"), read_only=True)
    assert len(queries.list_sweeps(engine)) == 1
    engine.dispose()
    assert files(tmp_path) == before


def test_reading_after_a_killed_writer_gives_its_last_commit_and_changes_nothing(tmp_path: Path) -> None:
    with new_storage(f"sqlite:///{tmp_path}/x.db") as engine:
        new_sweep(engine, name="last-words")
        (tmp_path / "killed").mkdir()
        for file in ("x.db", "x.db-wal", "x.db-shm"):  # as kill -9 leaves them
            shutil.copy(tmp_path / file, tmp_path / "killed")
    before = files(tmp_path / "killed")
    reading = open_engine(resolve(f"sqlite:///{tmp_path}/killed/x.db"), read_only=True)
    assert [sweep.name for sweep in queries.list_sweeps(reading)] == ["last-words"]
    reading.dispose()
    for name in ("x.db", "x.db-wal"):
        assert files(tmp_path / "killed")[name] == before[name]


@both
def test_every_connection_has_our_settings(engine: Engine) -> None:
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            pragmas = ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
            settings = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
            assert settings == ["wal", 1, 60_000, 1]
        else:
            names = ("lock_timeout", "idle_in_transaction_session_timeout", "TimeZone")
            settings = [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names]
            assert settings == ["5s", "15s", "UTC"]


def test_a_closed_port_gives_a_one_line_error_without_the_password() -> None:
    with socket.socket() as bound:
        bound.bind(
            ("127.0.0.1", 0)
        )  # bound but not listening: connections are refused, and no other process can take the port
        url = resolve(f"postgresql://u:geheim@127.0.0.1:{bound.getsockname()[1]}/db")
        for attempt in (lambda: open_engine(url), lambda: create_lock(url).__enter__()):
            with pytest.raises(Unreachable, match="refused") as caught:
                attempt()
            assert "\n" not in str(caught.value)
            assert "geheim" not in str(caught.value)
            assert "u:***@127.0.0.1" in str(caught.value)


def test_the_modules_for_reading_import_nothing_heavy() -> None:
    script = (
        "import sys, storage.url, storage.db.engine, storage.records.queries, storage.records.artifacts,"
        " storage.queue.plans, storage.queue.tasks, storage.studies.mirror,"
        " storage.studies.space;"
        " print([m for m in ('optuna', 'keras', 'tensorflow', 'filelock', 'numpy') if m in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


def test_only_the_owner_can_access_a_new_sqlite_file_and_its_side_files(tmp_path: Path) -> None:
    url = resolve(f"sqlite:///{tmp_path}/a.db")
    before = os.umask(0o022)
    try:
        engine = open_engine(url, must_exist=False)
        create_tables(engine)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    engine.dispose()
    assert modes == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}


def test_the_permissions_of_an_existing_sqlite_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch()
    path.chmod(0o660)
    open_engine(resolve(f"sqlite:///{path}"), must_exist=False).dispose()
    assert path.stat().st_mode & 0o777 == 0o660


def test_a_database_without_an_encoding_gives_a_one_line_error(postgres_url: str) -> None:
    url = resolve(postgres_url)
    admin = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    name = f"{url.database}_ascii"
    try:
        with admin.connect() as connection:
            connection.exec_driver_sql(
                f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
            )
        nameless = url.set(database=name)
        for opening in (lambda: open_engine(nameless), lambda: open_engine(nameless, must_exist=False)):
            with pytest.raises(NotAStorage, match=r"without an encoding \(SQL_ASCII\).*UTF8.*createdb") as error:
                opening()
            assert "\n" not in str(error.value)
        with pytest.raises(NotAStorage, match="SQL_ASCII"), create_lock(nameless):
            pass
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        admin.dispose()


def test_a_file_removed_while_in_use_gives_a_one_line_error_until_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with new_storage(f"sqlite:///{path}") as engine:
        sweep = new_sweep(engine)
        reading = open_engine(resolve(f"sqlite:///{path}"), read_only=True)
        path.rename(tmp_path / "y.db")
        for used in (engine, reading, engine):
            with pytest.raises(NotAStorage, match="removed or moved away while it was in use; put it back"):
                queries.outlook(used, sweep)
        (tmp_path / "y.db").rename(path)
        assert queries.outlook(engine, sweep).unended == 3
        reading.dispose()


def test_a_writer_whose_file_was_replaced_gets_an_error_and_a_reader_reads_the_new_file(tmp_path: Path) -> None:
    path, other = tmp_path / "x.db", f"sqlite:///{tmp_path}/other.db"
    with new_storage(f"sqlite:///{path}") as engine:
        sweep = new_sweep(engine)
    with new_storage(other) as engine:
        new_sweep(engine, number=7)
    writing = open_engine(resolve(f"sqlite:///{path}"))
    assert queries.outlook(writing, sweep).unended == 3
    writing.dispose()  # a new connection would open the new file
    reading = open_engine(resolve(f"sqlite:///{path}"), read_only=True)
    (tmp_path / "other.db").replace(path)
    for _ in range(2):
        with pytest.raises(NotAStorage, match=r"replaced by another while it was in use; .*remove x\.db-wal and"):
            queries.outlook(writing, sweep)
    assert queries.outlook(reading, sweep).unended == 7
    reading.dispose()
    writing.dispose()


def test_a_lock_file_that_cannot_be_created_is_an_error_at_once(tmp_path: Path) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("no /proc, where even root cannot create a file")
    for folder, name in ((Path("/proc"), "x.db"), (tmp_path, f"{'x' * 248}.db")):
        url = resolve(f"sqlite:///{folder}/{name}")
        wanted = pytest.raises(Unreachable, match=r"cannot make .*(x\.db\.lock: |no permission)")
        with wanted as caught, file_lock(url, timeout_s=3):
            pass
        assert "name another file with --storage sqlite:///FILE.db" in str(caught.value)


@pytest.mark.parametrize("cut", [1, 4_096, 0.5])
def test_a_truncated_file_gives_a_one_line_error_and_stays_as_it_is(tmp_path: Path, cut: float) -> None:
    path = tmp_path / "x.db"
    with new_storage(f"sqlite:///{path}") as engine:
        new_sweep(engine, number=200)
    size = path.stat().st_size
    os.truncate(path, size - int(cut if cut >= 1 else cut * size))
    (tmp_path / "x.db.lock").unlink()
    before = files(tmp_path)
    for must_exist, read_only in ((True, True), (True, False), (False, False)):
        with pytest.raises(NotAStorage, match=r"was cut off: \d+ of its \d+ bytes are here|malformed") as caught:
            open_engine(resolve(f"sqlite:///{path}"), must_exist=must_exist, read_only=read_only)
        assert "\n" not in str(caught.value)
    assert files(tmp_path) == before


def test_a_file_whose_last_pages_are_in_its_wal_opens(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with new_storage(f"sqlite:///{path}"):
        pass
    with open_engine(resolve(f"sqlite:///{path}")).connect() as writing:
        writing.exec_driver_sql("CREATE TABLE more (text TEXT)")
        writing.exec_driver_sql("INSERT INTO more VALUES (hex(zeroblob(40000)))")
        writing.commit()
        pages = writing.exec_driver_sql("PRAGMA page_count").scalar_one()
        assert path.stat().st_size < 4_096 * pages
        open_engine(resolve(f"sqlite:///{path}")).dispose()


def test_the_connection_limit_is_the_least_of_those_of_server_role_and_database(
    server: PostgresServer,
) -> None:
    with new_storage(server.new_database()) as engine, server.admin() as admin:
        of_all = most_connections(engine)
        assert of_all is not None
        admin.execute(f"ALTER DATABASE {engine.url.database} CONNECTION LIMIT 7")
        assert most_connections(engine) == 7 < of_all
        try:
            admin.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT 5")
            assert most_connections(engine) == 5
        finally:
            admin.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")
        with LossyProxy(server.port) as proxy:  # like pgbouncer, which may accept more clients than the server
            far = open_engine(engine.url.set(port=proxy.port))
            assert most_connections(far) is None
            far.dispose()


def test_a_sqlite_file_has_no_limit_of_connections(tmp_path: Path) -> None:
    with new_storage(f"sqlite:///{tmp_path}/x.db") as engine:
        assert most_connections(engine) is None
