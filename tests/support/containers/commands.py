"""The command lines of containers as processes here: a home of their own, and nothing in common but the storage."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


from tests.support.paths import REPOSITORY, clean_environment, programs


class Commands:
    """A folder in which command lines run that find `kd-sweeps` and `python` on their PATH, as they do in the image.

    Args:
        changed: variables that differ from those of the container, such as the storage.
    """

    def __init__(self, folder: Path, **changed: str) -> None:
        self._folder = folder
        self._changed = changed
        self._programs = programs(folder / "programs")

    def environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """The variables of a container, in a bare one's."""
        home = {
            "HOME": str(self._folder),
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "KD_SWEEPS_CACHE": str(self._folder / "cache"),
        }
        return clean_environment("KERAS") | home | dict(own) | self._changed

    @contextmanager
    def start(self, words: Sequence[str], own: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
        """A command line; what still runs at the end is killed, with all that it started."""
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
