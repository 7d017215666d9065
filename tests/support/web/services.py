"""The service of kd-sweeps, in a thread or as a real program, and requests to it over HTTP. Imports no pytest."""

import contextlib
import http.client
import json
import logging
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tests.support.paths import REPOSITORY, clean_environment
from tests.support.sweeps.small_sweeps import wait_until

VIEWER = "viewer-token-0123456789"
OPERATOR = "operator-token-0123456789"
WORKER = "worker-token-0123456789"
TOKENS = f"viewer {VIEWER}\noperator {OPERATOR}\nworker {WORKER}\n"


@dataclass(frozen=True)
class Reply:
    """An answer. headers: by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Service:
    """A running service: its `port` and log. `process` is None where it runs in a thread."""

    def __init__(
        self, port: int, lines: list[str], stop: Callable[[], None], process: "subprocess.Popen[str] | None" = None
    ) -> None:
        """stop: ends the service; may be called twice."""
        self.port, self.stop, self.process = port, stop, process
        self._lines = lines

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def logged(self, text: str) -> str:
        """Wait for the first line of its log that contains a text."""
        wait_until(lambda: text in self.log, f"no {text!r} in the log", 30)
        return next(line for line in self.log.splitlines() if text in line)

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        token: str = "",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request; body: plain values are sent as JSON, bytes unchanged."""
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


def _port_in(lines: list[str], alive: Callable[[], bool]) -> int:
    """Wait until the service reports its port, and return it."""

    def ports() -> list[str]:
        return re.findall(r"serving at http://\S+?:(\d+)/", "".join(lines))

    wait_until(lambda: bool(ports()) or not alive(), "".join(lines))
    assert ports(), "".join(lines)
    return int(ports()[0])


def _file_of(tokens: str, folder: Path) -> Path | None:
    if not tokens:
        return None
    file = folder / "tokens.txt"
    file.touch(mode=0o600)
    file.write_text(tokens)
    return file


@contextlib.contextmanager
def serving(url: str, *names: str, folder: Path, tokens: str = "", allow_code: bool = False) -> Iterator[Service]:
    """Run a service in a thread; names: the sweeps to serve (default: all)."""
    import uvicorn

    from storage.url import resolve
    from sweeps.contrib.server import app
    from sweeps.contrib.server.auth import read_tokens

    lines: list[str] = []
    servers: list[uvicorn.Server] = []

    class Kept(uvicorn.Server):
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            servers.append(self)

    class Log(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{self.format(record)}\n")

    def log() -> None:
        for name, level in (("kd-sweeps", logging.INFO), ("uvicorn.error", logging.WARNING)):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [Log()], False
            logger.setLevel(level)

    def run() -> None:
        app.serve(
            resolve(url),
            names or None,
            host="127.0.0.1",
            port=0,
            tokens=read_tokens(_file_of(tokens, folder), {}),
            allow_code=allow_code,
            listening=lambda text: lines.append(f"{text}\n"),
        )

    def stop() -> None:
        for server in servers:
            server.should_exit = True
        thread.join(30)

    thread = threading.Thread(target=run, daemon=True)
    with mock.patch.object(app.uvicorn, "Server", Kept), mock.patch.object(app, "_log_to_stderr", log):
        thread.start()
        port = _port_in(lines, thread.is_alive)
        wait_until(lambda: bool(servers), "it did not start")
    try:
        yield Service(port, lines, stop)
    finally:
        stop()


@contextlib.contextmanager
def serving_program(url: str, *, folder: Path, tokens: str = "") -> Iterator[Service]:
    """Start a real `kd-sweeps serve` of all sweeps."""
    words = ["--all", "--port", "0"]
    if file := _file_of(tokens, folder):
        words += ["--tokens", str(file)]
    env = clean_environment() | {"KD_SWEEPS_STORAGE": url, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "sweeps.cli", "serve", *words],
        cwd=folder,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # as a service has; Linux divides the cores among sessions
    ) as process:
        assert process.stderr is not None
        reader = threading.Thread(target=lines.extend, args=(process.stderr,), daemon=True)
        reader.start()

        def stop() -> None:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(30)
            reader.join(10)

        try:
            yield Service(_port_in(lines, lambda: process.poll() is None), lines, stop, process)
            stop()
        finally:
            process.kill()
