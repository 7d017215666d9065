"""A small disk to fill up and free again: a tmpfs, where this machine allows mounting. Imports no pytest."""

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path


class CannotMount(Exception):
    """Mounting needs root, and not every container allows it."""


class SmallDisk:
    """Mount a separate file system at `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fill = folder / "fill"

    def fill(self) -> None:
        with self._fill.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        self._fill.unlink(missing_ok=True)


class Filling:
    """Fills a disk once, in the middle of the load, keeps it full for `seconds`, and frees it; runs during the block.

    Args:
        begin: returns whether the load is under way.
    """

    def __init__(self, disk: SmallDisk, *, seconds: float, begin: Callable[[], bool]) -> None:
        self.injected = 0
        self._disk, self._seconds, self._begin = disk, seconds, begin
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Filling":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._begin():
            if self._over.wait(0.05):
                return
        until = time.monotonic() + self._seconds
        self.injected += 1
        while time.monotonic() < until and not self._over.wait(0.1):
            self._disk.fill()  # repeatedly, to take space that is freed meanwhile
        self._disk.free()


@contextlib.contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[SmallDisk]:
    """Mount a disk of that size in a new folder, and unmount it at the end.

    Raises:
        CannotMount: this machine does not allow it.
    """
    if os.geteuid() or shutil.which("mount") is None:
        raise CannotMount("only root can mount a small disk")
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise CannotMount(process.stderr.strip())
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
