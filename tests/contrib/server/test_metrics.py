"""The metrics, parsed as Prometheus does, against the storage."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from storage.db.engine import open_engine, opened_engine
from storage.queue import tasks
from storage.queue.tasks import reap
from storage.url import resolve
from sweeps.operations.operation import LocalClient
from sweeps.operations.table import STATUS, TRIALS, SweepArgs, TrialsArgs
from tests.support.sweeps import reported_sweeps
from tests.support.sweeps.small_sweeps import created
from tests.support.sweeps.storage_sweeps import lapse


def read(url: str, *names: str) -> dict[tuple[str, ...], float]:
    """Return every sample: (name, value of each label) -> value."""
    from sweeps.contrib.server import metrics
    from sweeps.contrib.server.state import serve_database

    served = serve_database(resolve(url), frozenset(names) or None, allow_code=False)
    text = metrics.text(served).decode()
    served.database.close()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_finished_sweep_is_counted(tmp_path: Path) -> None:
    storage_url = reported_sweeps.worked(tmp_path)
    metrics, database = read(storage_url), LocalClient(resolve(storage_url))
    for stage, count in database.ask(STATUS, SweepArgs(name="s")).stages.items():
        for state in ("done", "waiting", "running", "failed", "cancelled", "skipped", "unavailable"):
            assert metrics["kd_sweeps_tasks", stage, state, "s"] == getattr(count, state)
    trials = [row for row in database.ask(TRIALS, TrialsArgs(name="s")) if row.stage == "search"]
    assert metrics["kd_sweeps_best_score", "s"] == max(row.score or 0.0 for row in trials)
    assert metrics["kd_sweeps_task_seconds_count", "search", "s"] == len(trials)
    assert metrics["kd_sweeps_task_seconds_bucket", "+Inf", "search", "s"] == len(trials)
    assert metrics["kd_sweeps_task_seconds_sum", "search", "s"] > 0
    buckets = [value for key, value in metrics.items() if key[0].endswith("_bucket") and key[2] == "search"]
    assert buckets == sorted(buckets)
    assert metrics["kd_sweeps_workers", "ended", "s"] == 1
    assert metrics["kd_sweeps_workers", "working", "s"] == 0
    assert metrics["kd_sweeps_retries_total", "s"] == metrics["kd_sweeps_lost_leases_total", "s"] == 0


def test_retries_and_losses_are_counted_and_a_diverged_score_is_not_the_best(storage_url: str) -> None:
    url = created(storage_url)
    created(storage_url, name="other")
    engine = open_engine(url)
    sweep = LocalClient(url)
    with sweep.open("s") as (_, record):
        sweep_id = record.id
    first = tasks.claim(engine, sweep_id, worker="w", host="h", pid=1, lease_s=60)
    assert first is not None
    lapse(engine, first)
    assert reap(engine, sweep_id, cap=3, lease_s=1)
    second = tasks.claim(engine, sweep_id, worker="w", host="h", pid=1, lease_s=60)
    assert second is not None
    engine.dispose()
    metrics = read(storage_url)
    assert metrics["kd_sweeps_lost_leases_total", "s"] == 1
    assert metrics["kd_sweeps_retries_total", "s"] == (1 if second.key == first.key else 0)
    assert metrics["kd_sweeps_tasks", "teachers", "running", "s"] == 1
    assert ("kd_sweeps_best_score", "s") not in metrics
    assert metrics["kd_sweeps_lost_leases_total", "other"] == 0
    assert not [key for key in read(storage_url, "other") if "s" in key[1:]]


def test_an_unreadable_spec_hides_no_other_sweep(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = created(f"sqlite:///{tmp_path / 's.db'}")
    created(str(url), name="other")
    with opened_engine(url, read_only=False) as engine, engine.begin() as connection:
        connection.exec_driver_sql("UPDATE sweeps SET spec = '{}' WHERE name = 'other'")
    names = {key[-1] for key in read(str(url))}
    assert "s" in names
    assert "other" not in names
    assert "other has no metrics" in caplog.text
