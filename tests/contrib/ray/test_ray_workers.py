"""Workers on a real Ray cluster of one machine, whose actors are killed: no task is lost, and no process is left."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import Engine

from storage.db.engine import opened_engine
from storage.queue import workers
from storage.records import queries
from storage.records.queries import attempts_of
from storage.url import plain, resolve
from sweeps.contrib.ray.engine import RayEngine
from sweeps.spec.model import Spec, override
from tests.support.faults.ray_cluster import RayCluster, running_cluster
from tests.support.faults.storms import count, new_storm, storm_spec
from tests.support.launches import environment
from tests.support.postgres_server import PASSWORD, PostgresServer
from tests.support.processes import parent_of, wait_until_gone
from tests.support.sweeps.planted_sweeps import answer_of, worked
from tests.support.sweeps.small_sweeps import SMALL, created, draw, wait_until
from tests.support.web.services import TOKENS, WORKER, serving

pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed; type: pip install ray"),
]

# The lease of the presets outlasts these tests, so a task that is free again was freed by the launch.
CALM = {"lease.interval_s": 10, "lease.grace_s": 50}
KILLS = 6

# Tasks that run as long as a file exists, and can be released at any time.
HELD = """
while (HOME / "hold").exists():
    steps()
    time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def cluster(home: Path) -> Iterator[RayCluster]:
    with running_cluster(environment(home, resolve("postgresql://given@by/launch"), HELD)) as running:
        yield running


@contextlib.contextmanager
def launch(
    cluster: RayCluster, url: str, *options: str, workers: int = 2, service: str = ""
) -> "Iterator[subprocess.Popen[str]]":
    """Yield a launch on the cluster, as the job of a separate shell, so that Ctrl-C reaches every process.

    service: the URL of one, instead of the database.
    """
    reached = {"KD_SWEEPS_STORAGE": "" if service else plain(resolve(url))}
    process = subprocess.Popen(
        [
            sys.executable, "-m", "sweeps.cli", "launch", "s", "--on", "ray", "--workers", str(workers),
            *(["--url", service] if service else []), "--", *(options or (f"--address={cluster.address}",)),
        ],
        env=cluster.env | reached | ({"KD_SWEEPS_TOKEN": WORKER} if service else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def sweep_of(url: str, spec: Spec) -> Iterator[tuple[Engine, int]]:
    new_storm(url, spec, name="s")
    with opened_engine(resolve(url), read_only=False) as engine:
        yield engine, queries.find_sweep(engine, "s").id


@pytest.fixture
def held(home: Path) -> Iterator[None]:
    (home / "hold").touch()
    yield
    (home / "hold").unlink(missing_ok=True)


def test_200_tasks_are_done_exactly_although_actors_are_killed_and_no_file_of_ray_holds_the_password(
    cluster: RayCluster, server: PostgresServer, home: Path
) -> None:
    url = server.new_database()
    with sweep_of(url, storm_spec(**CALM)) as (engine, sweep), launch(cluster, url) as process:
        killed: list[tuple[str, int, int]] = []  # worker, its process, that of its actor
        finished = {record.name: record.done for record in workers.records(engine, sweep)}

        def victim() -> tuple[str, int, int] | None:
            assert process.poll() is None, process.communicate()[0]
            before = {name for name, _, _ in killed}
            finished.update((record.name, record.done) for record in workers.records(engine, sweep))
            at_work = [task for task in queries.running_tasks(engine, sweep) if task.worker not in before]
            # A worker without a finished task counts as dead at its start; three such in a row end the launch.
            chosen = next((task for task in at_work if finished.get(task.worker, 0) > 3), None)
            return chosen and (chosen.worker, chosen.pid, parent_of(chosen.pid))

        for number in range(KILLS):
            name, _, actor = chosen = wait_until(victim, "no worker to be killed", 120)
            killed.append(chosen)
            if number % 2:
                os.kill(actor, signal.SIGKILL)
            else:
                assert cluster.kill_actor(name)
        out, _ = process.communicate(timeout=240)
        assert process.returncode == 0, out
        books = count(url, name="s")
        print(f"\n{KILLS} actors killed: {books}\n{out}")
        assert (books.tasks, books.done) == (200, 200)
        assert books.clean, books
        lost = [
            attempt
            for task in queries.task_records(engine, sweep)
            for attempt in attempts_of(engine, sweep, task.key) or []
            if attempt.state == "lost"
        ]
    assert lost, "every kill came between two tasks, so the test proved nothing"
    assert {attempt.worker for attempt in lost} <= {name for name, _, _ in killed}
    assert all("its process died" in str(attempt.reason) for attempt in lost), "the launch waited for the lease"
    assert out.count("its task is back in the queue; starting another") == KILLS
    assert out.count("Ray: The actor is dead because") == KILLS
    assert not [line for line in out.splitlines() if "raylet" in line or "(pid=" in line or "WARNING" in line]
    wait_until_gone(*(pid for _, pid, _ in killed))
    files = [path for path in [*cluster.folder.rglob("*"), *home.rglob("*")] if path.is_file()]
    assert any("raylet" in path.name for path in files)
    assert any(path.name.startswith("ray-") for path in files)
    secrets = [PASSWORD.encode(), quote(PASSWORD, safe="").encode()]
    assert not [path for path in files if any(secret in path.read_bytes() for secret in secrets)]


def test_actors_without_a_database_give_the_same_answer_through_a_service(cluster: RayCluster, tmp_path: Path) -> None:
    spec, url = override(SMALL, CALM), f"sqlite:///{tmp_path}/s.db"
    answer = answer_of(worked(f"sqlite:///{tmp_path}/calm.db", spec))
    created(url, spec)
    with serving(url, folder=tmp_path, tokens=TOKENS) as service, launch(cluster, url, service=service.url) as process:
        out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out
    assert answer_of(url) == answer is not None
    draw(resolve(url), "s")
    assert count(url, name="s").clean
    files = [path for path in cluster.folder.rglob("*") if path.is_file()]
    assert WORKER not in out + service.log
    assert not [path for path in files if WORKER.encode() in path.read_bytes()]


def test_ctrl_c_returns_the_tasks_and_leaves_no_actor(cluster: RayCluster, server: PostgresServer, held: None) -> None:
    url = server.new_database()
    with sweep_of(url, SMALL) as (engine, sweep), launch(cluster, url) as process:
        wait_until(lambda: len(queries.running_tasks(engine, sweep)) == 2, "two workers did not start", 120)
        at_work = queries.running_tasks(engine, sweep)
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 130, out
        assert "stopped; nothing is lost. To resume: kd-sweeps launch s" in out
        assert not queries.running_tasks(engine, sweep)
        for task in at_work:
            (attempt,) = attempts_of(engine, sweep, task.key) or []
            assert attempt.error_class is None, "it counts as a failure"
        wait_until_gone(*(task.pid for task in at_work))


def test_when_the_launch_itself_is_killed_its_workers_stop(
    cluster: RayCluster, server: PostgresServer, held: None
) -> None:
    url = server.new_database()
    with sweep_of(url, SMALL) as (engine, sweep), launch(cluster, url) as process:
        wait_until(lambda: len(queries.running_tasks(engine, sweep)) == 2, "two workers did not start", 120)
        at_work = queries.running_tasks(engine, sweep)
        process.kill()
        wait_until_gone(*(task.pid for task in at_work))
        wait_until(lambda: not queries.running_tasks(engine, sweep), "a task was not released")


def test_workers_without_room_on_any_node_wait_and_the_launch_says_so(
    cluster: RayCluster, server: PostgresServer
) -> None:
    url = server.new_database()
    with (
        sweep_of(url, SMALL),
        launch(cluster, url, f"--address={cluster.address}", "--num-cpus=64", workers=1) as process,
    ):
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(3)]  # the last one is the progress
        assert "no node of this Ray cluster has CPU 64 for a worker (most: 4)" in lines[1]
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 143
        assert time.monotonic() - began < RayEngine.stop_s, "a worker was not told to stop"


def test_a_worker_that_waits_for_room_ends_with_the_sweep_unstarted(
    cluster: RayCluster, server: PostgresServer
) -> None:
    url = server.new_database()
    with (
        sweep_of(url, SMALL) as (engine, sweep),
        launch(cluster, url, f"--address={cluster.address}", "--num-cpus=4", workers=5) as process,
    ):
        out, _ = process.communicate(timeout=240)
        assert process.returncode == 0, out
        assert len(workers.records(engine, sweep)) == 1


def test_a_missing_cluster_is_reported_in_one_line(cluster: RayCluster, server: PostgresServer) -> None:
    url = server.new_database()
    with sweep_of(url, SMALL), launch(cluster, url, "--address=127.0.0.1:1") as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert len(out.splitlines()) == 2, out
    assert "no Ray cluster at 127.0.0.1:1 can be used: [Errno 111] Connection refused; start one: ray start" in out
