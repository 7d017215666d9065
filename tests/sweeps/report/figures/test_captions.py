"""The captions: one for each figure that is drawn, with the numbers that it shows."""

from sweeps.analysis.cost import BreakEven
from sweeps.analysis.surfaces import SearchTrial, Surface
from sweeps.report.figures.captions import captions
from sweeps.report.figures.data import ArmMark, CostMark, Pictures
from sweeps.spec.point import Point
from sweeps.stats.estimates import Estimate

SEARCH = Surface(
    role="source",
    dataset="digits",
    trials=(SearchTrial(Point(2, 0.25), 90.0, 0, True), SearchTrial(Point(9.126, 0.3), 95.5, 1, False)),
    best=None,
    tied=(),
    icc=None,
    optimism=None,
)
SHOWN = Pictures(
    temperature=(1, 20),
    alpha=(0, 1),
    surfaces=(SEARCH,),
    arms=(
        ArmMark("digits", "best", (90.0,), Estimate(90.0, None, None, 1)),
        ArmMark("digits", "scratch", (90.0,), Estimate(90.0, None, None, 1)),
        ArmMark("digits", "random", (80.0,), Estimate(80.0, None, None, 1)),
    ),
    latency=(
        CostMark("digits", "teacher", "teacher", 3.0, 95.0, on_front=True),
        CostMark("digits", "best", "arm", 1.0, 90.0, on_front=True),
        CostMark("digits", "mobilenet", "baseline", 4.0, 80.0, on_front=False),
    ),
    training=(CostMark("digits", "best", "arm", 1.0, 90.0, on_front=True),),
    break_even=(BreakEven(dataset="digits", curve=((1, 2),), student=3, sweep_cpu_s=1, at=(), even_at=None),),
)


def test_a_search_is_said_with_its_range_and_its_best_trial() -> None:
    said = captions(SHOWN)
    assert "on digits 90.00 to 95.50 % in 2 trials" in said["surface"]
    assert "Best search trial: on digits trial 1 of 2 with 95.50 % at T = 9.13, alpha = 0.3." in said["history"]


def test_arms_that_share_the_highest_mean_are_all_named() -> None:
    assert "Highest mean: on digits best and scratch with 90.00 %." in captions(SHOWN)["arms"]


def test_the_front_is_named_from_cheap_to_dear() -> None:
    said = captions(SHOWN)
    assert "Pareto front: on digits best, teacher;" in said["cost-latency"]
    assert "Pareto front: on digits best;" in said["cost-training"]
    assert "AutoKeras" in said["break-even"]


def test_what_is_not_drawn_has_no_caption() -> None:
    nothing = Pictures(temperature=(1, 20), alpha=(0, 1), surfaces=(), arms=(), latency=(), training=(), break_even=())
    assert captions(nothing) == {}
