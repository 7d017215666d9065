"""Points: two floats that mean the same wherever they stand."""

from sweeps.spec.arms import DEFAULT_POINTS
from sweeps.spec.point import Point


def test_a_point_is_stored_by_the_names_of_its_parameters() -> None:
    assert list(Point(4.0, 0.25).as_dict().items()) == [("temperature", 4.0), ("alpha", 0.25)]


def test_equal_points_are_the_same_point() -> None:
    assert len({Point(4.0, 0.25), Point(4.0, 0.25), Point(4.0, 0.5)}) == 2


def test_the_arms_without_a_teacher_train_on_the_labels_alone() -> None:
    assert DEFAULT_POINTS["scratch"] == DEFAULT_POINTS["scratch-same-cost"] == Point(1.0, 1.0)
