"""bench/recipe.py: what it keeps, what it still has to train, and the numbers of a row."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # the benches are no package

from recipe import CELLS, CORNERS, HALF, LARGER, MIDDLE, QUICK, SCRATCH, TINY, page, recipes

from support.page import FOLDER, Origin
from support.recipes import Recipe, Recorded, Training

ROW = Recipe("mnist", 4_000, 15, "average", 4e-3)


def filled(path: Path, *, seeds: int = 3) -> Recorded:
    """Every cell of ROW: no distillation 90 %, corners 91 and 92, the middle 94, 93, 93; each seed adds 0.1 points."""
    recorded = Recorded(path)
    levels = dict(zip(CELLS, (0.90, 0.91, 0.92, 0.94, 0.93, 0.93), strict=True))
    for seed in range(seeds):
        for cell, level in levels.items():
            noise = 0.002 * seed if cell == MIDDLE[0] else 0.0
            score = level + 0.001 * seed + noise
            recorded.append(Training(ROW, *cell, seed, score, score - 0.01, 2.0 + seed))
    return recorded


def test_what_is_recorded_is_read_back_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "recipe.csv"
    recorded = filled(path)
    assert Recorded(path).trainings == recorded.trainings
    with path.open("a") as file:
        file.write("mnist,4000,15,aver")
    again = Recorded(path)
    assert again.trainings == recorded.trainings
    again.append(recorded.trainings[0])
    assert Recorded(path).trainings == [*recorded.trainings, recorded.trainings[0]]


def test_only_what_is_missing_is_trained_seeds_outside(tmp_path: Path) -> None:
    recorded = filled(tmp_path / "recipe.csv", seeds=2)
    assert recorded.missing(ROW, CELLS, 2) == []
    assert recorded.missing(ROW, CELLS, 3) == [(cell, 2) for cell in CELLS]
    other = Recipe("mnist", 4_000, 15, "average", 6e-3)
    assert len(recorded.missing(other, CELLS, 2)) == 2 * len(CELLS)


def test_a_row_says_the_gain_of_the_best_and_of_the_worse_corner(tmp_path: Path) -> None:
    recorded = filled(tmp_path / "recipe.csv")
    text = page(recorded, [ROW], Origin())
    (line,) = [line for line in text.splitlines() if line.startswith("| 4,000 x 15 |")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:5] == ["average 0.004, reach 50", "3", "3.0", "90.10"]
    # the best middle point: 94 % and 0, 0.3, 0.6 points of seeds; over no distillation 4.2 points with sd 0.2
    assert cells[5] == f"94.30 at {MIDDLE[0][0]:g}, {MIDDLE[0][1]:g}"
    assert cells[6] == "+4.20 ±0.50"  # t[.975, 2] = 4.303 times 0.2 / sqrt(3)
    assert cells[7] == "+1.00 ±0.00"
    assert cells[9] == cells[10] == "0.20 0.20 0.00"
    assert cells[11] == f"{(4.2 - 1.0) / 0.2:.1f}"


def test_no_distillation_gets_the_recipe_that_is_best_for_it_by_validation(tmp_path: Path) -> None:
    recorded, other = filled(tmp_path / "recipe.csv"), replace(ROW, schedule="cosine", rate=6e-3)
    for cell in CELLS:
        for seed in range(3):  # half a point better without a teacher on validation images, 0.2 on those of the test
            score = 0.905 + 0.001 * seed if cell == SCRATCH else 0.5 + 0.001 * seed * CELLS.index(cell)
            recorded.append(Training(other, *cell, seed, score, score - 0.013, 2.0))
    assert "| mnist |" not in page(recorded, [ROW], Origin()), "one recipe leaves no choice"
    (line,) = [line for line in page(recorded, [ROW, other], Origin()).splitlines() if line.startswith("| mnist |")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:3] == ["4,000 x 15", "cosine 0.006"]
    assert cells[3].startswith("+4.20 [")
    assert cells[4].startswith("+4.00 [")


def test_the_committed_page_is_what_the_committed_trainings_give(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "recipe.csv", tmp_path)
    text = page(Recorded(tmp_path / "recipe.csv"), recipes(), Origin())
    committed = (FOLDER / "recipe.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("|") and line not in committed] == []


def test_the_rows_of_a_dataset_cost_the_same_steps_but_for_a_tenth() -> None:
    rows = recipes()
    assert len(set(rows)) == len(rows)
    of_quick = [row for row in rows if row.dataset in QUICK]
    assert {row.dataset for row in rows} - {row.dataset for row in of_quick} == set(TINY)
    others = [(dataset, *half) for dataset, halves in HALF.items() for half in halves]
    others += [(dataset, size, epochs) for dataset, (size, epochs, _) in LARGER.items()]
    for row in of_quick:
        if (row.dataset, row.images, row.epochs) in others:
            continue
        assert row.images * row.epochs == pytest.approx(QUICK[row.dataset], rel=0.1)
    assert SCRATCH not in (*CORNERS, *MIDDLE)
