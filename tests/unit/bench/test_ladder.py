"""bench/ladder.py and bench/page.py: the arithmetic behind the numbers that the README quotes."""

import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))

from ladder import STUDENT_MACS, TEACHER_MACS, Launch, Rung, gflop, page, spec_of

from support.page import table, write_section

SPEC = spec_of(50_000, 40)


@pytest.mark.training
def test_the_multiplications_that_the_ladder_counts_are_those_of_the_models() -> None:
    from kd.models.measure import count_macs
    from kd.models.named import build

    counted = [count_macs(build(name, (28, 28, 1), 10, seed=0)) for name in ("keras-student", "keras-teacher")]
    assert counted == [STUDENT_MACS, TEACHER_MACS]


def test_the_arithmetic_of_a_trial_is_three_passes_of_the_student_and_one_of_the_teacher() -> None:
    trained, validated = 781 * 64 * 3, 30_000
    student = 2 * STUDENT_MACS * (3 * trained + validated) / 1e9
    assert gflop(SPEC, with_teacher=False) == pytest.approx(student)
    assert gflop(SPEC, with_teacher=True) == pytest.approx(student + 2 * TEACHER_MACS * trained / 1e9)


def climbed(product_s: float, accuracy: float) -> str:
    naive = Rung("naive", "(a)", 1, with_teacher=True, seconds=[90, 80, 100], accuracies=[0.97, 0.98, 0.99])
    top = Rung("product", "(e)", 1, seconds=[product_s] * 3, accuracies=[accuracy] * 3)
    launches = [Launch(steady_s=product_s, whole_s=2 * product_s, accuracies=[])] * 3
    return page(SPEC, [naive, top], launches, losses=[1e-6, 2e-5], matmul=[400.0, 500.0, 450.0])


def test_the_page_ends_with_the_ratio_of_the_medians_and_has_a_verdict_for_each_target() -> None:
    text = climbed(2.0, 0.98)
    assert text.endswith("ladder (e) / (a) = 45.0")
    assert "Pass 25: met. Target 40: met." in text
    assert "22.5 times (a)" in text  # with the start of launch
    assert "+0.00 points" in text
    assert "Pass 25: met. Target 40: MISSED." in climbed(3.0, 0.98)


def test_accuracies_that_differ_too_much_miss_the_target() -> None:
    assert "-0.10 points\n(allowed: 0.15): met" in climbed(2.0, 0.979)
    assert "+0.20 points\n(allowed: 0.15): MISSED" in climbed(2.0, 0.982)


def test_a_section_replaces_itself_and_leaves_the_others(tmp_path: Path) -> None:
    results = tmp_path / "results.md"
    write_section("One", "first", path=results)
    write_section("Two", table(("a", "b"), [(1, "x|y")]), path=results)
    write_section("One", "second", path=results)
    text = results.read_text()
    assert "first" not in text
    assert text.index("## One\n\nsecond\n") < text.index("## Two\n\n| a | b |\n| --- | --- |\n| 1 | x/y |\n")
