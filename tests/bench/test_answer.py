"""bench/answer.py: what it keeps of a run, and what its pages say of several."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # the benches are no package

from answer import CALIBRATION, HALF_WIDTH, PRECISION, Records, Run, calibration_page, constants_page, precision_page

from support.page import Origin
from sweeps.plan.tasks import make_plan
from sweeps.spec.model import override
from sweeps.spec.presets import preset

ONE = Run(
    part="calibration",
    seed=1,
    searches=5,
    regret=0.1,
    low=-0.3,
    high=0.5,
    by_seeds=0.2,
    by_search=0.3,
    word="TRANSFERS",
    gain_source="+0.60 [+0.50, +0.70] (n=6)",
    gain_target="+3.00 [+2.00, +4.00] (n=6)",
    matters_source="matters: 20% [10%, 40%]",
    matters_target="cannot be told: 40% [20%, 60%]",
    best="4.11, 0.02",
    native="2.7, 0.3",
    answer_hash="0123456789ab",
    commit="abcdef012345",
    core_s=800.0,
    seconds=400.0,
)
TWO = replace(ONE, seed=2, regret=0.3, low=0.2, high=0.4)
THREE = replace(
    ONE, seed=3, regret=-0.1, low=-0.2, high=0.0, word="UNDECIDED", gain_target="-0.10 [-0.50, +0.30] (n=6)"
)


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "answer.csv"
    records = Records(path)
    for run in (ONE, replace(TWO, part="precision")):
        records.append(run)
    again = Records(path)
    assert again.runs == [ONE, replace(TWO, part="precision")]
    assert again.find("calibration") == [ONE]


def test_the_calibration_counts_what_holds_the_mean_of_the_others() -> None:
    text = calibration_page([ONE, TWO, THREE], Origin())
    # means of the others: 0.1 in [-0.3, 0.5]; 0.0 outside [0.2, 0.4]; 0.2 outside [-0.2, 0.0]
    assert "holds the mean of the other runs in 1 of 3." in text
    assert "the same word in 1 of 3 pairs (33%)." in text
    assert "on the source in 3, on the target in 2 of 3" in text
    assert "matter on the source in 3, on the target in 0." in text
    assert "sd between runs 0.20, mean half-width 0.20" in text


@pytest.mark.parametrize(("low", "last"), [(-0.1, "= 900"), (-0.4, "= not reached")])
def test_the_precision_ends_in_the_core_seconds_of_what_was_narrow_enough(low: float, last: str) -> None:
    wide = replace(ONE, part="precision", core_s=500.0)
    done = replace(ONE, part="precision", low=low, high=0.3, core_s=900.0)
    text = precision_page([wide, done], Origin())
    assert text.splitlines()[-1] == f"core-seconds to +-{HALF_WIDTH} {last}"


def test_the_calibration_is_quick_without_its_baselines_and_the_precision_trains_nothing_but_the_regret() -> None:
    quick = preset("quick")
    tasks = {task.key for task in make_plan(quick).tasks}
    without = {task.key for task in make_plan(override(quick, CALIBRATION)).tasks}
    assert {key.split("#")[0] for key in tasks - without} == {"baselines"}
    regret = make_plan(override(quick, PRECISION))
    arms = {task.payload["arm"] for task in regret.tasks if task.payload.get("arm")}
    assert arms == {"best", "native"}


def test_a_point_that_nobody_tuned_gets_the_word_at_a_point_and_seldom_at_half_a_point() -> None:
    rows = [line.strip("|").split("|") for line in constants_page(60, Origin()).splitlines() if "default-keras" in line]
    assert [row[0].strip() for row in rows] == [
        "`default-keras`, T = 3, alpha = 0.5",
        "`default-keras-io`, T = 10, alpha = 0.1",
    ]
    for row in rows:
        coarse, fine = (int(cell.strip(" %")) for cell in row[2:4])
        assert coarse > 80 > fine
