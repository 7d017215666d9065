"""Draw the forest plot of a comparison of sweeps."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from sweeps.findings.compare import Absent, Compared
from sweeps.report.figures.data import BLACK, VERMILLION
from sweeps.report.figures.style import LIFT, SMALL, as_svg, column, frame, name_row, set_rows, style, value_row
from sweeps.report.words import SAME, between, compared_with, display_name, is_same_point, points
from sweeps.stats.estimates import Estimate, limits
from sweeps.terminal import joined, truncated
from sweeps.trainers.score import Score

NAME, NARROW = "forest", "forest-narrow"
ALT = "What each sweep gains, and how the sweeps differ, with 95 % CIs"

_LONGEST = 24  # characters of a row's name
_MOST_PAIRS = 30  # per dataset; more are only in the table


@dataclass(frozen=True)
class Mark:
    label: str
    detail: str
    value: Estimate


@dataclass(frozen=True)
class Panel:
    title: str
    marks: tuple[Mark, ...]


def panels(comparison: Compared) -> list[Panel]:
    """Return the panels with rows: by dataset, the gains and losses of each sweep, then sweep against sweep."""
    candidates = []
    without, default = compared_with(comparison.sweeps)
    questions = {
        "gain": f"gained over {without}",
        "tuning": f"gained over {default}",
        "regret": "lost by not tuning there",
    }
    symbols = {findings.name: findings.spec.kind.features.symbols for findings in comparison.sweeps}
    for dataset in comparison.datasets:
        for name, title in questions.items():
            marks = [
                Mark(
                    truncated(standing.sweep, _LONGEST),
                    standing.point.brief(symbols[standing.sweep], most=2) if standing.point else "",
                    value,
                )
                for standing in comparison.standings
                if standing.dataset == dataset and not isinstance(value := getattr(standing, name), Absent)
            ]
            candidates.append(Panel(f"{comparison.score.amount_of(title)} on {display_name(dataset)}", tuple(marks)))
        marks = [
            Mark(truncated(pair.first, _LONGEST), f"minus {truncated(pair.second, _LONGEST)}", pair.difference)
            for pair in comparison.pairs
            if pair.dataset == dataset and pair.difference is not None
        ]
        marks = marks if len(marks) <= _MOST_PAIRS else []
        candidates.append(
            Panel(f"{comparison.score.amount_of('of difference')} on {display_name(dataset)}", tuple(marks))
        )
    return [panel for panel in candidates if panel.marks]


def draw(comparison: Compared) -> dict[str, str]:
    """Return the plot, and one for phones, as SVG by name; empty without a number."""
    drawn, score = panels(comparison), comparison.score
    if not drawn:
        return {}
    return {NAME: draw_panels(drawn, score), NARROW: draw_panels(drawn, score, phone=True)}


def draw_panels(drawn: Sequence[Panel], score: Score, *, phone: bool = False) -> str:
    """Draw panels below each other as SVG; score: of the differences."""
    with style():
        figure, grid = column([len(panel.marks) for panel in drawn], below=0.5, above=0.12, phone=phone)
        for axes, panel in zip(grid, drawn, strict=True):
            _draw(axes, score, panel, lift=LIFT if phone else 0.0)
        return as_svg(figure)


def caption(comparison: Compared) -> str:
    lines = any(limits(mark.value) for panel in panels(comparison) for mark in panel.marks)
    what = (
        "Dot and line: mean and 95 % CI over training seeds, or searches for a regret over several."
        if lines
        else "Dot: mean; fewer than three seeds give no interval."
    )
    tested = joined(dict.fromkeys(sweep.spec.kind.features.tested for sweep in comparison.sweeps))
    return f"{what} Vertical line: no difference. Measured on {tested} that were not used for any choice."


def _draw(axes: Axes, score: Score, panel: Panel, *, lift: float) -> None:
    values = [mark.value for mark in panel.marks]
    axes.set_xlim(*frame([0.0, *(end for value in values for end in (value.mean, *(limits(value) or ())))]))
    axes.axvline(0, color=BLACK, lw=1.1, zorder=1)
    axes.grid(visible=True, axis="x")
    for row, mark in enumerate(panel.marks):
        if ends := limits(mark.value):
            axes.plot(ends, [row, row], color=VERMILLION, lw=2.6, solid_capstyle="butt", zorder=3)
        axes.plot(mark.value.mean, row, "o", color=VERMILLION, ms=7.5, mec="white", mew=1, zorder=4)
        name_row(axes, row - lift, mark.label, mark.detail)
        mean = SAME if is_same_point(mark.value) else points(score, mark.value)
        value_row(axes, row - lift, mean, between(score, mark.value))
    set_rows(axes, len(panel.marks))
    axes.set_xlabel(panel.title, fontsize=SMALL)
