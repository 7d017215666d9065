"""A real `kd-sweeps serve` in a process of its own, and requests to it with nothing between. Imports no pytest."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.paths import REPOSITORY
from tests.support.sweeps.small_sweeps import wait_until

VIEWER = "viewer-token-0123456789"
OPERATOR = "operator-token-0123456789"
TOKENS = f"viewer {VIEWER}\noperator {OPERATOR}\n"


@dataclass(frozen=True)
class Reply:
    """An answer. headers: their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as plain values."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class Service:
    """A service at work."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        """Wait until it listens."""
        self.process = process
        self._lines: list[str] = []
        self._listening = threading.Event()
        self.port = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._listening.wait(60), self.log
        assert self.port, self.log

    @property
    def url(self) -> str:
        """What is typed after --url."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """Everything that it printed so far."""
        return "".join(self._lines)

    def logged(self, text: str) -> str:
        """The first line of its log that holds a text, once it is there."""
        found = list[str]()

        def is_there() -> bool:
            found[:] = [line for line in self.log.splitlines() if text in line]
            return bool(found)

        wait_until(is_there, f"no {text!r} in the log", 30)
        return found[0]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line)
            if found := re.search(r"serving at http://\S+?:(\d+)/", line):
                self.port = int(found[1])
                self._listening.set()
        self._listening.set()

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        token: str = "",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request; body: plain values are sent as JSON, bytes as they are."""
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, names, answer.read())
        finally:
            connection.close()

    def stop(self) -> None:
        """End it as an administrator does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self._reader.join(10)
        if self.process.stderr is not None:
            self.process.stderr.close()


@contextlib.contextmanager
def serving(
    url: str, *arguments: str, folder: Path, tokens: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """A service on a free port; arguments: the names of sweeps, or --all if there are none, and options."""
    named = any(not one.startswith("-") for one in arguments)
    words = [*(() if named else ("--all",)), *arguments, "--port", "0"]
    if tokens:
        file = folder / "tokens.txt"
        file.touch(mode=0o600)
        file.write_text(tokens)
        words += ["--tokens", str(file)]
    own = {name: value for name, value in os.environ.items() if not name.startswith(("KD_SWEEPS", "OPTUNA"))}
    own |= {"KD_SWEEPS_STORAGE": url, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", **(environment or {})}
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeps.cli", "serve", *words],
        cwd=folder,
        env=own,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        service = Service(process)
        try:
            yield service
        finally:
            service.stop()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
