"""`create`: idempotent, dry runs, datasets swapped or several, and what the plan can resolve."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from scipy import stats

from sweeps.spec.presets import PAIRED_SD, SEARCH_SD
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
    code, out, _ = kd_sweeps("create", "s", "--preset", "full", "--trials", "100", "--dry-run")
    assert code == 0
    outer = (
        "outer    3 teachers on each dataset, 3 searches: the first of 100 trials and 50 to confirm, further ones of"
        " 100 and 50, compared on 30 seeds"
    )
    assert outer in out.splitlines()
    assert "search 900" in out
    assert "transfer#target.native.29" in out
    assert files(tmp_path) == set()


def test_source_and_target_swap_with_their_settings(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    swap = ["--source", "digits-rgb", "--target", "digits"]
    code, out, _ = kd_sweeps("create", "s", "--preset", "tiny", *swap, "--dry-run")
    assert code == 0
    source, target = [line for line in out.splitlines() if line.startswith(("source ", "target "))]
    assert source == "source   digits-rgb: 1078 images, teacher cnn-small-narrow, student keras-student, 6 epochs"
    assert target == "target   digits: 1078 images, teacher cnn-small-narrow, student keras-student, 4 epochs"
    assert files(tmp_path) == set()


def test_several_targets_and_groups_are_planned_and_created(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    write_npz(tmp_path / "mine.npz")
    targets = ["--target", "digits-rgb", "--target", "mine.npz"]
    changes = ["--set", "target2.images=180", "--set", "outer.teachers=2", "--set", "transfer.seeds=2"]
    code, out, _ = kd_sweeps("create", "s", "--preset", "tiny", *targets, *changes, "--dry-run")
    assert code == 0
    assert f"target2  {tmp_path / 'mine.npz'}: 180 images" in out
    assert "outer    2 teachers on each dataset, one search with each" in out.splitlines()
    assert "teachers 6, search 16" in out
    keys = {line.split()[0] for line in out.splitlines() if "#" in line}
    assert {"transfer@t1s0#target2.native.1", "native.search@target2.t1s0#7", "teachers#target2@t1"} <= keys
    assert kd_sweeps("create", "s", "--preset", "tiny", *targets, *changes)[0] == 0
    rows = json.loads(kd_sweeps("trials", "s", "-f", "json")[1])
    assert {row["task"] for row in rows} == keys


@pytest.mark.parametrize(
    ("changes", "level", "number", "unit"),
    [
        ([], 0.03, 5, "searches"),
        (["transfer.looks=1", "outer.searches=4"], 0.05, 4, "searches"),
        (["outer.searches=1", "transfer.seeds=10"], 0.03, 10, "seeds"),
        (["outer.searches=2", "transfer.looks=1", "transfer.seeds=10"], 0.05, 10, "seeds"),  # too few to count
    ],
)
def test_create_says_what_the_plan_can_resolve(
    kd_sweeps: KdSweeps, changes: list[str], level: float, number: int, unit: str
) -> None:
    options = [word for change in changes for word in ("--set", change)]
    code, out, _ = kd_sweeps("create", "s", "--preset", "quick", *options, "--dry-run")
    known = SEARCH_SD if unit == "searches" else PAIRED_SD
    low, high, origin = known["cifar10", "keras-student"]
    times = (stats.t.ppf(1 - level, number - 1) + stats.t.ppf(0.8, number - 1)) / math.sqrt(number)
    looks = 3 if level == 0.03 else 1
    assert code == 0
    assert (
        f"verdict  margin 1 points, {number} {unit}, {looks} looks; a regret {low * times:.2g} to {high * times:.2g}"
        f" points from the margin is distinguished from it with 80 % power, given an sd of {low:g} to {high:g} between"
        f" {unit} ({origin})"
    ) in out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--preset", "quick", "--set", "transfer.seeds=1", "--set", "outer.searches=1"],
            "1 seeds, 3 looks; a verdict needs 2 seeds",
        ),
        (
            ["--preset", "tiny"],
            "5 seeds, 3 looks; what they resolve depends on the seed noise on digits-rgb, which is not known before",
        ),
        (
            ["--preset", "tiny", "--set", "outer.searches=3"],
            "3 searches, 3 looks; what they resolve depends on the spread between searches on digits-rgb, which is not",
        ),
    ],
)
def test_create_says_why_it_cannot_tell_what_the_plan_resolves(
    kd_sweeps: KdSweeps, arguments: list[str], words: str
) -> None:
    code, out, _ = kd_sweeps("create", "s", *arguments, "--dry-run")
    assert code == 0
    assert words in out


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
