"""Check, open and lock the file behind an SQLite storage."""

import contextlib
import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL

from storage.errors import NextStep, NotAStorage, StorageError, Unreachable
from storage.url import masked, sqlite_path

BUSY_TIMEOUT_S = 60


def check_path(url: URL, *, must_exist: bool, read_only: bool) -> None:
    """Check, without changing anything, that the file can be opened; NotAStorage or Unreachable if not.

    SQLite itself would create a missing file, and reports everything else as "unable to open database file".
    """
    path = sqlite_path(url)
    try:
        if path.is_dir():
            inside = path / "kd-sweeps.db"
            raise NotAStorage(f"{path} is a directory; name a file in it, such as sqlite:///{inside}")
        if not os.path.lexists(path):
            if must_exist:
                raise NotAStorage(
                    f"no storage at {masked(url)} (--storage URL names another)", NextStep("make one with", "create")
                )
            _check_parent(path.absolute().parent, url)
            return
        path.stat()
    except OSError as error:
        raise Unreachable(f"cannot open {masked(url)}: {error.strerror or error}") from error
    if not os.access(path, os.R_OK):
        raise Unreachable(f"cannot open {masked(url)}: no permission to read it")
    _refuse_damaged(path, url)
    if not read_only and not os.access(path, os.W_OK):
        raise Unreachable(
            f"cannot write {masked(url)}: the file is read-only; make it writable, and type the command again, or name"
            " another with --storage URL"
        )


class Connector:
    """Open the connections of one engine, all to the same file.

    SQLite keeps writing to a file that was removed or replaced, and loses that when its last connection closes. So an
    engine that writes accepts only the file that it opened first.
    """

    def __init__(self, url: URL, *, create: bool, read_only: bool) -> None:
        self._url, self._create, self._read_only = url, create, read_only
        self._path = sqlite_path(url).absolute()  # survives a later chdir
        self._opened: tuple[int, int] | None = None

    def __call__(self) -> sqlite3.Connection:
        self.check()
        if self._create:
            _make_private(self._path)
        mode = _reading_mode(self._path) if self._read_only else "mode=rwc" if self._create else "mode=rw"
        connection = sqlite3.connect(
            f"file:{quote(str(self._path))}?{mode}", uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False
        )
        connection.text_factory = _text
        try:
            if self._read_only:
                connection.execute("PRAGMA query_only = ON")
            else:
                connection.execute("PRAGMA journal_mode = WAL")  # readers do not block the writer
                connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
        except sqlite3.Error:
            connection.close()
            raise
        self._opened = self._opened or _identity(self._path)
        return connection

    def check(self) -> None:
        """Raise NotAStorage if the opened file is gone, or, unless read_only, was replaced."""
        try:
            now = _identity(self._path)
        except OSError:  # not accessible: SQLite reports why, if it matters
            return
        if self._opened is None or now == self._opened:
            return
        if now is None:
            raise NotAStorage(
                f"the file of {masked(self._url)} was removed or moved away while it was in use; put it back, and type"
                " the command again",
                NextStep("or create another with", "create"),
            )
        if not self._read_only:
            raise NotAStorage(
                f"the file of {masked(self._url)} was replaced by another while it was in use; put the first one back,"
                f" or remove {self._path.name}-wal and {self._path.name}-shm, which belong to it, and type the command"
                " again"
            )


def _identity(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file; None if it does not exist."""
    try:
        now = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return now.st_dev, now.st_ino


@contextmanager
def file_lock(url: URL, *, timeout_s: float) -> Iterator[None]:
    """Admit one process on this machine at a time; StorageError after `timeout_s` seconds."""
    import filelock  # takes 60 ms, and only commands that create need it

    check_path(url, must_exist=False, read_only=False)
    path = sqlite_path(url).absolute()
    lock_file = Path(f"{path}.lock")
    lock = filelock.FileLock(lock_file)
    try:
        if not lock_file.exists():  # filelock would wait for a file that cannot be made, as if it were contended
            lock_file.touch(0o644)
        lock.acquire(timeout=timeout_s)
    except filelock.Timeout as error:
        raise StorageError(
            f"another process has been creating in {masked(url)} for {timeout_s:g} s; try again, or end the"
            f" process that holds {lock_file}"
        ) from error
    except OSError as error:
        raise Unreachable(
            f"cannot make {lock_file}: {error.strerror or error}; name another file with --storage sqlite:///FILE.db"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def file_turn(url: URL) -> Iterator[bool]:
    """Yield whether this process, alone, may draw trials; does not wait."""
    import filelock  # as above

    lock = filelock.FileLock(f"{sqlite_path(url).absolute()}.mirror")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        yield False
        return
    except OSError as error:
        raise Unreachable(f"cannot make {lock.lock_file}: {error.strerror or error}") from error
    try:
        yield True
    finally:
        lock.release()


def _make_private(path: Path) -> None:
    """Create a missing file for its owner alone; SQLite's side files inherit that."""
    with contextlib.suppress(OSError):  # it exists; or cannot be created, which SQLite will report
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _refuse_damaged(path: Path, url: URL) -> None:
    # Through SQLite, never by opening the file directly: closing it would drop the locks of every connection that this
    # process has to it (https://sqlite.org/howtocorrupt.html, 2.2), seen as "disk I/O error" soon after.
    try:
        uri = f"file:{quote(str(path.absolute()))}?{_reading_mode(path)}"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.execute("PRAGMA schema_version")
            sizes = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")]
            # In this order: a writer that ends now extends the file first, and then truncates the other.
            pending, size = _size(Path(f"{path}-wal")), _size(path)
    except sqlite3.OperationalError:
        return  # locked or unreadable for now: the connection to be used will report that, or wait
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            raise NotAStorage(f"{masked(url)} is not a readable SQLite database; nothing in it was changed") from error
        return
    expected = math.prod(sizes)
    if not pending and size < expected:  # SQLite reads zeros where the last page ends too early
        raise NotAStorage(
            f"{masked(url)} was cut off: {size} of its {expected} bytes are here, and nothing was changed; put a"
            " complete copy in its place"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _text(stored: bytes) -> str | bytes:
    """Return damaged text as bytes: sqlite3 would raise without saying where; the parser names the value."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored


def _check_parent(parent: Path, url: URL) -> None:
    if not parent.exists():
        raise Unreachable(f"cannot make {masked(url)}: no directory {parent}; make it with: mkdir -p {parent}")
    if not parent.is_dir():
        raise Unreachable(f"cannot make {masked(url)}: {parent} is not a directory")
    if not os.access(parent, os.W_OK | os.X_OK):
        read_only = os.statvfs(parent).f_flag & os.ST_RDONLY
        why = f"{parent} is on a read-only file system" if read_only else f"no permission to write in {parent}"
        raise Unreachable(f"cannot make {masked(url)}: {why}; name another file with --storage sqlite:///FILE.db")


def _reading_mode(path: Path) -> str:
    """Return the mode of opening the file in which reading leaves no trace.

    A read-only connection to a database in WAL mode creates missing -wal and -shm files and cannot remove them (seen
    with SQLite 3.46). A read-write one removes them when it closes; with `query_only` on and nothing to checkpoint it
    writes nothing.
    """
    if Path(f"{path}-wal").exists():  # a process is writing, or was killed: leave the files alone
        return "mode=ro"
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return "mode=rw"
    return "mode=ro&immutable=1"  # a file that cannot be written does not change
