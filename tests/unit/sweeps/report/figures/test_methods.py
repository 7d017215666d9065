"""The drawing of other methods: accuracy against size, its heading and its caption."""

from dataclasses import replace

import pytest

from sweeps.report.figures.methods import caption, heading, methods
from sweeps.stats.estimates import Estimate
from tests.support.sweeps.pictured_sweeps import mean, method

STUDENT = replace(
    method("Student, distilled", 0, 113e3), test=mean([0.69, 0.7, 0.71]), distilled=True, is_reference=False
)
LARGE, SMALL = method("Large", 80, 13.6e6), method("Small", 60, 120e3)


@pytest.mark.parametrize(
    ("others", "text"),
    [
        ([LARGE, SMALL], "Large is better, and 120 times larger"),
        ([SMALL], "No other method is better; Small comes next and is about as large"),
        ([replace(LARGE, test=mean([0.72]))], "No other method is better; Large comes next and is 120 times larger"),
        ([replace(LARGE, size=50e3)], "Large is better, and smaller"),
        ([], "Accuracy against size"),
    ],
)
def test_the_heading_follows_from_the_numbers(others: list[object], text: str) -> None:
    """0.72 is inside the interval of the student."""
    assert heading([*others, STUDENT]) == text  # type: ignore[list-item]


def test_equal_sizes_and_accuracies_get_a_frame_and_labels_that_do_not_overlap() -> None:
    (axes,) = methods([SMALL, replace(SMALL, label="Again")]).axes
    low, high = axes.get_xlim()
    assert low < 120e3 < high
    low, high = axes.get_ylim()
    assert low < 60 < high
    heights = {text.get_text(): text.xyann[1] for text in axes.texts if hasattr(text, "xyann")}
    assert abs(heights["Small"] - heights["Again"]) > 20


def test_the_caption_has_the_budget_of_a_search_and_explains_the_bars() -> None:
    searched = replace(SMALL, label="AutoKeras", detail="2 trials of 4 epochs")
    assert caption([searched, STUDENT]).endswith(" Bars: 95 % CI over seeds. AutoKeras: 2 trials of 4 epochs.")
    single = replace(STUDENT, test=Estimate(0.7, None, None, 1))
    assert "Bars" not in caption([single, LARGE])
