"""A worker whose holder is gone stops as after SIGTERM, and gives its task back."""

import subprocess
import sys
from pathlib import Path

import pytest

from storage.db.engine import open_engine
from storage.records import queries
from storage.records.queries import attempts_of
from sweeps.workers.heartbeat import PARENT_PIPE_VARIABLE
from tests.support.launches import environment
from tests.support.sweeps.small_sweeps import SMALL, created, wait_until

pytestmark = pytest.mark.processes

BUSY = "while True:\n    steps()\n    time.sleep(0.01)"


@pytest.mark.parametrize("held", [True, False])
def test_only_a_worker_that_is_held_ends_with_its_standard_input(held: bool, tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db", SMALL)
    env = environment(tmp_path / "home", url, BUSY) | ({PARENT_PIPE_VARIABLE: "stdin"} if held else {})
    worker = subprocess.Popen(
        [sys.executable, "-m", "sweeps.cli", "worker", "s"], env=env, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    engine = open_engine(url)
    try:
        sweep = queries.find_sweep(engine, "s").id
        wait_until(lambda: bool(queries.running_tasks(engine, sweep)), "it took no task")
        (task,) = queries.running_tasks(engine, sweep)
        assert worker.stdin
        worker.stdin.close()
        if held:
            assert worker.wait(30) == 143
            attempts = attempts_of(engine, sweep, task.key)
            assert attempts is not None
            assert [one.error_class for one in attempts] == [None], "it counts as a failure"
            assert not queries.running_tasks(engine, sweep)
        else:
            with pytest.raises(subprocess.TimeoutExpired):
                worker.wait(1)
            assert queries.running_tasks(engine, sweep)
    finally:
        worker.kill()
        worker.wait()
        engine.dispose()
