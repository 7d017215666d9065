"""The drawings of gains and regret: frame, marks and labels of unusual sweeps."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from sweeps.report.figures.data import BLUE, GREY
from sweeps.report.figures.gains import gains, outside, regret
from sweeps.report.figures.style import as_svg, style
from sweeps.stats.estimates import Estimate
from tests.support.present import present
from tests.support.sweeps.pictured_sweeps import gain, texts
from tests.support.sweeps.pictured_sweeps import regret as regret_mark

BEST = gain("best", 5.0, 5.6, 4.7, 5.1, detail="T 4, α 0.3")
NATIVE = gain("native", 6.0, 5.6, 6.4, 6.1)
DEFAULT = gain("default-keras", 4.0, 4.4, 3.4, 4.6)
# Like DEFAULT, but one training diverged: 0 % instead of 69.6 %.
DIVERGED = gain("random", 4.0, 4.4, 3.4, -65.0)


def written(figure: Figure) -> list[str]:
    """Draw a figure and return all of its text."""
    with style():
        return texts(as_svg(figure))


def frames(figure: Figure) -> list[tuple[float, float]]:
    return [axes.get_xlim() for axes in figure.axes]


def marks(axes: Axes, marker: str) -> list[tuple[float, float, str]]:
    """Return the positions of the large marks of a kind, and their colours."""
    return [
        (line.get_xdata()[0], line.get_ydata()[0], to_hex(line.get_color()))  # type: ignore[index]
        for line in axes.lines
        if line.get_marker() == marker and line.get_markersize() > 5
    ]


def intervals(axes: Axes) -> list[tuple[float, ...]]:
    """Return the ends of the thick lines."""
    return [
        tuple(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 2.6 and line.get_marker() == "None"
    ]


def dots(axes: Axes) -> list[float]:
    """Return the positions of the small dots."""
    return [
        value
        for line in axes.lines
        if line.get_marker() == "o" and line.get_markersize() < 5
        for value in line.get_xdata()
    ]


def test_on_a_phone_names_and_numbers_are_above_the_marks_at_full_size() -> None:
    figure = gains([BEST, NATIVE], phone=True)
    assert figure.get_figwidth() * 96 == 360
    (axes,) = figure.axes
    labels = {text.get_text(): text.xy[1] for text in axes.texts}  # type: ignore[attr-defined]  # annotations
    assert [labels["called best"] < 0, 0 < labels["called native"] < 1] == [True, True], "the axis points down"
    assert labels["+5.1"] == labels["called best"]


def test_two_seeds_have_no_interval_line() -> None:
    (axes,) = gains([gain("best", 5.0, 6.0), gain("native", 5.0)]).axes
    assert intervals(axes) == []
    low, high = axes.get_xlim()
    assert high - low < 7.2, "t = 12.7 does not set the frame"
    assert len(marks(axes, "o")) == 2


def test_a_training_that_diverged_does_not_squash_the_others() -> None:
    (usual,) = frames(gains([NATIVE, BEST, DEFAULT]))
    figure = gains([NATIVE, BEST, DEFAULT, DIVERGED])
    (low, high) = frames(figure)[0]
    assert high - low < 1.3 * (usual[1] - usual[0])
    assert low <= 0
    (axes,) = figure.axes
    assert all(low <= end <= high for ends in intervals(axes) for end in ends)
    assert intervals(axes)[3] == (low, high), "its interval spans the whole frame"
    assert marks(axes, "<") == [(low, 3, GREY)], "an arrow points to its mean"
    assert len(marks(axes, "o")) == 3
    assert outside([NATIVE, BEST, DEFAULT, DIVERGED]) == (1, 1)
    assert "−13.3" in written(figure), "its mean is still written"


def test_if_the_undistilled_network_diverged_the_arrow_points_up() -> None:
    up = gain("native", 6.0, 5.6, 6.4, 70.0)
    figure = gains([up, BEST, DEFAULT])
    ((low, high),) = frames(figure)
    assert high - low < 12
    assert marks(figure.axes[0], ">") == [(high, 0, BLUE)]


def test_an_arm_that_is_bad_with_every_seed_is_inside_the_frame() -> None:
    bad = gain("random", -20.0, -20.5, -19.4, -20.2)
    ((low, _),) = frames(gains([NATIVE, BEST, bad]))
    assert low < min(bad.seeds)
    assert outside([NATIVE, BEST, bad]) == (0, 0)
    elsewhere = gain("best", 50.0, 51.0, 49.5, dataset="other")
    first, second = frames(gains([BEST, elsewhere]))
    assert first[1] < 10 < 40 < second[1], "each dataset has its own frame"


def test_a_seed_far_outside_the_frame_is_counted_but_not_drawn() -> None:
    # with many seeds the interval stays short
    far = gain("best", *[5.0, 5.2] * 50, -10.0)
    (axes,) = gains([far, NATIVE]).axes
    assert -10.0 not in dots(axes)
    assert len(dots(axes)) == 104
    assert outside([far, NATIVE]) == (1, 0)


@settings(max_examples=12, deadline=None)  # each draws
@given(st.lists(st.lists(st.floats(-100, 100), min_size=1, max_size=6), min_size=1, max_size=5))
def test_a_frame_contains_zero_and_a_mark_of_every_row(values: list[list[float]]) -> None:
    rows = [gain(f"arm{number}", *seeds) for number, seeds in enumerate(values)]
    (axes,) = gains(rows).axes
    low, high = axes.get_xlim()
    assert low < 0 < high
    drawn = [*marks(axes, "o"), *marks(axes, "<"), *marks(axes, ">")]
    assert sorted(row for _, row, _ in drawn) == list(range(len(rows)))
    assert all(low <= x <= high for x, _, _ in drawn)
    assert any(low < x < high for x, _, _ in drawn)
    assert all(low <= end <= high for ends in intervals(axes) for end in ends)


def test_the_frame_of_the_regret_contains_its_whole_interval() -> None:
    for mark in (regret_mark(3.0, 9.0, -4.0), regret_mark(-30.0, -31.0, -29.5)):
        ((low, high),) = frames(regret([mark]))
        assert low < min(present(mark.mean.low), 0)
        assert high > max(present(mark.mean.high), mark.margin)


def test_one_search_has_no_dots_and_two_seeds_no_line() -> None:
    mark = replace(regret_mark(0.3), mean=Estimate(0.3, -8.0, 8.6, 2))
    (axes,) = regret([mark]).axes
    assert dots(axes) == []
    assert intervals(axes) == []
    assert axes.get_xlim()[1] - axes.get_xlim()[0] < 4, "t = 12.7 does not set the frame"
