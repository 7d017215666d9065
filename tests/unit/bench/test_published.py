"""bench/studies/published.py: its cells match the record, and its page is the committed one."""

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # bench/ is not a package

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


def test_each_line_of_the_record_is_one_training_and_none_is_missing() -> None:
    planned = [(cell, n) for row in ROWS for cell, n in published.trainings(row) if HOME[cell] == row]
    assert len(planned) == len(RECORD) == 324
    assert RECORD.keys() == set(planned)


@pytest.mark.parametrize("row", ROWS)
def test_a_cell_has_the_recipe_of_its_lines(row: str) -> None:
    lines = [(cell, line) for (cell, _), line in RECORD.items() if HOME[cell] == row]
    assert lines
    for cell, line in lines:
        recipe = cell.training
        columns = (line["epochs"], line["batch_size"], line["learning_rate"], line["schedule"], line["teacher"])
        assert columns == (
            str(recipe.epochs),
            str(recipe.batch_size),
            str(recipe.learning_rate),
            recipe.schedule,
            cell.teacher.name if cell.teacher else "",
        )
        assert row.startswith(line["row"])


def test_students_alternate_between_the_two_teachers() -> None:
    taught = [(n, int(line["teacher_seed"])) for (cell, n), line in RECORD.items() if cell.teacher]
    assert {n % published.TEACHERS == teacher for n, teacher in taught} == {True}


def test_no_two_cells_have_the_same_text() -> None:
    assert len(set(map(str, HOME))) == len(HOME)


@pytest.mark.parametrize("row", ROWS)
def test_the_plan_gives_each_arm_the_recorded_seeds(row: str) -> None:
    spec, tasks = _frozen(row), Counter[str]()
    for task in make_plan(spec).tasks:
        if "arm" in task.payload and "ranks" not in task.payload:
            assert NUMBERS[task.payload["seed"]] == task.payload["repeat"]
            tasks[task.payload["arm"]] += 1
        else:
            assert task.payload["seed"] not in NUMBERS
    assert tasks == Counter(dict.fromkeys([*published.arms(row), "best"], ROWS[row].seeds))


def test_the_specs_have_the_declared_fingerprints() -> None:
    declared = (study.STUDY.folder / "declared.md").read_text(encoding="utf-8")
    assert [row for row in ROWS if f"`{row}` | `{_frozen(row).fingerprint}`" not in declared] == []


def test_a_search_task_trains_nothing() -> None:
    def report(*_: Any, **__: Any) -> None:
        raise AssertionError("a search task must not train")

    assert published.train("keras-teacher x 5", seed=1, report=report) == {"validation": 0.0}


def test_the_page_matches_the_committed_one(tmp_path: Path) -> None:
    parts.write_page(replace(study.STUDY, within=tmp_path))
    assert (tmp_path / "published.md").read_bytes() == (FOLDER / "published.md").read_bytes()


def _swept(row: str, errors: int) -> list[parts.Training]:
    """Return the trainings of a part as the CSV has them, each with this many errors."""
    training = parts.Training(
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
        training,
        *(
            replace(
                training, stage="transfer", arm=arm, repeat=n, seed=numbers[n], test=0.98, more=training.more | counts
            )
            for n in range(ROWS[row].seeds)
            for arm in [*published.arms(row), "best"]
        ),
    ]


def test_a_part_trained_as_a_sweep_replaces_its_record(tmp_path: Path) -> None:
    parts.write_csv(tmp_path / "keras-io.csv", _swept("keras-io", 150))
    figures = study.Figures({"keras-io": parts.read_csv(tmp_path / "keras-io.csv")})
    assert figures.of("keras-io", "scratch") == dict.fromkeys(range(10), 150)
    assert figures.of("keras-io", "teacher") == {0: 150, 1: 150}
    assert figures.of("keras-io", "distilled", "trained_cpu_s") == dict.fromkeys(range(10), 8.5)
    assert figures.origin(["keras-io"]).endswith("32 trainings; of a sweep: `keras-io`.")
    assert figures.of("hinton-errors", "teacher") == {0: 101, 1: 104}
    assert figures.origin(["no-threes"]).endswith("12 trainings; recorded: `hinton-errors`, `no-threes`.")


def test_values_besides_the_score_have_a_column_each(tmp_path: Path) -> None:
    trainings = _swept("no-threes", 150)
    parts.write_csv(tmp_path / "a.csv", trainings)
    assert parts.read_csv(tmp_path / "a.csv") == trainings
    assert (tmp_path / "a.csv").read_text().splitlines()[0].endswith("cpu_s,cell,errors,threes,trained_cpu_s")


def test_a_printed_figure_is_compared_with_the_interval_of_one_more_run() -> None:
    values = {0: 10.0, 1: 12.0, 2: 14.0}
    low, high = study.interval_of_a_run(list(values.values())) or (0.0, 0.0)
    assert (low, high) == pytest.approx((12 - 4.302653 * 2 * (4 / 3) ** 0.5, 12 + 4.302653 * 2 * (4 / 3) ** 0.5))
    assert study.Printed("x", high - 0.01, values).deviates is False
    assert study.Printed("x", high + 0.01, values).deviates is True
    assert study.Printed("x", 12.0, {0: 12.0, 1: 12.0}).deviates is None
