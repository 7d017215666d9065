"""`create`: idempotent, dry runs, datasets swapped or several."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.sweeps.typed_commands import files, write_npz

KdSweeps = Callable[..., tuple[int, str, str]]


def test_create_twice_changes_nothing_and_another_spec_is_refused_with_the_difference(kd_sweeps: KdSweeps) -> None:
    assert kd_sweeps("create", "s", "--preset", "tiny")[0] == 0
    before = json.loads(kd_sweeps("trials", "s", "-f", "json")[1])
    code, _, err = kd_sweeps("create", "s", "--preset", "tiny")
    assert (code, "already there, unchanged" in err) == (0, True)
    assert json.loads(kd_sweeps("trials", "s", "-f", "json")[1]) == before
    code, _, err = kd_sweeps("create", "s", "--preset", "tiny", "--trials", "9")
    assert code == 2
    assert "search.trials: 8 -> 9" in err
    assert json.loads(kd_sweeps("trials", "s", "-f", "json")[1]) == before


def test_a_dry_run_prints_the_plan_and_writes_nothing(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    code, out, err = kd_sweeps("create", "s", "--preset", "full", "--trials", "100", "--dry-run")
    assert code == 0
    assert "work     3,461 trainings, about 8,900 core-minutes" in out.splitlines()
    assert err == "dry run: nothing was written; to go on, type the same without --dry-run\n"
    assert len((out + err).splitlines()) == 7
    assert max(map(len, (out + err).splitlines())) <= 80
    code, more, _ = kd_sweeps("create", "s", "--preset", "full", "--trials", "100", "--dry-run", "-v")
    assert (code, more.startswith(out)) == (0, True)
    assert "loss     alpha*CE(labels)" in more
    assert "transfer#target.native.29" in more
    assert files(tmp_path) == set()


def test_run_takes_what_create_takes(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    write_npz(tmp_path / "mine.npz")
    options = ["--preset", "tiny", "--source", "digits-rgb", "--target", "mine.npz", "--teacher", "mlp-800"]
    options += ["--student", "cnn-small", "--seed", "7", "--trials", "9", "--set", "target.images=180", "--dry-run"]
    code, out, err = kd_sweeps("create", "s", *options, "-v")
    assert code == 0
    assert "teacher mlp-800, student cnn-small, 6 epochs" in out
    assert "search 9" in out
    assert kd_sweeps("run", "s", *options, "-v") == (code, out, err)
    assert files(tmp_path) == {"mine.npz"}


def test_create_says_what_a_worker_elsewhere_needs(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    write_npz(tmp_path / "mine.npz")
    code, _, err = kd_sweeps("create", "s", "--preset", "tiny", "--source", "mine.npz", "--set", "source.images=180")
    assert code == 0
    assert f"  a worker elsewhere needs {tmp_path / 'mine.npz'} at the same path" in err.splitlines()
    assert "  a worker elsewhere needs ImageNet weights of mobilenet" in err


def test_source_and_target_swap_with_their_settings(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    swap = ["--source", "digits-rgb", "--target", "digits"]
    code, out, _ = kd_sweeps("create", "s", "--preset", "tiny", *swap, "--dry-run")
    assert code == 0
    assert "data     digits-rgb (1,078 images) -> digits (1,078 images)" in out.splitlines()
    assert files(tmp_path) == set()


def test_several_targets_and_groups_are_planned_and_created(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    write_npz(tmp_path / "mine.npz")
    targets = ["--target", "digits-rgb", "--target", "mine.npz"]
    changes = ["--set", "target2.images=180", "--set", "outer.teachers=2", "--set", "transfer.seeds=2"]
    code, out, _ = kd_sweeps("create", "s", "--preset", "tiny", *targets, *changes, "--dry-run", "-v")
    assert code == 0
    assert " -> mine.npz (180 images)" in out
    keys = {line.split()[0] for line in out.splitlines() if "#" in line.split()[0]}
    assert {"transfer@t1s0#target2.native.1", "native.search@target2.t1s0#7", "teachers#target2@t1"} <= keys
    assert kd_sweeps("create", "s", "--preset", "tiny", *targets, *changes)[0] == 0
    rows = json.loads(kd_sweeps("trials", "s", "-f", "json")[1])
    assert {row["task"] for row in rows} == keys


def test_a_printed_spec_can_be_edited_and_created(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    _, out, _ = kd_sweeps("spec", "tiny")
    (tmp_path / "my.toml").write_text(out.replace("trials = 8", "trials = 5"))
    assert kd_sweeps("create", "mine", "my.toml")[0] == 0
    status = json.loads(kd_sweeps("status", "mine", "-f", "json")[1])
    assert status["stages"]["search"] == {
        "waiting": 5,
        "running": 0,
        "done": 0,
        "failed": 0,
        "cancelled": 0,
        "skipped": 0,
        "unavailable": 0,
    }


def test_create_with_nothing_but_the_name_of_a_sweep_makes_its_deleted_studies_again(kd_sweeps: KdSweeps) -> None:
    import optuna

    assert kd_sweeps("create", "s", "--preset", "tiny", "--trials", "4", "--seed", "7")[0] == 0
    optuna.delete_study(study_name="s", storage="sqlite:///kd-sweeps.db")
    code, _, err = kd_sweeps("create", "s")
    assert (code, "already there, unchanged: s" in err) == (0, True)
    assert "s" in optuna.get_all_study_names("sqlite:///kd-sweeps.db")


@pytest.mark.parametrize("key", ["note", "source.dataset"])
def test_text_that_is_no_utf_8_is_refused_before_anything_is_written(
    kd_sweeps: KdSweeps, tmp_path: Path, key: str
) -> None:
    """As the shell passes a byte on that is none; later no report could be written."""
    code, _, err = kd_sweeps("create", "s", "--preset", "tiny", "--set", f"{key}=bad \udcff")
    assert code == 2
    assert "allowed: UTF-8 text" in err or key != "note"
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_dry_run_refuses_what_create_would_refuse_and_needs_no_database(kd_sweeps: KdSweeps) -> None:
    assert kd_sweeps("create", "s", "--preset", "tiny")[0] == 0
    for command in ("create", "run"):
        code, out, err = kd_sweeps(command, "s", "--preset", "tiny", "--trials", "5", "--dry-run")
        assert (code, out) == (2, "")
        assert "sweep s exists with another spec" in err
    away = "postgresql://u@127.0.0.1:1/none"
    assert kd_sweeps("create", "s", "--preset", "tiny", "--dry-run", "--storage", away)[0] == 0
