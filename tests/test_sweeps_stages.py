"""What a worker does with real training: damaged results are made again, and its memory stays the same."""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from small_sweeps import SMALL, created, wait_until

from storage import blobs, records, schema, tasks
from storage import engine as engines
from storage.errors import BlobCorrupt
from storage.tasks import Claim
from storage.transaction import write
from sweeps import control
from sweeps.space import given_params
from sweeps.spec import Spec, override
from sweeps.stages import Outcome, StageRunner

MICRO = override(
    SMALL,
    {f"{role}.{key}": value for role in ("source", "target") for key, value in
     {"images": 64, "teacher_epochs": 1, "epochs": 1}.items()},
)  # fmt: skip


def _run_next(engine: sqlalchemy.Engine, spec: Spec, key: str, runner: Any) -> Outcome:
    """Claim tasks until the one named; run and finish that one, and give the others back."""
    sweep = records.find_sweep(engine, "s").id
    others: list[Claim] = []
    while True:
        claim = tasks.claim(engine, sweep, worker="w", host="h", pid=1, lease_s=600)
        assert claim is not None
        if claim.key == key:
            break
        others.append(claim)
    outcome: Outcome = runner(claim, given_params(engine, spec, claim), lambda: None)
    assert tasks.finish(engine, claim, outcome=outcome.values, score=outcome.score)
    for other in others:
        tasks.release(engine, other)
    return outcome


def test_teacher_logits_that_are_damaged_are_computed_again(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db", MICRO)
    engine = engines.open_engine(url)
    sweep = records.find_sweep(engine, "s")
    taught = _run_next(engine, MICRO, "teachers#source", StageRunner(engine, sweep.id, MICRO))
    good = blobs.get(engine, taught.values["blobs"]["logits"])
    this = schema.blobs.c.digest == taught.values["blobs"]["logits"]
    with write(engine) as connection:
        connection.execute(schema.blobs.update().where(this).values(bytes=good[: len(good) // 2]))
    with pytest.raises(BlobCorrupt):
        blobs.get(engine, taught.values["blobs"]["logits"])
    outcome = _run_next(engine, MICRO, "search#0", StageRunner(engine, sweep.id, MICRO))
    assert 0 < outcome.score <= 1
    assert blobs.get(engine, taught.values["blobs"]["logits"]) == good
    engine.dispose()


@pytest.mark.slow
@pytest.mark.skipif(platform.system() != "Linux", reason="reads the memory of a process from /proc")
def test_the_memory_of_a_worker_grows_less_than_a_tenth_of_a_megabyte_per_trial(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db", override(MICRO, {"search.trials": 1000, "lease.grace_s": 60}))
    engine = engines.open_engine(url)
    sweep = records.find_sweep(engine, "s")
    environment = os.environ | {"KD_SWEEPS_STORAGE": str(url), "XDG_STATE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "sweeps.cli", "worker", "s"]
    worker = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def done() -> int:
        counts = {phase.name: phase.counts for phase in records.phase_records(engine, sweep.id)}
        return counts["search"].get("done", 0)

    megabytes = []
    for trials in (50, 1000):
        wait_until(lambda trials=trials: done() >= trials or worker.poll() is not None, f"{done()} trials", 900)
        assert worker.poll() is None
        status = Path(f"/proc/{worker.pid}/status").read_text()
        megabytes.append(int(status.split("VmRSS:")[1].split()[0]) / 1024)
    control.cancel(url, "s")
    worker.send_signal(signal.SIGTERM)
    worker.wait(30)
    engine.dispose()
    growth = (megabytes[1] - megabytes[0]) / 950
    print(f"RSS {megabytes[0]:.0f} MB after 50 trials, {megabytes[1]:.0f} MB after 1,000: {growth:.4f} MB per trial")
    assert growth < 0.1
