"""The format of numbers: intervals and units, and an empty text for a missing value."""

import pytest

from sweeps.report import words
from sweeps.stats.estimates import Estimate, Paired
from sweeps.trainers.score import ACCURACY

TWO = Estimate(0.2, -7.0, 8.0, 2)  # the interval of two runs is never shown
SAME = Paired(0.0, 0.0, 0.0, 8, same=8)
ELSEWHERE = Paired(0.01, -0.2, 0.22, 8, same=8)  # the same training on two kinds of processor


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Estimate(0.9741, 0.9729, 0.9753, 10), "97.41 ± 0.12 (n=10)"),  # half the width of its interval
        (Estimate(0.9741, None, None, 1), "97.41 (n=1)"),
        (Estimate(0.9741, 0.7967, 1.0445, 2), "97.41 (n=2)"),
        (Estimate(0.995, 0.98, 1.01, 3), "99.50 [98.00, 100.00] (n=3)"),
        (Estimate(0.02, -0.01, 0.05, 3), "2.00 [0.00, 5.00] (n=3)"),
        (Estimate(0.5, 0.5 - 1e-14, 0.5 + 1e-14, 4), "50.00 (n=4)"),
        (None, ""),
    ],
)
def test_an_accuracy_is_in_percent_with_its_interval_within_0_to_100(value: Estimate | None, written: str) -> None:
    assert words.level(ACCURACY, value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Estimate(0.2, -0.489, 0.891, 10), "+0.20 [-0.49, +0.89] (n=10)"),
        (Estimate(-1.0, None, None, 1), "-1.00 (n=1, no interval)"),
        (TWO, "+0.20 (n=2, no interval)"),
        (None, "not yet"),
        (SAME, "the same point"),
        (ELSEWHERE, "the same point"),
        (Paired(0.05, -0.05, 0.16, 5, same=3), "+0.05 [-0.05, +0.16] (n=5, 3 the same point)"),
        (Paired(0.05, -0.05, 0.16, 5), "+0.05 [-0.05, +0.16] (n=5)"),
        (Estimate(0.0, -1e-14, 1e-14, 4), "+0.00 (n=4, all alike)"),
        (Estimate(0.5, 0.5 - 1e-14, 0.5 + 1e-14, 4), "+0.50 (n=4, all alike)"),
    ],
)
def test_a_difference_has_its_sign_and_its_bounds_if_there_are_any(value: Estimate | None, written: str) -> None:
    assert words.interval(ACCURACY, value) == written


def test_in_words_a_difference_without_width_is_points_or_the_same_point() -> None:
    alike = [Estimate(value, value - 1e-14, value + 1e-14, 4) for value in (0.0, 0.5)]
    texts = [words.difference(ACCURACY, estimate) for estimate in (*alike, SAME)]
    assert texts == ["0.0 points", "+0.5 points", "the same point"]


def test_limits_are_in_points_with_more_digits_if_they_are_close() -> None:
    assert words.between(ACCURACY, Estimate(0.9, -0.04, 1.44, 3)) == "0.0 to +1.4"
    assert words.between(ACCURACY, Estimate(0.9, -0.4, 1.44, 3), sign="") == "−0.4 to 1.4"
    assert words.between(ACCURACY, Estimate(0.0, -0.04, 0.03, 5)) == "−0.04 to +0.03"
    assert [words.between(ACCURACY, estimate) for estimate in (Estimate(0.9, None, None, 1), TWO, SAME)] == ["", "", ""]
    assert words.percent_interval(0.8, 0.69, 0.91) == "80 % [69, 91]"
    assert words.percent_interval(1.0, 0.996, 1.004) == "100.0 % [99.6, 100.4]"
    assert words.percent_interval(1.0, 1.0, 1.0) == "100 %"


def test_a_number_is_scaled_and_a_missing_one_is_empty() -> None:
    assert words.number(1_234_567, ",.2f", 1e-6) == "1.23"
    assert (words.number(0, ".1f"), words.number(None, ".1f")) == ("0.0", "")
    assert (words.percentage(0.12345), words.percentage(None)) == ("12.35", "")


def test_points_have_a_sign_unless_they_are_0() -> None:
    values = [Estimate(value, None, None, 1) for value in (3.44, -0.34, 0.04, -0.04, 12.0)]
    assert [words.points(ACCURACY, value) for value in values] == ["+3.4", "−0.3", "0.0", "0.0", "+12.0"]
    assert [words.points(ACCURACY, value, sign="") for value in values] == ["3.4", "−0.3", "0.0", "0.0", "12.0"]


def test_an_amount_has_its_unit() -> None:
    amounts = {1.0: "1 point", 0.5: "0.5 points", 2: "2 points", 0.456: "0.46 points", 100: "100 points"}
    assert {value: words.counted(ACCURACY, value) for value in amounts} == amounts
