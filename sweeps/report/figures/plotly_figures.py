"""The key figure of a report for optuna-dashboard, which shows plotly's: to hover over and to zoom into.

Apart from `gains`, so that a report is written without plotly. One for each target and no more: the dashboard shows
the figures of a study in no order, and draws searches itself.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from sweeps.report.figures.data import ARM_COLOURS, BLACK, GREY, VERMILLION, GainMark, RegretMark, by_dataset
from sweeps.report.words import display_name
from sweeps.stats.estimates import Estimate, limits

_HEIGHT = 450  # pixels: what the dashboard's cards show of a figure


def figures(gains: Sequence[GainMark], regrets: Sequence[RegretMark], parameters: str) -> dict[str, go.Figure]:
    """Return a figure for each target whose arms are trained, by name: "answer-0" is of the first target."""
    marks = by_dataset(gains)
    panels = [(regret, marks[regret.dataset]) for regret in regrets if regret.dataset in marks]
    return {f"answer-{number}": _answer(regret, group, parameters) for number, (regret, group) in enumerate(panels)}


def _answer(regret: RegretMark, gains: Sequence[GainMark], parameters: str) -> go.Figure:
    figure = make_subplots(rows=2, cols=1, row_heights=[0.75, 0.25], vertical_spacing=0.2)
    for trace in _gains(gains):
        figure.add_trace(trace, row=1, col=1)
    for trace in _regret(regret):
        figure.add_trace(trace, row=2, col=1)
    dataset = escape(display_name(regret.dataset))
    figure.update_xaxes(title_text=f"{_axis(gains[0], 'gained')} over {escape(gains[0].without)}", row=1, col=1)
    figure.update_xaxes(title_text=f"{_axis(regret, 'lost')} by not tuning on {dataset}", row=2, col=1)
    figure.update_yaxes(autorange="reversed", row=1, col=1)
    figure.add_vline(0, line={"color": BLACK, "width": 1}, row=1, col=1)
    figure.add_vline(regret.margin, line={"color": BLACK, "dash": "dash"}, annotation_text="allowed", row=2, col=1)
    title = f"What {parameters} gain and lose on {dataset}"
    layout = {"height": _HEIGHT, "template": "plotly_white", "showlegend": False, "margin": {"t": 50, "b": 50}}
    return figure.update_layout(title=title, **layout)


def _gains(marks: Sequence[GainMark]) -> list[go.Scatter]:
    traces = []
    for mark in marks:
        label = escape(mark.label) + (f"<br><sub>{escape(mark.detail)}</sub>" if mark.detail else "")
        seeds = {"symbol": "line-ns-open", "color": GREY, "opacity": 0.6}
        traces.append(_dots([(value, label) for value in mark.seeds], "one seed", seeds))
        half = _half(mark.mean)
        colour = ARM_COLOURS.get(mark.arm, GREY)
        mean = _dots([(mark.mean.mean, label)], "mean, 95 % interval", {"size": 11, "color": colour})
        traces.append(mean.update(error_x={"array": [half], "color": colour}))
    return traces


def _regret(mark: RegretMark) -> list[go.Scatter]:
    half = _half(mark.mean)
    mean = _dots([(mark.mean.mean, "regret")], "mean, 95 % interval", {"size": 11, "color": VERMILLION})
    mean.update(error_x={"array": [half], "color": VERMILLION})
    if len(mark.searches) < 2:
        return [mean]
    return [_dots([(value, "searches") for value in mark.searches], "one search", {"size": 7, "color": GREY}), mean]


def _axis(mark: GainMark | RegretMark, what: str) -> str:
    return escape(mark.score.amount_of(what))


def _half(value: Estimate) -> float:
    ends = limits(value)
    return ends[1] - value.mean if ends else 0.0


def _dots(places: Sequence[tuple[Any, Any]], name: str, marker: Any) -> go.Scatter:
    x, y = [place[0] for place in places], [place[1] for place in places]
    return go.Scatter(x=x, y=y, name=name, mode="markers", marker=marker)
