"""How numbers are written: with their intervals and units, and nothing where there is none."""

from sweeps.report.formats import accuracy, interval, number, percentage, point
from sweeps.spec.point import Point
from sweeps.stats.estimates import Estimate


def test_an_accuracy_is_in_percent_with_half_the_width_of_its_interval() -> None:
    assert accuracy(Estimate(0.9741, 0.9729, 0.9753, 10)) == "97.41 ± 0.12 (n=10)"
    assert accuracy(Estimate(0.9741, None, None, 1)) == "97.41 (n=1)"
    assert accuracy(None) == ""


def test_a_difference_has_its_sign_and_its_bounds() -> None:
    assert interval(Estimate(0.2, -0.489, 0.891, 10)) == "+0.20 [-0.49, +0.89] (n=10)"
    assert interval(Estimate(-1.0, None, None, 1)) == "-1.00 (n=1, no interval)"
    assert interval(None) == "not yet"


def test_a_number_is_scaled_and_nothing_stays_nothing() -> None:
    assert number(1_234_567, ",.2f", 1e-6) == "1.23"
    assert number(0, ".1f") == "0.0"
    assert number(None, ".1f") == ""
    assert percentage(0.12345) == "12.35"
    assert percentage(None) == ""


def test_a_point_has_three_digits() -> None:
    assert point(Point(6.795, 0.72387)) == "T = 6.79, alpha = 0.724"
