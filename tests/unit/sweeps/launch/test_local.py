"""Workers on this machine: writing to their standard input never blocks."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.url import resolve
from sweeps.launch.engine import Request
from sweeps.launch.local import LocalEngine, LocalWorker
from tests.support.sweeps.small_sweeps import wait_until

pytestmark = pytest.mark.processes


@pytest.fixture
def sleeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalWorker]:
    """Start a worker that never reads its standard input."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (worker,) = LocalEngine(Request(resolve(f"sqlite:///{tmp_path}/s.db"), "s")).start([0], 0)
    yield worker
    worker.kill()


def test_waking_a_worker_that_does_not_read_or_has_ended_does_not_block(sleeper: LocalWorker) -> None:
    for _ in range(200_000):  # a pipe holds 65,536
        sleeper.wake()
    sleeper.send(signal.SIGKILL)
    wait_until(lambda: sleeper.code is not None, "it does not end")
    sleeper.wake()
    sleeper.end_children()
    sleeper.wake()
