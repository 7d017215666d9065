"""The figure of the answer: its data, its scale, and its width on a phone."""

from dataclasses import replace

from matplotlib.axes import Axes

from sweeps.report.choice import StrategyRow
from sweeps.report.figures.data import Strategies, strategies
from sweeps.report.figures.strategies import narrow
from sweeps.report.figures.strategies import strategies as wide
from sweeps.spec.model import override
from sweeps.stats.estimates import Estimate
from tests.support.sweeps.builders import make_findings
from tests.support.sweeps.chosen_sweeps import CHOSEN, chosen
from tests.support.sweeps.reported_sweeps import REPORTED, run

SHOWN = Strategies(
    rows=(
        StrategyRow("default", "Untuned default", "T 3", Estimate(0.89, 0.82, 0.97, 8), "89 % [82, 97]", "free", True),
        StrategyRow(
            "elsewhere", "Tuned on MNIST", "T 4", Estimate(1.01, 0.92, 1.1, 8), "101 % [92, 110]", "6 min", False
        ),
        StrategyRow("here", "Tuned on CIFAR-10 itself", "T 5", Estimate(1.0, 1.0, 1.0, 8), "100 %", "12 min", False),
    ),
    is_share=True,
    enough=0.8,
    enough_label="good enough: at least 80 % of the gain",
    zero="no distillation",
    axis="points of test accuracy over no distillation",
    scope="over 8 searches",
)


def written(axes: Axes) -> set[str]:
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    return {*ticks, *(text.get_text() for text in axes.texts)}


def test_on_a_phone_names_are_above_the_bars_and_text_keeps_its_size() -> None:
    figure = narrow(SHOWN)
    assert figure.get_figwidth() * 96 == 360
    (axes,) = figure.axes
    heights = [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "o"]
    names = [text.get_position()[1] for text in axes.texts if text.get_text() in ("Untuned default", "Tuned on MNIST")]
    assert all(name < bar for name, bar in zip(names, heights, strict=False)), "the y axis points down"
    assert min(text.get_fontsize() for text in axes.texts) >= 8.5


def test_the_axis_includes_negative_values() -> None:
    (default, *others) = SHOWN.rows
    below = replace(SHOWN, rows=(replace(default, value=Estimate(-0.2, -0.5, 0.1, 8)), *others))
    (axes,) = wide(below).axes
    assert axes.get_xlim()[0] < -0.5


def test_the_data_is_the_share_of_the_gain_or_points_without_a_band() -> None:
    shares = strategies(chosen([0.1, 0.5, 0.4, 0.2, 0.6, 0.3, 0.0, 0.3], 0.0))
    assert shares is not None
    assert (shares.is_share, shares.enough, shares.zero) == (True, 0.8, "no distillation")
    assert [mark.is_advised for mark in shares.rows] == [True, False, False]
    in_points = strategies(chosen(spec=override(CHOSEN, {"outer.searches": 1})))
    assert in_points is not None
    assert (in_points.is_share, in_points.enough) == (False, None)
    (axes,) = wide(in_points).axes
    assert list(axes.patches) == []
    assert "points of test accuracy over no distillation" in written(axes)


def test_without_a_gain_there_is_no_share() -> None:
    nothing = strategies(chosen(gain=0.05))
    assert nothing is not None
    assert (nothing.is_share, nothing.enough) == (False, None)
    assert not any(mark.is_advised for mark in nothing.rows)


def test_older_rules_and_unfinished_sweeps_have_no_strategies() -> None:
    assert strategies(make_findings(override(REPORTED, {"transfer.rule": 2}), run)) is None
    assert strategies(chosen(until="transfer#target.best.2")) is None
