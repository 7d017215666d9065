"""Draw the key figure of a report with plotly, for optuna-dashboard, where it can be hovered over and zoomed.

Apart from `gains`, so that reports do without plotly. One figure per dataset of the answer: the dashboard shows the
figures of a study in no order and draws searches itself.
"""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from sweeps.report.figures.data import ARM_COLOURS, BLACK, GREY, GainMark, by_dataset
from sweeps.report.words import display_name
from sweeps.stats.estimates import limits

_HEIGHT = 450  # pixels that a card of the dashboard shows


def figures(gains: Sequence[GainMark], parameters: str) -> dict[str, go.Figure]:
    """Return a figure for each dataset by name; "answer-0" is the first one."""
    groups = by_dataset(gains).values()
    return {f"answer-{number}": _answer(group, parameters) for number, group in enumerate(groups)}


def _answer(marks: Sequence[GainMark], parameters: str) -> go.Figure:
    first = marks[0]
    figure = go.Figure([trace for mark in marks for trace in _traces(mark)])
    figure.add_vline(0, line={"color": BLACK, "width": 1})
    return figure.update_layout(
        title=f"What {parameters} gain on {escape(display_name(first.dataset))}",
        xaxis_title=escape(f"{first.score.amount_of('gained')} over {first.without}"),
        yaxis_autorange="reversed",
        height=_HEIGHT,
        template="plotly_white",
        showlegend=False,
        margin={"t": 50, "b": 50},
    )


def _traces(mark: GainMark) -> Iterator[go.Scatter]:
    label = escape(mark.label) + (f"<br><sub>{escape(mark.detail)}</sub>" if mark.detail else "")
    ends, colour = limits(mark.mean), ARM_COLOURS.get(mark.arm, GREY)
    half = ends[1] - mark.mean.mean if ends else 0.0
    yield _dots(mark.seeds, label, "one seed", {"symbol": "line-ns-open", "color": GREY, "opacity": 0.6})
    mean = _dots([mark.mean.mean], label, "mean, 95 % CI", {"size": 11, "color": colour})
    yield mean.update(error_x={"array": [half], "color": colour})


def _dots(values: Sequence[float], label: str, name: str, marker: Any) -> go.Scatter:
    return go.Scatter(x=values, y=[label] * len(values), name=name, mode="markers", marker=marker)
