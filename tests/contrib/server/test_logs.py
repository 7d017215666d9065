"""The log of a task by events, while a real worker is at it."""

import http.client
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.url import resolve
from sweeps.contrib.server.client import HttpClient as Client
from sweeps.contrib.server.client import events
from sweeps.errors import SweepError
from sweeps.operations.operation import LocalClient
from tests.support.sweeps.small_sweeps import created, start_worker, wait_until
from tests.support.web.services import TOKENS, VIEWER, Service, serving, serving_program

pytestmark = pytest.mark.processes


@pytest.fixture
def storage_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/s.db"


@pytest.fixture
def service(storage_url: str, tmp_path: Path) -> Iterator[Service]:
    """A service on a sweep "s" that a worker begins."""
    created(storage_url)
    with serving(storage_url, folder=tmp_path, tokens=TOKENS) as service:
        worker = start_worker(storage_url, seconds=2.0)
        try:
            yield service
        finally:
            worker.kill()
            worker.join(10)


def test_a_log_that_is_followed_ends_with_its_attempt(service: Service, storage_url: str) -> None:
    database = LocalClient(resolve(storage_url))
    wait_until(lambda: bool(database.status("s").workers), "no worker came")
    key = database.status("s").workers[0].task
    lines = list(Client(service.url, VIEWER).follow("s", key))
    assert lines[0].startswith(f"==> {key} attempt 1: running, worker ")
    row = next(row for row in database.trials("s") if row.task == key)
    assert row.state == "done", "it ended with the attempt, and not before"
    assert Client(service.url, VIEWER).log("s", key)[0].startswith(f"==> {key} attempt 1: done")


def test_a_stream_has_its_own_kind_and_tells_problems_before_it_begins(service: Service, storage_url: str) -> None:
    wait_until(lambda: bool(LocalClient(resolve(storage_url)).status("s").workers), "no worker came")
    key = LocalClient(resolve(storage_url)).status("s").workers[0].task.replace("#", "%23")
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.request(
        "GET", f"/api/v1/sweeps/s/tasks/{key}/log?follow=true", headers={"Authorization": f"Bearer {VIEWER}"}
    )
    answer = connection.getresponse()
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "no-store"
    found = list(events(line.decode().rstrip("\r\n") for line in answer))
    connection.close()
    assert {event.kind for event in found} == {"message", "end"}
    assert found[-1].kind == "end"
    missing = service.ask("/api/v1/sweeps/s/tasks/nothing/log?follow=true", token=VIEWER)
    assert (missing.status, json.loads(missing.body)["exit_code"]) == (404, 1)
    assert service.ask("/api/v1/sweeps/s/tasks/nothing/log?follow=true").status == 401


def test_a_service_that_is_stopped_ends_what_is_followed_and_itself(storage_url: str, tmp_path: Path) -> None:
    created(storage_url)
    with serving_program(storage_url, folder=tmp_path) as service:
        worker = start_worker(storage_url, seconds=60.0)
        try:
            database = LocalClient(resolve(storage_url))
            wait_until(lambda: bool(database.status("s").workers), "no worker came")
            lines = Client(service.url).follow("s", database.status("s").workers[0].task)
            assert "running" in next(lines)
            assert service.process is not None
            service.process.send_signal(signal.SIGINT)
            with pytest.raises(SweepError, match=r"before the attempt has ended|cannot use the service"):
                list(lines)
            assert service.process.wait(20) == 130
            assert "Traceback" not in service.log
        finally:
            worker.kill()
            worker.join(10)
