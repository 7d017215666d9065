"""Lists of sweeps and of tasks: one row each, with the results so far."""

from pathlib import Path

import pytest

from storage.errors import RecordBroken
from sweeps.errors import SpecError
from sweeps.query.listing import SweepRow, as_columns, open_sweep, sweep_rows, trial_rows
from sweeps.spec.model import override
from sweeps.usecases import steering
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.planted_sweeps import worked
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL


def test_every_task_has_a_row_with_its_known_values(tmp_path: Path) -> None:
    url = worked(f"sqlite:///{tmp_path}/a.db", SMALL, quadratic, stop_at="search#2")
    with open_sweep(url, "s") as (engine, sweep):
        rows = {row.task: row for row in trial_rows(engine, sweep)}
        (sweep_row,) = sweep_rows(engine)
        assert {row.stage for row in trial_rows(engine, sweep, "native")} == {"native"}
        with pytest.raises(SpecError, match=r"--stage: got 'dreams'; allowed: teachers, search"):
            trial_rows(engine, sweep, "dreams")
    done, running, waiting = rows["search#1"], rows["search#2"], rows["transfer#target.native.0"]
    assert (done.state, done.dataset, done.attempt, done.worker is None) == ("done", "digits", 1, False)
    assert (done.score is None, done.test_accuracy) == (False, None)
    assert None not in (done.temperature, done.alpha, done.train_s, done.cpu_s, done.trial)
    assert (running.state, running.score) == ("running", None)
    assert (waiting.state, waiting.arm, waiting.dataset, waiting.trial) == ("waiting", "native", "digits-rgb", None)
    assert rows["baselines#mobilenet"].arm == "mobilenet"
    assert (rows["measure#all"].dataset, rows["measure#all"].seed) == (None, None)
    finished = sum(row.state == "done" for row in rows.values())
    assert sweep_row == SweepRow(
        name="s", source="digits", target="digits-rgb", state="active", done=finished, tasks=len(rows)
    )


def test_a_sweep_whose_tasks_have_all_ended_is_listed_as_finished_unless_paused(tmp_path: Path) -> None:
    url = worked(f"sqlite:///{tmp_path}/a.db", SMALL, quadratic)
    with open_sweep(url, "s") as (engine, _):
        assert [row.state for row in sweep_rows(engine)] == ["finished"]
    steering.pause(url, "s")
    with open_sweep(url, "s") as (engine, _):
        assert [row.state for row in sweep_rows(engine)] == ["paused"]


def test_accuracies_are_listed_once_the_look_at_their_dataset_is_complete(tmp_path: Path) -> None:
    spec = override(SMALL, {"transfer.seeds": 2})
    half = worked(f"sqlite:///{tmp_path}/half.db", spec, quadratic, stop_at="transfer#target.native.1")
    whole = worked(f"sqlite:///{tmp_path}/whole.db", spec, quadratic)
    for url, datasets in ((half, {"digits"}), (whole, {"digits", "digits-rgb"})):
        with open_sweep(url, "s") as (engine, sweep):
            rows = trial_rows(engine, sweep, "transfer")
        ended = [row for row in rows if row.state == "done"]
        assert {row.dataset for row in ended} == {"digits", "digits-rgb"}
        assert {row.dataset for row in ended if row.test_accuracy is not None} == datasets


def test_an_edited_payload_gives_an_error_that_names_its_task(tmp_path: Path) -> None:
    url = worked(f"sqlite:///{tmp_path}/a.db", SMALL, quadratic, stop_at="teachers")
    execute(str(url), """UPDATE tasks SET payload = '{"role": "source"}' WHERE key = 'search#1'""")
    with (
        open_sweep(url, "s") as (engine, sweep),
        pytest.raises(RecordBroken, match=r"the stored payload of search#1 was edited: seed is missing"),
    ):
        trial_rows(engine, sweep)


def test_an_arm_trained_with_kd_has_no_parameter_of_another_loss(tmp_path: Path) -> None:
    spec = override(
        SMALL,
        {
            "training.distillation": "dkd",
            "search.space": {"nontarget_weight": [1, 8], "learning_rate": [0.001, 0.01]},
            "transfer.source_arms": ["best", "scratch", "default-keras", "label-smoothing"],
        },
    )
    url = worked(f"sqlite:///{tmp_path}/a.db", spec, quadratic, stop_at="transfer#target")
    with open_sweep(url, "s") as (engine, sweep):
        rows = trial_rows(engine, sweep)
    parameters = {row.arm: set(row.more) for row in rows if row.stage == "transfer" and row.state == "done"}
    both, plain = {"nontarget_weight", "learning_rate"}, {"default-keras", "label-smoothing"}
    assert {"best", "scratch", "scratch-tuned", "default-paper", *plain} == set(parameters)
    assert parameters == {arm: {"learning_rate"} if arm in plain else both for arm in parameters}
    assert {tuple(sorted(row.more)) for row in rows if row.stage == "search"} == {tuple(sorted(both))}
    assert all(set(line) >= both for line in as_columns(rows)), "every row has the same columns"
