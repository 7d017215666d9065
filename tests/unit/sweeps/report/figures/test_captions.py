"""The captions explain the line, the dots and the arrow that a figure has."""

from dataclasses import replace
from typing import Any

from tests.support.points import at
from tests.support.sweeps.pictured_sweeps import FOUR, PLANE, SEARCH, figures, gain, mean, regret

GAINS = (gain("best", 5.0, 5.5, 4.5), gain("random", 1.0, 2.0, 0.5))


def captions(**values: Any) -> dict[str, str]:
    return {figure.name: figure.caption(data) for figure, data in figures(**values)}


def test_the_caption_of_gains_has_the_numbers_of_seeds_and_of_dots_outside_the_frame() -> None:
    fewer = captions(gains=(*GAINS, gain("native", 5.0, 6.0)))["gains"]
    assert "over 2 to 3 training seeds" in fewer
    two = captions(gains=(gain("best", 5.0, 6.0),))["gains"]
    assert two.startswith("Large dot: mean of 2 training seeds, each"), "two seeds have no interval, so no line"
    diverged = captions(gains=(*GAINS, gain("native", 5.0, 6.0, -65.0)))["gains"]
    assert (
        "Small dots: single seeds (outside the frame: 1). Arrow: the mean lies outside the frame. Measured" in diverged
    )


def test_a_regret_without_spread_has_no_line() -> None:
    alike = captions(regret=(replace(regret(0.3), mean=mean([0.0, 0.0, 0.0])),))["regret"]
    assert alike == "Large dot: mean over training seeds. To pass, the whole line must stay left of the margin."


def test_the_highest_run_of_a_surface_has_its_point_in_three_digits() -> None:
    trials = (FOUR[0], replace(FOUR[1], point=at(9.126, 0.3)), *FOUR[2:])
    caption = captions(surface=replace(PLANE, surfaces=(replace(SEARCH, trials=trials),)))["surface"]
    assert caption.endswith("by validation accuracy, partly luck: a$b$.npz 95.00 % at T = 9.13, alpha = 0.3.")
