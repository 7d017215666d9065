"""How numbers are written: with their intervals and units, and nothing where there is none."""

import pytest

from sweeps.report.words import (
    accuracy,
    between,
    counted,
    difference,
    interval,
    number,
    percent_interval,
    percentage,
    points,
)
from sweeps.stats.estimates import Estimate, Paired


def test_an_accuracy_is_in_percent_with_half_the_width_of_its_interval() -> None:
    assert accuracy(Estimate(0.9741, 0.9729, 0.9753, 10)) == "97.41 ± 0.12 (n=10)"
    assert accuracy(Estimate(0.9741, None, None, 1)) == "97.41 (n=1)"
    assert accuracy(None) == ""


def test_no_accuracy_is_above_100_percent_or_below_0() -> None:
    assert accuracy(Estimate(0.995, 0.98, 1.01, 3)) == "99.50 [98.00, 100.00] (n=3)"
    assert accuracy(Estimate(0.02, -0.01, 0.05, 3)) == "2.00 [0.00, 5.00] (n=3)"


def test_two_runs_have_no_interval() -> None:
    assert accuracy(Estimate(0.9741, 0.7967, 1.0445, 2)) == "97.41 (n=2)"
    assert interval(Estimate(0.2, -7.0, 8.0, 2)) == "+0.20 (n=2, no interval)"
    assert between(Estimate(0.2, -7.0, 8.0, 2)) == ""


def test_a_difference_has_its_sign_and_its_bounds() -> None:
    assert interval(Estimate(0.2, -0.489, 0.891, 10)) == "+0.20 [-0.49, +0.89] (n=10)"
    assert interval(Estimate(-1.0, None, None, 1)) == "-1.00 (n=1, no interval)"
    assert interval(None) == "not yet"


def test_a_training_less_itself_is_the_same_point_and_no_number() -> None:
    same = Paired(0.0, 0.0, 0.0, 8, same=8)
    assert (interval(same), between(same), difference(same)) == ("the same point", "", "the same point")
    elsewhere = Paired(0.01, -0.2, 0.22, 8, same=8)  # two kinds of processor: the same training, done twice
    assert interval(elsewhere) == "the same point"


def test_some_trainings_less_themselves_are_counted_beside_the_number() -> None:
    assert interval(Paired(0.05, -0.05, 0.16, 5, same=3)) == "+0.05 [-0.05, +0.16] (n=5, 3 the same point)"
    assert interval(Paired(0.05, -0.05, 0.16, 5)) == "+0.05 [-0.05, +0.16] (n=5)"


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_runs_that_are_all_alike_have_no_interval_of_no_width(value: float) -> None:
    rounded = Estimate(value, value - 1e-14, value + 1e-14, 4)
    assert interval(rounded) == f"+{value:.2f} (n=4, all alike)"
    assert difference(rounded) == ("0.0 points" if value == 0 else "+0.5 points")
    assert accuracy(rounded) == f"{100 * value:.2f} (n=4)"


def test_a_narrow_interval_is_written_with_more_digits_and_never_without_width() -> None:
    assert between(Estimate(0.0, -0.04, 0.03, 5)) == "−0.04 to +0.03"
    assert percent_interval(0.8, 0.69, 0.91) == "80 % [69, 91]"
    assert percent_interval(1.0, 0.996, 1.004) == "100.0 % [99.6, 100.4]"
    assert percent_interval(1.0, 1.0, 1.0) == "100 %"


def test_a_number_is_scaled_and_nothing_stays_nothing() -> None:
    assert number(1_234_567, ",.2f", 1e-6) == "1.23"
    assert number(0, ".1f") == "0.0"
    assert number(None, ".1f") == ""
    assert percentage(0.12345) == "12.35"
    assert percentage(None) == ""


@pytest.mark.parametrize(
    ("value", "gained", "lost"),
    [
        (3.44, "+3.4", "3.4"),
        (-0.34, "−0.3", "−0.3"),
        (0.04, "0.0", "0.0"),
        (-0.04, "0.0", "0.0"),
        (12.0, "+12.0", "12.0"),
    ],
)
def test_points_have_a_sign_where_they_are_gained_and_nothing_has_none(value: float, gained: str, lost: str) -> None:
    assert points(value) == gained
    assert points(value, sign="") == lost


def test_limits_are_written_as_points() -> None:
    assert between(Estimate(0.9, -0.04, 1.44, 3)) == "0.0 to +1.4"
    assert between(Estimate(0.9, -0.4, 1.44, 3), sign="") == "−0.4 to 1.4"
    assert between(Estimate(0.9, None, None, 1)) == ""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1.0, "1 point"),
        (0.5, "0.5 points"),
        (2, "2 points"),
        (0.456, "0.46 points"),
        (12.5, "12.5 points"),
        (100, "100 points"),
    ],
)
def test_an_amount_has_its_unit(value: float, said: str) -> None:
    assert counted(value) == said
