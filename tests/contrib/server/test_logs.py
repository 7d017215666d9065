"""The log of a task as a stream of events, while a real worker runs it."""

import http.client
import json
import signal
from pathlib import Path

import pytest

from storage.url import resolve
from sweeps.contrib.server.client import HttpClient as Client
from sweeps.contrib.server.client import events
from sweeps.errors import SweepError
from sweeps.operations.operation import LocalClient
from sweeps.operations.table import STATUS, TRIALS, SweepArgs, TrialsArgs
from tests.support.sweeps.small_sweeps import created, start_worker, wait_until
from tests.support.web.services import TOKENS, VIEWER, serving, serving_program

pytestmark = pytest.mark.processes


@pytest.fixture
def storage_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/s.db"


def test_a_followed_log_ends_with_its_attempt_and_errors_come_before_the_stream(
    storage_url: str, tmp_path: Path
) -> None:
    created(storage_url)
    database = LocalClient(resolve(storage_url))
    worker = start_worker(storage_url, seconds=1.0)
    try:
        with serving(storage_url, folder=tmp_path, tokens=TOKENS) as service:
            key = wait_until(lambda: database.ask(STATUS, SweepArgs(name="s")).workers, "no worker came")[0].task
            path = f"/api/v1/sweeps/s/tasks/{key.replace('#', '%23')}/log?follow=true"
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
            connection.request("GET", path, headers={"Authorization": f"Bearer {VIEWER}"})
            answer = connection.getresponse()
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            assert answer.headers["Cache-Control"] == "no-store"
            lines = list(Client(service.url, VIEWER).follow("s", key))
            assert lines[0].startswith(f"==> {key} attempt 1: running, worker ")
            row = next(row for row in database.ask(TRIALS, TrialsArgs(name="s")) if row.task == key)
            assert row.state == "done", "it ended with the attempt, and not before"
            assert Client(service.url, VIEWER).log("s", key)[0].startswith(f"==> {key} attempt 1: done")
            stream = list(events(line.decode().rstrip("\r\n") for line in answer))
            connection.close()
            assert {event.kind for event in stream} == {"message", "end"}
            assert stream[-1].kind == "end"
            missing = service.ask("/api/v1/sweeps/s/tasks/nothing/log?follow=true", token=VIEWER)
            assert (missing.status, json.loads(missing.body)["exit_code"]) == (404, 1)
            assert service.ask("/api/v1/sweeps/s/tasks/nothing/log?follow=true").status == 401
    finally:
        worker.kill()
        worker.join(10)


def test_stopping_the_service_ends_its_streams_and_itself(storage_url: str, tmp_path: Path) -> None:
    created(storage_url)
    with serving_program(storage_url, folder=tmp_path, tokens=TOKENS) as service:
        worker = start_worker(storage_url, seconds=60.0)
        try:
            database = LocalClient(resolve(storage_url))
            running, *_ = wait_until(lambda: database.ask(STATUS, SweepArgs(name="s")).workers, "no worker came")
            lines = Client(service.url, VIEWER).follow("s", running.task)
            assert "running" in next(lines)
            assert service.process is not None
            arguments = Path(f"/proc/{service.process.pid}/cmdline")
            assert not arguments.exists() or VIEWER.encode() not in arguments.read_bytes()
            service.process.send_signal(signal.SIGINT)
            with pytest.raises(SweepError, match=r"before the attempt ended|cannot use the service"):
                list(lines)
            assert service.process.wait(20) == 130
            assert "Traceback" not in service.log
        finally:
            worker.kill()
            worker.join(10)
