"""bench/quality.py, small: what it trains, what it keeps of a run that was cut, and what it says."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # the benches are no package

import quality

from kd.config import DistillConfig, TrainingConfig
from kd.data.datasets import load, load_test
from kd.training.trainer import StudentTrainer
from support.quality_parts import BATCH, PARTS, STUDENT_RATE, Part, Result, Training, read_rows, write_rows
from support.surfaces import SurfaceError
from sweeps.plan.seeds import derive

pytestmark = pytest.mark.training

BEST = (4.0, 0.3)
SMALL = Part(
    name="small",
    dataset="digits",
    images=128,
    views=2,
    teacher="cnn-small-narrow",
    teacher_epochs=1,
    student="keras-student",
    epochs=(1, 2),
    anchor="Anchor: none.",
)


def result(test_accuracy: float, teacher_val_accuracy: float = 0.99) -> Result:
    return Result(test_accuracy, 0.5, teacher_val_accuracy, cpu_s=2.0, commit="abc")


@pytest.mark.parametrize("part", PARTS, ids=[part.name for part in PARTS])
def test_every_seed_of_every_length_trains_both_arms(part: Part) -> None:
    trainings = part.trainings(BEST, 5)
    assert len(set(trainings)) == len(trainings) == 5 * 2 * len(part.epochs)
    points = {(one.arm, one.temperature, one.alpha) for one in trainings}
    assert points == {("scratch", 1.0, 1.0), ("best", 4.0, 0.3)}
    whole_pairs = [one.seed for one in trainings]
    assert whole_pairs == sorted(whole_pairs)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "quality.csv"
    assert read_rows(path) == {}
    rows = {training: result(0.9 + i / 100) for i, training in enumerate(SMALL.trainings(BEST, 2))}
    write_rows(path, rows)
    assert read_rows(path) == rows
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damaged", ["{broken\n1\n", "dataset,images\nmnist,5\n", "\x00", ""])
def test_another_file_is_refused_in_one_line_and_stays_as_it_is(tmp_path: Path, damaged: str) -> None:
    path = tmp_path / "quality.csv"
    path.write_text(damaged)
    with pytest.raises(SurfaceError, match=r"^cannot read .*quality.csv: .*; to begin again, type: rm .*quality.csv$"):
        read_rows(path)
    assert path.read_text() == damaged


def test_the_bench_ends_with_1_and_one_line(tmp_path: Path) -> None:
    path = tmp_path / "quality.csv"
    path.write_text("other,columns\n")
    command = [sys.executable, "bench/quality.py", "--part", "mnist", "--records", str(path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"quality.py: cannot read {path}: ")
    assert line.endswith(f"type: rm {path}")


def test_a_torn_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "quality.csv"
    write_rows(path, dict.fromkeys(SMALL.trainings(BEST, 1), result(0.9)))
    path.write_text(path.read_text()[:-40])
    with pytest.raises(SurfaceError, match="cannot read"):
        read_rows(path)


def test_the_table_has_the_means_and_intervals_of_student_computed_by_hand() -> None:
    part = replace(SMALL, epochs=(2,))
    accuracies = {"scratch": (0.90, 0.91, 0.92), "best": (0.93, 0.93, 0.93)}
    rows = {one: result(accuracies[one.arm][one.seed]) for one in part.trainings(BEST, 3)}
    text = quality.section(part, BEST, rows, "origin")
    half = 4.302653 * 1 / 3**0.5  # t of 2 degrees of freedom times the standard error; an sd of 1 point
    scratch, difference = f"[{91 - half:.2f}, {91 + half:.2f}]", f"[{2 - half:.2f}, {2 + half:.2f}]"
    assert f"| 2 | 91.00 {scratch} | 93.00 [93.00, 93.00] | 2.00 {difference} | 2.0 | 3 |" in text
    assert "best (T=4, alpha=0.3)" in text
    assert "the teacher reaches 99.00 %." in text
    assert text.startswith("origin")
    assert text.endswith(part.anchor)


def test_teachers_of_two_machines_are_both_named() -> None:
    part = replace(SMALL, epochs=(2,))
    rows = {one: result(0.9, teacher_val_accuracy=0.99 - one.seed / 100) for one in part.trainings(BEST, 2)}
    assert "the teacher reaches 98.00 % and 99.00 %." in quality.section(part, BEST, rows, "")


def test_a_run_that_was_cut_goes_on_with_its_teacher_and_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records, page, kept = tmp_path / "quality.csv", tmp_path / "quality.md", tmp_path / "quality-small.part"
    wanted = SMALL.trainings(BEST, 1)
    cut = quality.train(SMALL, wanted, records)
    first, found = next(cut)
    cut.close()
    other = Training(**{**vars(first), "dataset": "another"})
    write_rows(records, {other: found, first: found})
    assert first == wanted[0]
    assert kept.is_dir()

    monkeypatch.setattr(quality, "_teach", lambda *_: pytest.fail("the teacher is trained again"))
    quality.run(SMALL, BEST, 1, records=records, page=page)
    rows = read_rows(records)
    assert list(rows) == [other, *wanted]
    assert rows[first] == rows[other] == found
    assert not kept.exists()
    said = capsys.readouterr()
    assert [line for line in said.err.splitlines() if line.startswith("small")] == [
        f"small: {done} of 4 trainings are recorded" for done in (2, 3, 4)
    ]
    assert "3 of 4 trainings are of this run" in said.out
    assert "## Quality: small\n" in page.read_text()

    quality.run(SMALL, BEST, 1, records=records, page=page)  # nothing is missing: nothing is trained
    assert "0 of 4 trainings are of this run" in page.read_text()
    assert read_rows(records) == rows


@pytest.mark.slow
def test_a_row_is_a_student_that_anyone_can_train_again(tmp_path: Path) -> None:
    wanted = SMALL.trainings(BEST, 2)
    found = dict(quality.train(SMALL, wanted, tmp_path / "quality.csv"))
    assert list(found) == wanted
    dataset = load("digits", train_images=128)
    logits, teacher_val_accuracy = quality._teach(SMALL, dataset)
    for one in (wanted[1], wanted[6]):  # best for 1 epoch of the first seed, scratch for 2 of the second
        training = TrainingConfig(epochs=one.epochs, batch_size=BATCH, learning_rate=STUDENT_RATE)
        trainer = StudentTrainer(dataset, student="keras-student", teacher_logits=logits, training=training, views=2)
        point = DistillConfig(temperature=one.temperature, alpha=one.alpha)
        trained = trainer.train(point, seed=derive(quality.SEED, "student", "small", one.seed))
        assert found[one].test_accuracy == trainer.accuracy(load_test("digits"))
        assert found[one].val_accuracy == trained.val_accuracy
        assert found[one].teacher_val_accuracy == teacher_val_accuracy


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seeds", "0"], "got '0', allowed is a whole number >= 1"),
        (["--epochs", "3", "x"], "got 'x', allowed is a whole number >= 1"),
        (["--alpha", "1.5"], "alpha must be in [0, 1], got 1.5"),
        (["--temperature", "0"], "temperature must be finite and > 0, got 0.0"),
        (["--teacher", "nobody"], "invalid choice: 'nobody'"),
        (["--part", "all"], "invalid choice: 'all'"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["quality.py", *options])
    with pytest.raises(SystemExit) as ended:
        quality.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
