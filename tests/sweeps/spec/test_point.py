"""Points: values that mean the same wherever they stand."""

from sweeps.distill.arms import DEFAULT_POINTS
from sweeps.trainers.protocol import Point


def test_a_point_is_stored_by_the_names_of_its_parameters() -> None:
    assert list(Point(4.0, 0.25).as_dict().items()) == [("temperature", 4.0), ("alpha", 0.25)]


def test_what_else_is_searched_stands_apart_and_in_one_order() -> None:
    point = Point.of({"learning_rate": 0.004, "temperature": 4.0, "epochs": 12, "alpha": 0.25})
    assert point == Point.of({"alpha": 0.25, "epochs": 12, "temperature": 4.0, "learning_rate": 0.004})
    assert point.as_json() == {"temperature": 4.0, "alpha": 0.25, "more": {"epochs": 12, "learning_rate": 0.004}}
    assert Point.read(point.as_json() | {"rank": 1}) == point
    assert point.text() == "T = 4, alpha = 0.25, epochs = 12, learning_rate = 0.004"
    assert Point(6.795, 0.72387).text() == "T = 6.79, alpha = 0.724"


def test_equal_points_are_the_same_point() -> None:
    assert len({Point(4.0, 0.25), Point(4.0, 0.25), Point(4.0, 0.5)}) == 2


def test_the_arms_without_a_teacher_train_on_the_labels_alone() -> None:
    assert DEFAULT_POINTS["scratch"] == DEFAULT_POINTS["scratch-same-cost"] == Point(1.0, 1.0)
