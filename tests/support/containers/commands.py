"""The command lines of containers as local processes that share only the storage, and requests to their service."""

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of a container."""
        home = {
            "HOME": str(self._folder),
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "KD_SWEEPS_CACHE": str(self._folder / "cache"),
        }
        return clean_environment("KERAS") | home | dict(variables) | self._changed

    @contextmanager
    def start(self, words: Sequence[str], variables: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
        """Start a command line; at the end it is killed with its children if it still runs."""
        process = subprocess.Popen(
            list(words),
            cwd=self._folder,
            env=self.environment(variables),
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

    def run(self, words: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
        """Run a command line to its end; return exit code and output."""
        with self.start(words, variables) as process:
            output = process.communicate()[0]
            return process.returncode, output


def ask(url: str, token: str | None = None, *, method: str = "GET") -> tuple[int, str]:
    """Return status and body of an answer; (0, reason) without an answer."""
    request = urllib.request.Request(url, method=method)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)


def ask_json(url: str, token: str | None = None) -> Any:
    """Return the JSON of an answer; AssertionError for any status but 200."""
    status, body = ask(url, token)
    assert status == 200, f"{url}: {status} {body[:1000]}"
    return json.loads(body)
