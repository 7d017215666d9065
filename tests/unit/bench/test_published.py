"""bench/studies/published.py: its cells are those of the record, and its page is written from what is known."""

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # the benches are no package

from studies import published as study

from support import parts, published
from support.page import FOLDER
from support.published import HOME, NUMBERS, ROWS
from sweeps.plan.plan import make_plan
from sweeps.spec.model import Spec
from sweeps.usecases.create import freeze

RECORD = study.recorded()


def _frozen(row: str) -> Spec:
    return freeze(study.STUDY.parts[row].spec({}, Path()), data_dir=None)


def test_every_line_of_the_record_is_one_training_of_a_cell_and_none_is_missing() -> None:
    planned = [(cell, n) for row in ROWS for cell, n in published.trainings(row) if HOME[cell] == row]
    assert len(planned) == len(RECORD) == 324
    assert RECORD.keys() == set(planned)


@pytest.mark.parametrize("row", ROWS)
def test_a_cell_has_the_recipe_of_its_lines(row: str) -> None:
    lines = [(cell, line) for (cell, _), line in RECORD.items() if HOME[cell] == row]
    assert lines
    for cell, line in lines:
        recipe = cell.training
        written = (line["epochs"], line["batch_size"], line["learning_rate"], line["schedule"], line["teacher"])
        assert written == (
            str(recipe.epochs),
            str(recipe.batch_size),
            str(recipe.learning_rate),
            recipe.schedule,
            cell.teacher.name if cell.teacher else "",
        )
        assert row.startswith(line["row"])


def test_students_take_turns_with_the_two_teachers() -> None:
    taught = [(n, int(line["teacher_seed"])) for (cell, n), line in RECORD.items() if cell.teacher]
    assert {n % published.TEACHERS == teacher for n, teacher in taught} == {True}


def test_no_two_cells_have_the_same_text() -> None:
    assert len(set(map(str, HOME))) == len(HOME)


@pytest.mark.parametrize("row", ROWS)
def test_the_plan_gives_each_arm_the_seeds_whose_numbers_are_known(row: str) -> None:
    spec, tasks = _frozen(row), Counter[str]()
    for task in make_plan(spec).tasks:
        if "arm" in task.payload and "ranks" not in task.payload:
            assert NUMBERS[task.payload["seed"]] == task.payload["repeat"]
            tasks[task.payload["arm"]] += 1
        else:
            assert task.payload["seed"] not in NUMBERS
    assert tasks == Counter(dict.fromkeys([*published.arms(row), "best"], ROWS[row].seeds))


def test_the_specs_are_those_that_were_declared() -> None:
    declared = (study.STUDY.folder / "declared.md").read_text(encoding="utf-8")
    assert [row for row in ROWS if f"`{row}` | `{_frozen(row).fingerprint}`" not in declared] == []


def test_a_search_is_answered_without_a_training() -> None:
    def report(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing is trained")

    assert published.train("keras-teacher x 5", seed=1, report=report) == {"validation": 0.0}


def test_the_page_is_the_committed_one(tmp_path: Path) -> None:
    parts.write_page(replace(study.STUDY, within=tmp_path))
    assert (tmp_path / "published.md").read_bytes() == (FOLDER / "published.md").read_bytes()


def _swept(row: str, errors: int) -> list[parts.Training]:
    """The trainings of a part, each with so many errors; the search as the CSV has it."""
    made = parts.Training(
        part=row,
        stage="search",
        dataset="mnist",
        search=0,
        arm="",
        repeat=0,
        seed=0,
        temperature=None,
        alpha=None,
        validation=0.0,
        test=None,
        train_s=1.0,
        cpu_s=1.0,
        more={"cell": "keras-student x 3"},
    )
    counts = {"errors": str(errors), "threes": "7", "trained_cpu_s": "8.5"}
    numbers = {number: seed for seed, number in NUMBERS.items()}
    return [
        made,
        *(
            replace(made, stage="transfer", arm=arm, repeat=n, seed=numbers[n], test=0.98, more=made.more | counts)
            for n in range(ROWS[row].seeds)
            for arm in [*published.arms(row), "best"]
        ),
    ]


def test_a_part_that_was_trained_as_a_sweep_takes_the_place_of_the_record(tmp_path: Path) -> None:
    parts.write_csv(tmp_path / "keras-io.csv", _swept("keras-io", 150))
    figures = study.Figures({"keras-io": parts.read_csv(tmp_path / "keras-io.csv")})
    assert figures.of("keras-io", "scratch") == dict.fromkeys(range(10), 150)
    assert figures.of("keras-io", "teacher") == {0: 150, 1: 150}
    assert figures.of("keras-io", "distilled", "trained_cpu_s") == dict.fromkeys(range(10), 8.5)
    assert figures.origin(["keras-io"]).endswith("32 trainings; of a sweep: `keras-io`.")
    assert figures.of("hinton-errors", "teacher") == {0: 101, 1: 104}
    assert figures.origin(["no-threes"]).endswith("12 trainings; recorded: `hinton-errors`, `no-threes`.")


def test_what_a_training_gave_beside_its_score_is_a_column_of_its_own(tmp_path: Path) -> None:
    written = _swept("no-threes", 150)
    parts.write_csv(tmp_path / "a.csv", written)
    assert parts.read_csv(tmp_path / "a.csv") == written
    assert (tmp_path / "a.csv").read_text().splitlines()[0].endswith("cpu_s,cell,errors,threes,trained_cpu_s")


def test_a_printed_figure_is_held_against_one_more_run() -> None:
    values = {0: 10.0, 1: 12.0, 2: 14.0}
    low, high = study.interval_of_a_run(list(values.values())) or (0.0, 0.0)
    assert (low, high) == pytest.approx((12 - 4.302653 * 2 * (4 / 3) ** 0.5, 12 + 4.302653 * 2 * (4 / 3) ** 0.5))
    assert study.Printed("x", high - 0.01, values).deviates is False
    assert study.Printed("x", high + 0.01, values).deviates is True
    assert study.Printed("x", 12.0, {0: 12.0, 1: 12.0}).deviates is None
