"""The report: rows by tasks, n=1 without an interval, what is missing said in its place."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kd.errors import Unavailable
from storage.queue.tasks import Claim
from storage.url import resolve
from sweeps import report
from sweeps.service.create import create_sweep
from sweeps.spec.model import override
from sweeps.spec.presets import preset
from sweeps.workers.runner import Outcome
from sweeps.workers.worker import Worker
from tests.support.paths import REPOSITORY
from tests.support.sweeps.quadratic_worker import quadratic


def _quadratic_until(stop_at: str) -> Callable[..., Outcome]:
    """The quadratic runner, until the worker comes to a task whose key starts so."""

    def run(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.key.startswith(stop_at):
            raise SystemExit(9)
        if claim.stage == "baselines":
            raise Unavailable("no ImageNet weights; type: export KERAS_HOME=DIR")
        return quadratic(claim, params, on_step)

    return run


@pytest.fixture
def worked(tmp_path: Path) -> Callable[..., str]:
    """Create a sweep "s" and work on it until a task; gives the storage's URL."""

    def work(stop_at: str, **changes: Any) -> str:
        url = f"sqlite:///{tmp_path}/a.db"
        create_sweep(resolve(url), "s", override(preset("tiny"), changes))
        with Worker(resolve(url), "s", run=_quadratic_until(stop_at)) as worker:
            if stop_at == "never":
                assert worker.work() == 0
            else:
                with pytest.raises(SystemExit):
                    worker.work()
        return url

    return work


def test_one_seed_is_printed_as_n_1_without_an_interval(worked: Callable[..., str]) -> None:
    text = report("s", storage=worked("never", **{"transfer.seeds": 1, "confirm.seeds": 1}))
    (row,) = [line for line in text.splitlines() if line.startswith("| native (")]
    assert row.count("(n=1)") == 2
    assert "±" not in row
    assert "(n=1, no interval)" in text
    assert "validation " in text


def test_a_baseline_that_cannot_run_is_a_row_that_says_why(worked: Callable[..., str]) -> None:
    text = report("s", storage=worked("never"))
    (row,) = [line for line in text.splitlines() if line.startswith("| mobilenet")]
    assert "unavailable: no ImageNet weights; type: export KERAS_HOME=DIR" in row


def test_regret_and_differences_are_paired_by_seed(worked: Callable[..., str]) -> None:
    text = report("s", storage=worked("never"))
    # In this world the score does not depend on the seed, so every paired difference is exact.
    (regret,) = [line for line in text.splitlines() if line.startswith("| regret = native - best | digits-rgb")]
    assert regret.endswith("(n=5) |")
    assert sum(line.startswith("| best - ") for line in text.splitlines()) == 6


def test_a_report_half_way_says_what_is_not_there_yet(worked: Callable[..., str]) -> None:
    text = report("s", storage=worked("native.search#3"))
    assert "`native` (tuned on digits-rgb): not confirmed yet" in text
    assert "`best` (tuned on digits): T = " in text
    assert "0 of 5 done" in text
    assert "| regret = native - best | digits-rgb | not yet |" in text


def test_the_function_report_stays_when_the_room_report_is_loaded() -> None:
    program = "import sweeps; from sweeps.report import page; from sweeps import report; assert callable(report)"
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)
