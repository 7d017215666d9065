"""Status: counts, workers with a live or lapsed lease, the estimated time left, what to type next."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kd.errors import Unavailable
from sweeps.cli.text import describe_status
from sweeps.distill.presets import on
from sweeps.errors import SweepError
from sweeps.operations.operation import plain
from sweeps.operations.table import STATUS
from sweeps.plan.jobs import AnyJob
from sweeps.plan.plan import STAGES
from sweeps.query.listing import TrialRow, open_sweep, sweep_rows, trial_rows
from sweeps.query.status import Fingerprints, StageCount, Status, Working, status
from sweeps.spec.model import SMOKE_TEST, Spec, override
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.runner import Outcome
from sweeps.workers.worker import Worker
from tests.support.sweeps.planted_sweeps import worked
from tests.support.sweeps.presets import before
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL, created

WORKING = Working(worker="w", host="h", task="search#1", attempt=2, lease_left_s=12.0, idle_s=1.0, limit_s=600.0)
RUNNING = Status(
    sweep="s",
    state="active",
    stages={stage: StageCount(done=1) for stage in STAGES},
    workers=(WORKING,),
    idle_workers=(),
    fraction=0.25,
    shares=dict.fromkeys(STAGES, 1 / len(STAGES)),
    seconds_left=150.0,
    problems=(),
    fingerprints=Fingerprints("0123456789ab", ("f00",)),
)


def test_status_has_the_running_worker_and_estimates_the_time_left(tmp_path: Path) -> None:
    url = worked(f"sqlite:///{tmp_path}/a.db", before("tiny"), quadratic, stop_at="native.search#2")
    with open_sweep(url, "s") as (engine, sweep):
        sweep_status = status(engine, sweep)
    # The worker vanished as if killed, so its lease is still live.
    assert [(worker.task, worker.alive) for worker in sweep_status.workers] == [("native.search#2", True)]
    assert sweep_status.seconds_left is not None
    assert sweep_status.seconds_left > 0
    assert 0 < sweep_status.fraction < 1
    assert "time left: about" in describe_status(sweep_status)
    values = plain(STATUS.kind, sweep_status)
    assert list(values) == [
        *("sweep", "state", "stages", "workers", "idle_workers", "fraction", "shares", "seconds_left", "problems"),
        *("fingerprints", "smoke_test"),
    ]
    assert values["stages"]["search"]["done"] == sweep_status.stages["search"].done == 8


def test_a_sweep_of_one_dataset_has_the_stage_compare_and_no_transfer(tmp_path: Path) -> None:
    spec = on(SMALL, source="digits", alone=True)
    with open_sweep(worked(f"sqlite:///{tmp_path}/a.db", spec, quadratic, stop_at="search#1"), "s") as (engine, sweep):
        stages = status(engine, sweep).display_stages
        (row,) = sweep_rows(engine)
    assert "compare" in stages
    assert not {"transfer", "native"} & set(stages)
    assert (row.source, row.target) == ("digits", None)


def test_trials_that_have_not_been_drawn_for_long_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = created(f"sqlite:///{tmp_path}/a.db", before("tiny"))
    with Worker(DatabaseBackend.open(url, "s"), run=quadratic) as worker:
        assert worker.work() == 0
    for seconds, number in ((60.0, 0), (0.0, worker.finished)):
        monkeypatch.setattr("sweeps.query.status._LONG_UNDRAWN_S", seconds)
        with open_sweep(url, "s") as (engine, sweep):
            assert status(engine, sweep).undrawn == number
    line = f"{number} trials are not in the dashboard yet; to add them: kd-sweeps reap s"
    assert line in describe_status(replace(RUNNING, undrawn=number))


@pytest.mark.parametrize(
    ("changes", "last"),
    [
        ({}, "time left: about 2 min (25 % done)"),
        ({"seconds_left": None}, "time left: unknown yet (25 % done)"),
        ({"seconds_left": 0.0}, "finished; next: kd-sweeps report s"),
        ({"workers": ()}, "no worker is running; next: kd-sweeps launch s"),
        (
            {"workers": (replace(WORKING, lease_left_s=-3.0),)},
            "no worker is running; next: kd-sweeps launch s (it takes over the tasks left)",
        ),
        ({"state": "paused"}, "the sweep is paused; to resume: kd-sweeps resume s, then kd-sweeps launch s"),
    ],
)
def test_the_last_line_is_what_to_type_next(changes: dict[str, object], last: str) -> None:
    assert describe_status(replace(RUNNING, **changes)).splitlines()[-1] == last  # type: ignore[arg-type]


def test_a_smoke_test_has_a_note() -> None:
    assert SMOKE_TEST in describe_status(replace(RUNNING, smoke_test=True)).splitlines()
    assert SMOKE_TEST not in describe_status(RUNNING)


def test_a_problem_is_printed_with_what_to_type() -> None:
    lines = describe_status(replace(RUNNING, problems=("baselines failed: no weights",))).splitlines()
    assert "baselines failed: no weights" in lines
    assert "to retry: kd-sweeps retry s, then kd-sweeps launch s" in lines
    assert "worker w: search#1 attempt 2, lease 12 s" in lines


def _ended(tmp_path: Path, spec: Spec, fail: Mapping[str, Exception]) -> tuple[Status, list[TrialRow]]:
    """Fail the tasks whose keys begin as given; return the status of the sweep and its tasks."""

    def run(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        for key, error in fail.items():
            if claim.key.startswith(key):
                raise error
        return quadratic(claim, params, on_step)

    with open_sweep(worked(f"sqlite:///{tmp_path}/a.db", spec, run), "s") as (engine, sweep):
        return status(engine, sweep), trial_rows(engine, sweep)


def _listed(tmp_path: Path) -> tuple[int, int, int]:
    """Return how many tasks of that sweep `list` counts as done, in all, and as unavailable."""
    with open_sweep(f"sqlite:///{tmp_path}/a.db", "s") as (engine, _):
        (row,) = sweep_rows(engine)
    return row.done, row.tasks, row.unavailable


def test_a_baseline_that_cannot_run_here_is_unavailable_and_the_sweep_is_finished(tmp_path: Path) -> None:
    sweep_status, rows = _ended(tmp_path, SMALL, {"baselines": Unavailable("no weights; type: export KERAS_HOME=DIR")})
    assert (sweep_status.stages["baselines"].unavailable, sweep_status.stages["baselines"].failed) == (1, 0)
    assert sweep_status.stages["baselines"].ended == sweep_status.stages["baselines"].total == 1
    assert (sweep_status.problems, sweep_status.seconds_left, sweep_status.fraction) == ((), 0.0, 1.0)
    assert _listed(tmp_path) == (len(rows) - 1, len(rows), 1)
    (row,) = [row for row in rows if row.state != "done"]
    assert (row.task, row.state) == ("baselines#mobilenet", "unavailable")
    assert row.reason == "no weights; type: export KERAS_HOME=DIR"
    lines = describe_status(sweep_status).splitlines()
    assert lines[0].split() == ["stage", "total", "waiting", "running", "done", "failed", "skipped", "unavailable"]
    assert [line.split()[1:] for line in lines if line.startswith("baselines")] == [["1", *"00000", "1"]]
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "finished; next: kd-sweeps report s"


def test_a_baseline_with_an_error_and_an_unavailable_teacher_have_failed(tmp_path: Path) -> None:
    mistakes = {"baselines": KeyError("a mistake"), "teachers#target": Unavailable("no weights")}
    sweep_status, rows = _ended(tmp_path, SMALL, mistakes)
    for stage in ("baselines", "teachers"):
        assert (sweep_status.stages[stage].unavailable, sweep_status.stages[stage].failed) == (0, 1)
    assert sweep_status.problems[0] == "teachers:target failed: no weights; tasks skipped because of it: 7"
    assert _listed(tmp_path) == (len(rows) - 1 - 1 - 7, len(rows), 0)


def test_a_failure_is_reported_once_with_the_number_of_tasks_it_skipped(tmp_path: Path) -> None:
    """Without a model to measure, the measurement does not count as a failure."""
    spec = override(before("quick"), {"baselines.methods": ["mobilenet"], "retry.error": 1})
    mistakes = {"teachers#source": KeyError("a mistake\nof two lines"), "teachers#target": KeyError("another")}
    mistakes |= {"baselines": Unavailable("no weights")}
    sweep_status, rows = _ended(tmp_path, spec, mistakes | {"measure": SweepError("no model was finished")})
    source, target = sweep_status.problems
    assert source.startswith("teachers:source failed: KeyError: 'a mistake")
    assert target.startswith("teachers:target failed: KeyError: 'another'; tasks skipped because of it: ")
    assert max(map(len, sweep_status.problems)) < 120
    skipped = [row for row in rows if row.state == "skipped"]
    assert sum(int(problem.rsplit(" ", 1)[1]) for problem in sweep_status.problems) == len(skipped)
    assert {row.reason.split(", which failed")[0] for row in skipped if row.reason} == {
        "needs teachers:source",
        "needs teachers:target",
    }


def test_a_failed_measurement_is_reported_next_to_another_failure(tmp_path: Path) -> None:
    mistakes = {"teachers#target": KeyError("a mistake"), "measure": RuntimeError("no converter")}
    sweep_status, _ = _ended(tmp_path, SMALL, mistakes)
    assert [problem.split(" failed")[0] for problem in sweep_status.problems] == ["teachers:target", "measure"]
