"""Sweeps on a database that fails under load: real workers and servers, nothing lost or doubled."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import IO, Any

import pytest

from storage.errors import NotAStorage
from sweeps.plan.jobs import AnyJob
from sweeps.spec.model import Spec, override
from sweeps.trainers.protocol import Steps
from sweeps.workers.runner import Outcome
from sweeps.workers.worker import run_worker
from tests.support.faults.crews import Nursery
from tests.support.faults.database_faults import Cuts, LockedFile, Outage, is_under_way
from tests.support.faults.storms import Count, Course, count, new_storm, storm_spec, work_through
from tests.support.launches import environment, start_launch
from tests.support.paths import REPOSITORY
from tests.support.postgres_server import PASSWORD, PostgresServer
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL, created, wait_until

WORKERS = 4

SHORT = storm_spec(**{"search.trials": 4, "transfer.seeds": 1})
LONG = storm_spec()


def under(url: str, spec: Spec, fault: Any, log: IO[bytes]) -> tuple[Course, Count]:
    """Run a sweep with four processes while `fault` disturbs the database; return its course and counts."""
    new_storm(url, spec)
    crew = Nursery(url, log=log)
    try:
        course = work_through(crew, workers=WORKERS, fault=fault)
    finally:
        crew.close()
    books = count(url)
    print(
        f"\n{type(fault).__name__}: {books.tasks} tasks, {fault.injected} faults, {books.lost} lost,"
        f" {books.duplicated} duplicated, {books.attempts} attempts, {course.seconds:.1f} s"
    )
    return course, books


def check(course: Course, books: Count, log: Path) -> None:
    """Check that no worker gave up, nothing is lost or doubled, and the log has no traceback and no password."""
    assert course.exits == {0: WORKERS}, log.read_text()
    assert books.clean, (books, log.read_text())
    text = log.read_text()
    assert PASSWORD not in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("seconds", "mode"),
    [
        (1.5, "immediate"),
        pytest.param(20.0, "immediate", marks=pytest.mark.slow),
        pytest.param(20.0, "fast", marks=pytest.mark.slow),
    ],
)
def test_a_server_stopped_under_load_and_started_again_loses_nothing(
    server: PostgresServer, tmp_path: Path, seconds: float, mode: Any
) -> None:
    url = server.new_database()
    outage = Outage(server, url, seconds=seconds, mode=mode)
    with (tmp_path / "log").open("wb") as log:
        course, books = under(url, SHORT if seconds < 5 else LONG, outage, log)
    assert outage.injected == 1, "the sweep ended before the fault"
    check(course, books, tmp_path / "log")


@pytest.mark.parametrize(
    ("spec", "pause_s", "least"), [(SHORT, 0.15, 5), pytest.param(LONG, 0.08, 40, marks=pytest.mark.slow)]
)
def test_connections_cut_at_random_for_the_whole_run_lose_nothing(
    server: PostgresServer, tmp_path: Path, spec: Spec, pause_s: float, least: int
) -> None:
    url = server.new_database()
    cuts = Cuts(server, url, pause_s=pause_s)
    with (tmp_path / "log").open("wb") as log:
        course, books = under(url, spec, cuts, log)
    print(f"{cuts.inside} of them inside a transaction")
    assert cuts.injected >= least
    check(course, books, tmp_path / "log")


@pytest.mark.parametrize("seconds", [1.5, pytest.param(20.0, marks=pytest.mark.slow)])
def test_a_file_locked_by_another_process_under_load_loses_nothing(tmp_path: Path, seconds: float) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    lock = LockedFile(url, seconds=seconds)
    with (tmp_path / "log").open("wb") as log:
        course, books = under(url, SHORT if seconds < 5 else LONG, lock, log)
    assert lock.injected == 1, "the sweep ended before the fault"
    check(course, books, tmp_path / "log")


IMPATIENT = """
    import sys
    import storage.db.transaction
    storage.db.transaction.RETRY_FOR_S = 0.5  # before the modules that use it
    storage.db.transaction.RESULT_RETRY_FOR_S = 1.0
    from tests.support.sweeps.quadratic_worker import quadratic
    from sweeps.cli.app import main
    from sweeps.workers.worker import Worker

    Worker._task_runner = lambda self: lambda claim, params, on_step: quadratic(claim, params, on_step, seconds=0.05)
    sys.argv = ["kd-sweeps", "worker", "storm"]
    main()
"""


def test_a_lost_database_ends_the_worker_with_one_line_that_says_what_to_type(
    server: PostgresServer, tmp_path: Path
) -> None:
    """With the waiting times cut from 60 and 600 s to 0.5 and 1 s; the command itself is the real one."""
    url = server.new_database()
    new_storm(url, SHORT)
    environ = os.environ | {"KD_SWEEPS_STORAGE": url, "PYTHONPATH": str(REPOSITORY), "XDG_STATE_HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(IMPATIENT)], env=environ, stderr=subprocess.PIPE, text=True
    ) as worker:
        while not is_under_way(url):
            assert worker.poll() is None
            time.sleep(0.02)
        server.stop("immediate")
        try:
            _, err = worker.communicate(timeout=60)
        finally:
            worker.kill()
            server.start()
    lines = err.splitlines()
    assert worker.returncode == 1, err
    assert lines[-1].startswith("kd-sweeps: cannot use postgresql"), err
    assert lines[-1].endswith("check that it is up, and type the command again, or name another with --storage URL")
    assert "Traceback" not in err
    assert PASSWORD not in err


def test_a_launch_whose_file_was_replaced_ends_with_one_line_and_does_not_claim_to_be_finished(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db", override(SMALL, {"search.trials": 16}))
    created(f"sqlite:///{tmp_path}/other.db")
    process = start_launch(environment(tmp_path / "home", url, "time.sleep(0.3)"), workers=1)
    wait_until(lambda: is_under_way(f"sqlite:///{tmp_path}/s.db"), "no task was begun")
    (tmp_path / "other.db").replace(tmp_path / "s.db")
    err = process.communicate(timeout=60)[0]
    assert process.returncode == 1, err
    assert "s.db was replaced" in err.splitlines()[-1]
    for wrong in ("finished", "Traceback", "free again", "takes its place"):
        assert wrong not in err, err


def test_a_worker_whose_file_was_moved_ends_during_its_task(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db")

    def run(claim: AnyJob, params: dict[str, Any], on_step: Steps) -> Outcome:
        (tmp_path / "s.db").rename(tmp_path / "kept.db")
        return quadratic(claim, params, on_step, seconds=30)

    begun = time.monotonic()
    with pytest.raises(NotAStorage, match="removed or moved away"):
        run_worker(url, "s", run=run)
    assert time.monotonic() - begun < 15
