"""bench/published.py: what it counts, what it keeps of a run that was cut, and what its page says of a CSV."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # the benches are no package

import published

from support.published import pool
from support.published.learning import keep
from support.published.records import Records, Result
from support.published.report import page
from support.published.scores import agreement, best_bias, count_errors, raise_bias
from support.published.shown import interval_of_a_run
from support.published.trainings import FULL, ROWS, SMALL, PublishedError, Size, Training, trainings_of

TINY = Size(
    seeds=3, teacher_seeds=1, unit_seeds={30: 1}, grid_seeds=1, teacher_epochs=2, student_epochs=1, stopped=(1,)
)
LOGITS = np.array([[5, 0, 4], [0, 5, 4], [5, 0, 1], [0, 5, 0]], np.float32)
LABELS = np.array([2, 2, 0, 1])


def result(errors: int, **other: object) -> Result:
    found = Result(
        train_images=60_000,
        test_images=10_000,
        errors=errors,
        threes=errors // 10,
        agreement=None,
        raised_errors=None,
        raised_threes=None,
        best_bias=None,
        best_errors=None,
        best_threes=None,
        train_s=20.0,
        cpu_s=10.0,
        finished="2026-11-26 09:00",
        commit="abc",
        versions="python 3.11.7 tensorflow 2.21.0",
        machine="a processor, 2 cores",
    )
    return replace(found, **other)  # type: ignore[arg-type]


def of_arm(row: str, arm: str, size: Size = TINY) -> list[Training]:
    return [one for one in trainings_of(row, size) if one.arm == arm]


def test_errors_are_the_images_whose_largest_logit_is_another_class() -> None:
    assert count_errors(LOGITS, LABELS) == 2
    assert [count_errors(LOGITS, LABELS, digit) for digit in (0, 1, 2)] == [0, 0, 2]
    with pytest.raises(ValueError, match="4 images have logits and 3 have labels"):
        count_errors(LOGITS, LABELS[:3])


def test_a_raised_bias_is_added_to_one_column_and_leaves_the_network_as_it_is() -> None:
    before = LOGITS.copy()
    higher = raise_bias(LOGITS, 2, 1.5)
    assert (higher - LOGITS).tolist() == [[0, 0, 1.5]] * 4
    assert (before == LOGITS).all()
    assert [count_errors(raise_bias(LOGITS, 2, by), LABELS) for by in (0, 1.5, 4.5, 5.5)] == [2, 0, 1, 2]
    with pytest.raises(ValueError, match=r"no class 3 among 3; allowed: 0 to 2"):
        raise_bias(LOGITS, 3, 1.0)


def test_the_best_bias_is_the_smallest_of_those_with_the_fewest_errors() -> None:
    assert best_bias(LOGITS, LABELS, 2) == pytest.approx(1.1)  # 1.0 is a tie, which argmax gives to the first class
    assert best_bias(LOGITS, LOGITS.argmax(axis=-1), 2) == 0


def test_agreement_is_the_share_of_equal_classes() -> None:
    assert agreement(LOGITS, LOGITS) == 1
    assert agreement(LOGITS, raise_bias(LOGITS, 2, 1.5)) == 0.5


def test_one_more_run_lies_in_an_interval_wider_than_that_of_the_mean() -> None:
    assert interval_of_a_run([162.0, 162.0]) is None, (
        "two equal runs have no spread, and do not show that there is none"
    )
    low, high = interval_of_a_run([1.0, 2.0, 3.0]) or (0, 0)
    assert (low, high) == pytest.approx((2 - 4.302653 * (4 / 3) ** 0.5, 2 + 4.302653 * (4 / 3) ** 0.5))


@pytest.mark.parametrize("size", [TINY, SMALL, FULL])
@pytest.mark.parametrize("row", ROWS)
def test_a_teacher_comes_before_its_students_and_has_one_name(row: str, size: Size) -> None:
    wanted = trainings_of(row, size)
    assert len(set(wanted)) == len(wanted)
    before: set[tuple[str, int]] = set()
    for one in wanted:
        assert not one.teacher or one.teacher_key in before
        before.add((one.name, one.seed))


def test_the_row_of_temperatures_has_ten_for_every_seed_of_three_sizes() -> None:
    students = [one for one in trainings_of("hinton-units", FULL) if one.teacher]
    assert len(students) == 3 * 10 * 10
    assert {(one.network, one.seed) for one in students} == {
        (f"mlp-{units}", seed) for units in (30, 300, 800) for seed in range(10)
    }
    shared = set(students) & set(trainings_of("hinton-errors", FULL))
    assert {one.temperature for one in shared if one.teacher} == {20.0}


def test_what_is_recorded_is_read_back_and_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "published.csv"
    records = Records(path)
    teacher, *students = trainings_of("no-threes", TINY)
    with_bias = result(206, agreement=0.98, raised_errors=109, raised_threes=14, best_bias=3.4, best_errors=108)
    lines = {teacher: result(67), students[0]: with_bias, students[1]: result(3, machine='a "b", c')}
    for training, found in lines.items():
        records.append(training, found)
    assert Records(path).lines == lines
    assert len(path.read_text().splitlines()) == 4
    with path.open("a") as file:
        file.write("no-threes,soft tar")
    again = Records(path)
    assert again.lines == lines
    other = replace(teacher, seed=7)
    again.append(other, result(1))
    assert Records(path).lines == {**lines, other: result(1)}


@pytest.mark.parametrize("damaged", ["{broken\n1\n", "row,arm\nkeras-io,teacher\n", "\x00\n"])
def test_another_file_is_refused_in_one_line_and_stays_as_it_is(tmp_path: Path, damaged: str) -> None:
    path = tmp_path / "published.csv"
    path.write_text(damaged)
    with pytest.raises(
        PublishedError, match=r"^cannot read .*published.csv: .*; to begin again, type: rm .*csv$"
    ) as said:
        Records(path)
    assert "\n" not in str(said.value)
    assert path.read_text() == damaged


def test_a_line_with_a_wrong_value_is_named(tmp_path: Path) -> None:
    path = tmp_path / "published.csv"
    Records(path).append(trainings_of("keras-io", TINY)[0], result(5))
    path.write_text(path.read_text().replace(",60000,", ",many,"))
    with pytest.raises(PublishedError, match=r"line 2: .*many"):
        Records(path)


def test_a_recorded_training_is_not_trained_again_but_for_a_teacher_whose_logits_are_gone(tmp_path: Path) -> None:
    wanted = trainings_of("hinton-errors", TINY)
    teacher, scratch, distilled, *others = wanted
    assert pool.missing(wanted, {}, tmp_path) == wanted
    done = {teacher: result(1), scratch: result(2)}
    assert pool.missing(wanted, done, tmp_path) == [teacher, distilled, *others]
    assert pool.next_ready([distilled, *others], tmp_path) == others[0], "a student without its teacher waits"
    keep(tmp_path, teacher, LOGITS, LOGITS)
    assert pool.missing(wanted, done, tmp_path) == [distilled, *others]
    assert pool.next_ready([distilled, *others], tmp_path) == distilled
    assert pool.missing(wanted, dict.fromkeys(wanted, result(1)), tmp_path / "elsewhere") == []


def test_a_run_that_was_cut_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Training] = []
    monkeypatch.setattr(published, "SMALL", TINY)
    options = ["--records", str(tmp_path / "p.csv"), "--page", str(tmp_path / "p.md"), "--rows", "hinton-errors"]
    monkeypatch.setattr(sys, "argv", ["published.py", "--processes", "1", *options])

    def train(todo, teaching, folder, *, processes, after):  # type: ignore[no-untyped-def]
        for number, one in enumerate(todo):
            if number == after:
                raise KeyboardInterrupt
            asked.append(one)
            if (one.name, one.seed) in teaching:
                keep(folder, one, LOGITS, LOGITS)
            yield one, result(100 + one.seed)

    monkeypatch.setattr(pool, "train", lambda *a, **b: train(*a, **b, after=2))
    assert published.main() == 130
    assert capsys.readouterr().err.endswith("interrupted; what is finished is kept, the same command goes on\n")
    assert not (tmp_path / "p.md").exists()
    monkeypatch.setattr(pool, "train", lambda *a, **b: train(*a, **b, after=None))
    assert published.main() == 0
    wanted = trainings_of("hinton-errors", TINY)
    assert asked == wanted, "each exactly once"
    assert list(Records(tmp_path / "p.csv").lines) == wanted
    said = capsys.readouterr()
    assert "hinton-errors: 2 of 7 are recorded, about 0 h 02 min left" in said.err
    assert "hinton-errors: 7 of 7; distilled mlp-800 x 1 T=20 seed 2: 102 errors, 20 s" in said.err
    assert said.out.strip() == (tmp_path / "p.md").read_text().strip()


def test_the_first_seeds_are_trained_with_their_teachers_and_the_page_stays_partial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Records(tmp_path / "p.csv")
    monkeypatch.setattr(pool, "train", lambda todo, *a, **b: ((one, result(68)) for one in todo))
    size = replace(TINY, teacher_seeds=2)
    published.run(["hinton-errors"], size, records, tmp_path, processes=1, seeds=1)
    assert list(records.lines) == trainings_of("hinton-errors", size)[:3]
    assert "**Partial.** `python bench/published.py --rows hinton-errors`: 3 of 8" in page(records.lines, size)


def test_a_teacher_that_comes_out_otherwise_is_said_and_its_line_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = Records(tmp_path / "p.csv")
    teacher, *students = trainings_of("hinton-errors", TINY)
    records.append(teacher, result(67))
    monkeypatch.setattr(pool, "train", lambda todo, *a, **b: ((one, result(68)) for one in todo))
    published.run(["hinton-errors"], TINY, records, tmp_path, processes=1)
    assert "was trained again for its logits and makes 68 errors, not 67" in capsys.readouterr().err
    assert Records(tmp_path / "p.csv").lines == {teacher: result(67), **dict.fromkeys(students, result(68))}


def test_the_plan_counts_what_two_rows_share_once_and_takes_the_seconds_of_the_csv(tmp_path: Path) -> None:
    records = Records(tmp_path / "p.csv")
    teacher = trainings_of("hinton-errors", TINY)[0]
    records.append(teacher, result(67, cpu_s=2 * 1800.0))  # 1,800 s an epoch, two epochs
    text = published.plan(["hinton-errors", "no-threes"], TINY, records, tmp_path, 2)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    assert [row[:3] for row in rows] == [["hinton-errors", "7", "7"], ["no-threes", "2", "2"], ["all", "9", "9"]]
    students = 6 * pool.SECONDS_PER_EPOCH["mlp-800"] / 3600
    assert float(rows[0][3]) == pytest.approx((1 + students) / 2, abs=0.006)


def test_the_page_is_made_of_the_csv_alone_and_says_first_where_we_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = Records(tmp_path / "p.csv")
    counts = {"teacher": (67,), "scratch": (140, 146, 152), "distilled": (100, 104, 102)}
    for arm, errors in counts.items():
        for one, count in zip(of_arm("hinton-errors", arm), errors, strict=True):
            records.append(one, result(count, agreement=0.99 if arm == "distilled" else None))
    monkeypatch.setattr(published, "SMALL", TINY)
    monkeypatch.setattr(pool, "train", lambda *_, **__: pytest.fail("something is trained"))
    options = ["--report", "--records", str(tmp_path / "p.csv"), "--page", str(tmp_path / "p.md")]
    monkeypatch.setattr(sys, "argv", ["published.py", *options])
    assert published.main() == 0
    text = (tmp_path / "p.md").read_text()
    assert capsys.readouterr().out.strip() == text.strip()
    assert text == page(records.lines, TINY)
    half = 4.302653 * 6 / 3**0.5  # t of 2 degrees of freedom times the standard error
    assert f"| student, 2 x 800, labels alone | 146.0 [{146 - half:.1f}, {146 + half:.1f}] n=3 | 146 | - | 10 |" in text
    assert "| teacher, 2 x 1200, dropout, jitter | 67.0 n=1 | 67 | - | 10 |" in text
    assert "paired by seed: -44.0 [" in text
    assert "99.00 %" in text
    lines = text.splitlines()
    assert lines[lines.index("## Where we differ") + 2].startswith("Of 23 printed figures 1 lie outside")
    outside, inside = lines[lines.index("## Where we differ") + 4 :][:2]
    assert outside.startswith("- Hinton, student, 2 x 800, distilled at T = 20: printed 74 errors, here 102.0 [")
    assert outside.endswith("the printed figure is **outside**.")
    assert "labels alone: printed 146" in inside
    assert inside.endswith("the printed figure is inside.")
    assert text.index("## Where we differ") < text.index("## keras.io's example")
    assert "**Partial.** `python bench/published.py --rows keras-io`: 0 of 10 trainings are there." in text
    assert "`python bench/published.py --rows hinton-errors`: 7 of 7 trainings are there." in text
    for made_with in (
        "7 trainings, from 2026-11-26 09:00",
        "commits: abc",
        "tensorflow 2.21.0",
        "a processor, 2 cores",
    ):
        assert made_with in text


def test_temperatures_are_told_apart_by_paired_differences() -> None:
    lines = {}
    size = replace(TINY, unit_seeds={30: 3})
    for one in trainings_of("hinton-units", size):
        worse = 0 if one.temperature in (2.5, 3.0, 4.0) else 20 + one.seed
        lines[one] = result(300 + 10 * one.seed + worse)
    text = page(lines, size)
    for name in ("higher (8 to 40)", "lower (1 to 2)"):
        assert f'"worked significantly better" than {name}: holds, -21.0 [-23.5, -18.5] errors n=3' in text
    assert "| 20 | 331.0 [303.7, 358.3] n=3 | +0.0 [+0.0, +0.0] n=3 | - |" in text


def test_teachers_are_told_apart_by_paired_differences() -> None:
    lines = {}
    size = replace(TINY, grid_seeds=4)
    for one in trainings_of("teachers", size):
        smoothed, stopped = "smoothed" in one.teacher, one.teacher == "dropout-1200 x 1"
        worse = 30 + 2 * one.seed if smoothed and one.temperature == 20 else 0
        better = 20 + one.seed % 2 if stopped and one.network == "mlp-30" else 0
        lines[one] = result(100 + one.seed + worse - better)
    text = page(lines, size)
    assert "mlp-300 at T = 20: holds, +33.0 [+28.9, +37.1] errors n=4" in text
    assert "mlp-300 at T = 1: cannot be told, +0.0 [+0.0, +0.0] errors n=4" in text
    assert "smoothing costs more at T = 20 than at T = 1: holds, +33.0" in text
    assert "are better in 1 of 6 cells (mlp-30 of dropout-1200 x 1), worse in 0 (none)" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--rows", "hinton"],
            "no row 'hinton'; allowed for --rows: keras-io hinton-errors no-threes hinton-units teachers",
        ),
        (
            ["--records", "/dev/null/p.csv"],
            "cannot write: [Errno 20] Not a directory: '/dev/null/p.part'; give another",
        ),
        (["--report", "--page", "/dev/null/p.md"], "cannot write: [Errno 20] Not a directory: '/dev/null/p.md'; give"),
    ],
)
def test_bad_input_is_one_line(
    options: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["published.py", "--records", str(tmp_path / "p.csv"), *options])
    monkeypatch.setattr(pool, "train", lambda *_, **__: pytest.fail("something is trained"))
    assert published.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"published.py: {said}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--processes", "0"], "argument --processes: got '0', allowed is a whole number >= 1"),
        (["--plan", "--report"], "argument --report: not allowed with argument --plan"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["published.py", *options])
    with pytest.raises(SystemExit) as ended:
        published.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"published.py: error: {said}"
