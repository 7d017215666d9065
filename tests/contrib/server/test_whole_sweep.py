"""A real sweep that is made, watched, steered and read through HTTP alone, by workers that know the database alone."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes.test_end_to_end import MICRO
from tests.support.paths import REPOSITORY
from tests.support.postgres_server import PASSWORD, PostgresServer
from tests.support.web.services import OPERATOR, TOKENS, VIEWER, Service, serving_program

pytestmark = [pytest.mark.training, pytest.mark.slow]


@pytest.fixture
def service(server: PostgresServer, tmp_path: Path) -> Iterator[tuple[Service, str]]:
    """A service before an empty database of a real Postgres server, and the URL of that database."""
    url = server.new_database()
    with serving_program(url, folder=tmp_path, tokens=TOKENS) as service:
        yield service, url


def _worker(url: str, folder: Path) -> subprocess.Popen[str]:
    """A worker as on another machine: it is given the URL of the database by environment, and the name of the sweep."""
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KD_SWEEPS")} | {
        "KD_SWEEPS_STORAGE": url,
        "KD_SWEEPS_CACHE": str(folder / "cache"),
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [sys.executable, "-m", "sweeps.cli", "worker", "micro"]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def _until(true: Callable[[], bool], *workers: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 400
    while not true():
        assert time.monotonic() < deadline, "it took too long"
        assert all(worker.poll() in (None, 0) for worker in workers), "a worker failed"
        time.sleep(0.5)


def test_a_sweep_comes_to_its_verdict_through_http_alone(service: tuple[Service, str], tmp_path: Path) -> None:
    http, url = service
    asked = {"name": "micro", "preset": "tiny", "changes": MICRO}
    made = http.ask("/api/v1/sweeps", method="POST", token=OPERATOR, body=asked)
    assert made.status == 201, made.text
    sweep = made.headers["location"]
    early = http.ask(f"{sweep}/best", token=VIEWER)
    assert (early.status, early.json["exit_code"]) == (409, 3)
    workers = [_worker(url, tmp_path / name) for name in ("first", "second")]
    try:
        _until(lambda: http.ask(sweep, token=VIEWER).json["stages"]["teachers"]["done"] == 2, *workers)
        assert {one["state"] for one in http.ask(f"{sweep}/workers", token=VIEWER).json["items"]} <= {"working", "idle"}
        assert http.ask(f"{sweep}/pause", method="POST", token=OPERATOR).status == 200
        assert http.ask(sweep, token=VIEWER).json["state"] == "paused"
        assert http.ask(f"{sweep}/resume", method="POST", token=OPERATOR).json["tasks"] > 0
        assert http.ask("/api/v1/sweeps", method="POST", token=OPERATOR, body=asked).status == 200, "idempotent"
        _until(lambda: _ended(http, sweep), *workers)
        for worker in workers:
            _, err = worker.communicate(timeout=120)
            assert worker.returncode == 0, err
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
                worker.communicate()
    best = http.ask(f"{sweep}/best", token=VIEWER).json
    assert best["confirmed"] is True
    assert 1 <= best["best"]["point"]["temperature"] <= 20
    report = http.ask(f"{sweep}/report", token=VIEWER).json
    assert report["verdicts"][0]["verdict"]["word"] in ("TRANSFERS", "FAILS", "FLAT", "UNDECIDED")
    assert report["headline"]
    assert report["answer_hash"] == best["best"]["answer_hash"] is not None
    assert http.ask(f"{sweep}/audit", token=VIEWER).json["audit"]["violations"] == []
    assert "<!DOCTYPE html>" in http.ask(f"{sweep}/report?format=html", token=VIEWER).text
    log = http.ask(f"{sweep}/tasks/teachers%23source/log", token=VIEWER).text
    assert "==> teachers#source attempt 1: done" in log
    metrics = http.ask("/metrics", token=VIEWER).text
    assert 'kd_sweeps_tasks{stage="search",state="done",sweep="micro"} 4.0' in metrics
    assert 'kd_sweeps_workers{state="ended",sweep="micro"} 2.0' in metrics
    for secret in (VIEWER, OPERATOR, PASSWORD):
        assert secret not in http.log


def _ended(http: Service, sweep: str) -> bool:
    stages = http.ask(sweep, token=VIEWER).json["stages"].values()
    return not any(stage["waiting"] or stage["running"] for stage in stages)
