"""The command lines of containers as local processes with separate homes, which share only the storage."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


from tests.support.paths import REPOSITORY, clean_environment, programs


class Commands:
    """A folder in which command lines find `kd-sweeps` and `python` on their PATH, as in the image.

    Args:
        changed: variables that differ from those of the container, such as the storage.
    """

    def __init__(self, folder: Path, **changed: str) -> None:
        self._folder = folder
        self._changed = changed
        self._programs = programs(folder / "programs")

    def environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of a container."""
        home = {
            "HOME": str(self._folder),
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "KD_SWEEPS_CACHE": str(self._folder / "cache"),
        }
        return clean_environment("KERAS") | home | dict(own) | self._changed

    @contextmanager
    def start(self, words: Sequence[str], own: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
        """Start a command line; at the end it is killed with its children if it still runs."""
        process = subprocess.Popen(
            list(words),
            cwd=self._folder,
            env=self.environment(own),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def run(self, words: Sequence[str], own: Mapping[str, str]) -> tuple[int, str]:
        """Run a command line to its end; return exit code and output."""
        with self.start(words, own) as process:
            output = process.communicate()[0]
            return process.returncode, output
