"""The captions: one for each figure that is drawn, saying what a line, a dot and an arrow are."""

from dataclasses import replace

from sweeps.report.figures.gains import captions
from sweeps.trainers.protocol import Point
from tests.support.sweeps.pictured_sweeps import EVEN, FITTED, FOUR, NOTHING, SEARCH, gain, mean, method, regret

SHOWN = replace(
    NOTHING,
    gains=(gain("best", 5.0, 5.5, 4.5), gain("random", 1.0, 2.0, 0.5)),
    regrets=(regret(0.3),),
    methods=(method("mobilenet", 90.0),),
    surfaces=(SEARCH,),
    break_even=(EVEN,),
)


def test_every_part_has_a_caption_in_the_order_of_the_page() -> None:
    assert list(captions(SHOWN)) == ["gains", "regret", "methods", "surface", "break-even"]
    assert captions(NOTHING) == {}


def test_gains_say_how_many_seeds_and_what_is_outside_the_frame() -> None:
    said = captions(SHOWN)["gains"]
    assert said.startswith("Line: mean and 95 % interval over 3 training seeds, each compared with the undistilled")
    assert "Small dots: single seeds. Test images" in said
    fewer = captions(replace(SHOWN, gains=(*SHOWN.gains, gain("native", 5.0, 6.0))))["gains"]
    assert "over 2 to 3 training seeds" in fewer
    two = captions(replace(SHOWN, gains=(gain("best", 5.0, 6.0),)))["gains"]
    assert two.startswith("Large dot: mean of 2 training seeds, each"), "two seeds have no interval, so no line"
    diverged = captions(replace(SHOWN, gains=(*SHOWN.gains, gain("native", 5.0, 6.0, -65.0))))["gains"]
    assert (
        "Small dots: single seeds (outside the frame: 1). Arrow: the mean lies outside the frame. Test images"
        in diverged
    )


def test_the_regret_says_what_its_interval_is_over() -> None:
    seeds = replace(regret(0.3), mean=mean([0.1, 0.3, 0.5]))
    said = captions(replace(SHOWN, regrets=(seeds,)))["regret"]
    assert said == "Line: mean and 95 % interval over training seeds. The line may not cross the margin."
    alike = captions(replace(SHOWN, regrets=(replace(seeds, mean=mean([0.0, 0.0, 0.0])),)))["regret"]
    assert alike == "Large dot: mean over training seeds. The line may not cross the margin."
    several = captions(replace(SHOWN, regrets=(regret(0.1, 0.3, 0.5),)))["regret"]
    assert several == (
        "Line: mean and 95 % interval over searches and their seeds. Small dots: one search on each dataset. The line"
        " may not cross the margin."
    )


def test_a_surface_says_whether_it_was_fitted_and_its_highest_run_of_which_luck_is_a_part() -> None:
    highest = "Highest single run of the first search on a$b$.npz: 95.00 % at T = 9.13, alpha = 0.3, partly luck."
    trials = (FOUR[0], replace(FOUR[1], point=Point(9.126, 0.3)), *FOUR[2:])
    plain = captions(replace(SHOWN, surfaces=(replace(SEARCH, trials=trials),)))["surface"]
    assert plain == f"Every trial is a single run; too few searches for a fitted surface. {highest}"
    fitted = captions(replace(SHOWN, surfaces=(replace(SEARCH, trials=trials, top=FITTED),)))["surface"]
    assert fitted == f"Shading: the surface fitted to all runs of all searches. {highest}"


def test_the_break_even_says_what_its_lines_are() -> None:
    said = captions(SHOWN)["break-even"]
    assert "The dashed line is the distilled student. Dotted lines are multiples of the CPU seconds" in said.replace(
        "  ", " "
    )
