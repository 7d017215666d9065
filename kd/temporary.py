"""Give a process a folder of its own for temporary files, and remove it with everything in it when the process ends.

TensorFlow writes a file for each function that it compiles, and removes it only when its process ends by itself. Ours
are killed: a child as soon as its result is here, a worker when its machine needs it no more.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from kd.errors import NotHere

__all__ = ["made", "remove_left_over", "used"]

PREFIX = "kd-sweeps-tmp-"
NEW_PREFIX = "kd-sweeps-new-"  # until its lock is held
YOUNG_S = 60.0  # so long a new folder may still be about to get its lock


@contextlib.contextmanager
def made() -> Iterator[Path]:
    """Make a folder below the present one for temporary files; remove it at the end, and those of killed processes.

    Raises:
        NotHere: no folder of this machine takes temporary files.
    """
    try:
        base = Path(tempfile.gettempdir())
        remove_left_over()
        new = Path(tempfile.mkdtemp(prefix=NEW_PREFIX, dir=base))
    except OSError as error:  # full, or read-only; Python has tried every folder that it knows
        why = error.strerror or str(error)
        raise NotHere(f"cannot write temporary files: {why}; free space there, or export TMPDIR=DIR") from error
    # Held until this process ends, however it does. Not its number: in another container, that is another process.
    lock = os.open(new, os.O_RDONLY)
    _try_to_lock(lock)
    folder = new.rename(base / new.name.replace(NEW_PREFIX, PREFIX, 1))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextlib.contextmanager
def used(folder: Path) -> Iterator[None]:
    """Let this process, and those that it starts, put temporary files into a folder."""
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before[0]
        if before[1] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before[1]


def remove_left_over() -> None:
    """Remove the folders below the present one whose process is gone: nobody holds their locks."""
    try:
        base = Path(tempfile.gettempdir())
    except OSError:  # all of them are full: who needs one says so
        return
    for folder in (*base.glob(f"{PREFIX}*"), *base.glob(f"{NEW_PREFIX}*")):
        with contextlib.suppress(OSError):  # another user's; or somebody else removes it at this moment
            if folder.name.startswith(NEW_PREFIX) and time.time() - folder.stat().st_mtime < YOUNG_S:
                continue
            lock = os.open(folder, os.O_RDONLY)
            try:
                if _try_to_lock(lock):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _try_to_lock(number: int) -> bool:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held by its process; or a file system without locks, where nothing is taken for left over
        return False
    return True
