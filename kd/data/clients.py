"""Run the client of a package registry in a folder, within a time, and say in a line why it failed."""

import os
import signal
import subprocess
import time
from pathlib import Path

from kd.data.downloads import Progress
from kd.errors import DataError

__all__ = ["run_client"]

POLL_S = 0.1
_PREFIXES = ("npm error", "npm ERR!", "E:")
_NOISE = ("code ", "syscall ", "errno ", "W:", "N:")


def run_client(
    command: list[str],
    folder: Path,
    what: str,
    *,
    timeout_s: float,
    watched: Path,
    progress: Progress | None = None,
    size: int = 0,
) -> None:
    """Run a command in a folder, with its log in there too, so that nothing stays behind.

    Args:
        command: the program and its arguments.
        folder: its working folder; the caller removes it.
        what: the command in messages, such as "npm pack".
        timeout_s: it is killed with all that it started after so many seconds.
        watched: the folder whose bytes are those received so far; it need not exist.
        progress: called several times a second with the bytes received so far and in all.
        size: the bytes in all.

    Raises:
        DataError: it failed, or took too long.
    """
    log = folder / "client.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,  # so that it can be ended with whatever it started
        )
        try:
            deadline = time.monotonic() + timeout_s
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise DataError(f"{what} did not end within {timeout_s:.0f} s")
                if progress is not None:
                    progress(min(_bytes_below(watched), size), size)
                time.sleep(POLL_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode != 0:
        raise DataError(f"{what}: {_complaint(log)}")
    if progress is not None:
        progress(size, size)


def _complaint(log: Path) -> str:
    """Return the line of a client's log that says what is wrong."""
    text = log.read_text(errors="replace")
    for prefix in _PREFIXES:
        text = text.replace(prefix, "")
    lines = [line.strip() for line in text.splitlines()]
    telling = [line for line in lines if line and not line.startswith(_NOISE)]
    return telling[0][:200] if telling else "failed without a message"


def _bytes_below(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except FileNotFoundError:  # the client moves files meanwhile
                continue
    return total
