"""A Postgres in a folder: start, stop, status.

The folder contains `data` (Postgres' own), `server.log`, `url` (with the password, readable by its owner only) and
`database.json`, the address of the last start.
"""

import contextlib
import errno
import os
import platform
import secrets
import shlex
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock
import psycopg
import pydantic
import sqlalchemy

from storage.url import is_loopback, is_wildcard, masked, plain
from sweeps.cli.options import HOSTS, check_host
from sweeps.contrib.postgres_folder.programs import Programs, owner_of
from sweeps.errors import SpecError, SweepError
from sweeps.extensions import require
from sweeps.hints import local

_FIRST_PORT = 5432  # the default of Postgres
_PORTS = 100
NAME = "kd"
"""Name of the role and of its database."""
MOST_CONNECTIONS = 400
"""A hundred workers with up to four each. Unused connections cost a few megabytes together."""
_OURS = "kd-sweeps.conf"
_CONNECT_S = 10


def command(order: str, folder: Path) -> str:
    return local().line("database", f"{order} {shlex.quote(str(folder))}")


def check_free(host: str, port: int) -> None:
    try:
        _try(host, port)
    except socket.gaierror:
        raise SpecError(f"--host: got {host!r}, an unknown name; give an address of this machine") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SweepError(f"port {port} of {host} is in use; choose another: --port {port % 65_535 + 1}") from None
        if error.errno == errno.EACCES:
            raise SweepError(f"port {port} needs root; choose one of 1024 or more: --port {_FIRST_PORT}") from None
        raise SpecError(f"--host: got {host!r}, which is not an address of this machine; {HOSTS}") from None


def first_free(host: str) -> int:
    for port in range(_FIRST_PORT, _FIRST_PORT + _PORTS):
        try:
            check_free(host, port)
        except SweepError as error:
            if isinstance(error, SpecError) or port == _FIRST_PORT + _PORTS - 1:
                raise
        else:
            return port
    raise AssertionError


def _try(host: str, port: int) -> None:
    candidates = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in candidates:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Postgres: closed ports are free
            probe.bind(address)


class _Stored(pydantic.BaseModel):
    """The state in database.json. machine: where the server was started and not stopped since; "" if stopped."""

    host: str
    port: int
    machine: str = ""


@dataclass(frozen=True)
class Database:
    """A database in a folder. url: with its password. started: whether this call started it."""

    folder: Path
    url: sqlalchemy.URL
    running: bool
    started: bool = False
    open_to_others: bool = False

    @property
    def export(self) -> str:
        """The line for a shell. It reads the URL from the file, so that the password is in no terminal or history."""
        return f'export KD_SWEEPS_STORAGE="$(cat {shlex.quote(str(self.folder / "url"))})"'


def start(folder: Path, *, host: str | None = None, port: int | None = None) -> Database:
    """Start the database of a folder; create it if it is missing. A running one is left unchanged.

    host, port: None: those of the last start, at first 127.0.0.1 and the next free port from 5432.
    """
    folder = folder.absolute()
    _refuse_others(folder)
    if host is not None:
        check_host(host)
    require("database", "database")  # before the folder is created
    with _locked(folder):
        programs = Programs.of(folder / "data")
        before = _stored(folder)
        if before is not None and _runs(folder, before, programs):
            if (host or before.host, port or before.port) != (before.host, before.port):
                raise SweepError(
                    f"the database in {folder} runs on {before.host} port {before.port}; to move it, stop it first:"
                    f" {command('stop', folder)}"
                )
            return _answering(folder, before, programs, started=False)
        host = host or (before.host if before else "127.0.0.1")
        port = port or (before.port if before else first_free(host))
        check_free(host, port)
        _write_stored(folder, now := _Stored(host=host, port=port, machine=platform.node()))
        try:
            password = _make(folder, programs) if not (folder / "url").exists() else str(_url(folder).password)
            _write_url(folder, now, password)
            _configure(folder, now)
            programs.start(folder / "server.log")
        except BaseException:
            _write_stored(folder, now.model_copy(update={"machine": ""}))
            raise
        return _answering(folder, now, programs, started=True)


def stop(folder: Path) -> bool:
    """Stop the database of a folder; False: it was not running. Its workers wait until it is back."""
    folder = folder.absolute()
    before = _required(folder)
    with _locked(folder):
        programs = Programs.of(folder / "data")
        was_running = _runs(folder, before, programs)
        if was_running:
            programs.stop()
        _write_stored(folder, before.model_copy(update={"machine": ""}))
        return was_running


def status(folder: Path) -> Database:
    folder = folder.absolute()
    before = _required(folder)
    running = _runs(folder, before, Programs.of(folder / "data"))
    return Database(folder, _url(folder), running, open_to_others=not is_loopback(before.host))


def _refuse_others(folder: Path) -> None:
    if not str(folder).isprintable():  # a line break would end a line in the files of Postgres
        raise SpecError(f"got {str(folder)!r}; the name of the folder must not have line breaks or control characters")
    try:
        names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    except OSError as error:
        raise SpecError(f"got {folder}: {error.strerror}; name an empty or new folder") from None
    if names and not {"database.json", ".lock"} & set(names):
        raise SpecError(f"got {folder}, which contains other files ({names[0]}); name an empty or new folder")


def _required(folder: Path) -> _Stored:
    if (stored := _stored(folder)) is None:
        raise SpecError(f"no database in {folder}; to create one: {command('start', folder)}")
    return stored


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        owner_of(folder)  # refuses root before the folder is created
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        with filelock.FileLock(folder / ".lock", timeout=120):
            _give(folder / ".lock", folder)
            yield
    except filelock.Timeout:
        raise SweepError(f"another command is running in {folder}; repeat this one when it has finished") from None
    except OSError as error:
        raise SweepError(
            f"cannot write {error.filename}: {error.strerror}; name a folder that you can write to"
        ) from None


def _runs(folder: Path, before: _Stored, programs: Programs) -> bool:
    if before.machine and before.machine != platform.node():
        pid_file = folder / "data" / "postmaster.pid"
        if pid_file.exists():  # two servers would destroy the files, and processes elsewhere are not visible here
            raise SweepError(
                f"the database in {folder} was started on {before.machine} and not stopped; stop it there or, if that"
                f" machine is gone, remove {pid_file}"
            )
    return programs.is_running()


def _answering(folder: Path, now: _Stored, programs: Programs, *, started: bool) -> Database:
    """Return the database after a test connection by its own URL."""
    url = _url(folder)
    try:
        psycopg.connect(plain(url.set(drivername="postgresql")), connect_timeout=_CONNECT_S).close()
    except psycopg.Error as error:
        why = " ".join(str(error).split())
        raise SweepError(
            f"the database is running, but {masked(url)} refuses the connection: {why}; see {folder}/server.log"
        ) from None
    return Database(folder, url, running=True, started=started, open_to_others=not is_loopback(now.host))


def _make(folder: Path, programs: Programs) -> str:
    """Create the files of a server with one database, whose owner is not a superuser. Returns the password.

    After an interruption, or where the file with the URL is lost, existing data stays and gets a new password.
    """
    password = secrets.token_urlsafe(24)  # letters, digits, - and _, which a URL need not escape
    alter = f"ALTER ROLE {NAME} PASSWORD '{password}'"
    programs.make([f"CREATE ROLE {NAME} LOGIN", alter, f"CREATE DATABASE {NAME} OWNER {NAME}"])
    settings, line = folder / "data/postgresql.conf", f"include_if_exists '{_OURS}'  # by kd-sweeps database start\n"
    if line not in (before := settings.read_text()):
        _write(settings, before + line)
    return password


def _configure(folder: Path, now: _Stored) -> None:
    settings = {
        "listen_addresses": "*" if is_wildcard(now.host) else now.host.strip("[]"),
        "port": str(now.port),
        "unix_socket_directories": "",
        "max_connections": str(MOST_CONNECTIONS),
    }
    _write(folder / "data" / _OURS, "".join(f"{name} = '{value}'\n" for name, value in settings.items()))
    sources = ("127.0.0.1/32", "::1/128") if is_loopback(now.host) else ("all",)
    rules = "".join(f"host {NAME} {NAME} {source} scram-sha-256\n" for source in sources)
    _write(folder / "data" / "pg_hba.conf", rules)


def _write_url(folder: Path, now: _Stored, password: str) -> None:
    host = platform.node() if is_wildcard(now.host) else now.host.strip("[]")
    url = sqlalchemy.URL.create("postgresql", NAME, password, host, now.port, NAME)
    _write(folder / "url", plain(url) + "\n")


def _url(folder: Path) -> sqlalchemy.URL:
    try:
        return sqlalchemy.make_url((folder / "url").read_text().strip())
    except (OSError, ValueError, sqlalchemy.exc.ArgumentError):
        raise SweepError(
            f"cannot read {folder / 'url'}, the URL of the database; for a new one with a new password, remove it, then"
            f" stop and start: {command('stop', folder)}"
        ) from None


def _stored(folder: Path) -> _Stored | None:
    path = folder / "database.json"
    try:
        return _Stored.model_validate_json(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        example = '{"host": "127.0.0.1", "port": 5432}'
        raise SweepError(f"cannot read {path}; its form: {example}") from None


def _write_stored(folder: Path, stored: _Stored) -> None:
    _write(folder / "database.json", stored.model_dump_json() + "\n")


def _write(path: Path, text: str) -> None:
    """Write a file atomically, readable only by the owner of its folder."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    # O_EXCL creates a new file: when root writes into another user's folder, a link cannot redirect it.
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        _give(file.fileno(), path.parent)
        file.write(text)
    new.replace(path)


def _give(file: int | Path, folder: Path) -> None:
    if (owner := owner_of(folder)) is not None:
        os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=isinstance(file, int))
