"""The figures of a report for optuna-dashboard, which shows plotly's: the same data, to hover over and to zoom into."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any, TypeVar

import plotly.graph_objects as go

from sweeps.analysis.cost import MULTIPLES, BreakEven
from sweeps.analysis.surfaces import Surface
from sweeps.report.figures.data import (
    BLACK,
    BLUE,
    DEFAULTS,
    GREY,
    ORANGE,
    PURPLE,
    SCALE,
    SKY,
    VERMILLION,
    GainMark,
    MethodMark,
    Pictures,
    RegretMark,
    by_dataset,
    title,
)
from sweeps.report.names import called
from sweeps.spec.point import Point
from sweeps.stats.response import SIDE

_SOBOL = {"symbol": "circle", "size": 7, "color": "white", "line": {"color": BLACK, "width": 1}}
_PROPOSED = {"symbol": "triangle-up", "size": 8, "color": BLACK, "line": {"color": "white", "width": 1}}
_OTHER = {"symbol": "circle", "size": 4, "color": GREY}
_BEST = {"symbol": "star", "size": 16, "color": VERMILLION, "line": {"color": "white", "width": 1}}
_TIED = {"symbol": "star", "size": 13, "color": "white", "line": {"color": VERMILLION, "width": 2}}
_DEFAULTS = {
    arm: {"symbol": symbol, "size": 11, "color": colour, "line": {"color": BLACK, "width": 1}}
    for arm, symbol, colour in zip(DEFAULTS, ("square", "diamond"), (ORANGE, SKY), strict=True)
}
_ARMS = {"best": ("star", VERMILLION), "native": ("diamond", BLUE)}
_LOGARITHMIC = {"type": "log", "tickvals": [digit * 10.0**power for power in range(-4, 7) for digit in (1, 2, 5)]}
_HEIGHT = 450  # pixels: what the dashboard's cards show of a figure

Part = TypeVar("Part")


def figures(shown: Pictures) -> dict[str, go.Figure]:
    """Return those whose data is there, one for each dataset, what the page is about first.

    Args:
        shown: Pictures of one sweep.

    Returns:
        The figures by their names, which are in the order in which they are to be shown: "1-gains-0".
    """
    gains = [(f"What each choice gains on {called(name)}", marks) for name, marks in by_dataset(shown.gains).items()]
    lost = [(f"What is lost by not tuning on {called(one.dataset)}", one) for one in shown.regrets]
    methods = [(f"Other methods on {called(name)}", marks) for name, marks in by_dataset(shown.methods).items()]
    searches = [(title(one), (one, shown)) for one in shown.surfaces]
    even = [(f"AutoKeras on {called(one.dataset)}", one) for one in shown.break_even]
    return {
        **_drawn("1-gains", gains, _gains, "points of test accuracy gained over no distillation", "", down=True),
        **_drawn("2-regret", lost, _regret, "points lost", ""),
        **_drawn("3-methods", methods, _methods, "test accuracy, %", ""),
        **_drawn("4-surface", searches, _surface, "temperature T", "alpha, weight of the labels", log=True),
        **_drawn("5-break-even", even, _break_even, "training, CPU s", "validation accuracy, %", log=True),
    }


def _drawn(
    name: str,
    parts: Sequence[tuple[str, Part]],
    traces: Callable[[Part], list[Any]],
    x: str,
    y: str,
    *,
    log: bool = False,
    down: bool = False,
) -> dict[str, go.Figure]:
    drawn = {}
    for number, (heading, part) in enumerate(parts):
        figure = go.Figure([trace for trace in traces(part) if trace.x])
        named: set[str | None] = {None}
        for trace in figure.data:
            trace.showlegend = trace.name not in named
            named.add(trace.name)
        figure.update_xaxes(title_text=x, **(_LOGARITHMIC if log else {}))
        figure.update_yaxes(title_text=y, autorange="reversed" if down else None)
        legend = {"orientation": "h", "yref": "container", "y": 0.0, "yanchor": "bottom"}
        layout = {"height": _HEIGHT, "template": "plotly_white", "legend": legend, "margin": {"t": 50, "b": 100}}
        drawn[f"{name}-{number}"] = figure.update_layout(title=escape(heading), **layout)
    return drawn


def _gains(marks: Sequence[GainMark]) -> list[Any]:
    traces = []
    for mark in marks:
        symbol, colour = _ARMS.get(mark.arm, ("circle", GREY))
        label = f"{escape(mark.label)}<br><sub>{escape(mark.detail)}</sub>" if mark.detail else escape(mark.label)
        seeds = {"symbol": "line-ns-open", "color": GREY, "opacity": 0.6}
        traces.append(_dots([(value, label) for value in mark.seeds], "one seed", seeds))
        half = 0.0 if mark.mean.high is None else mark.mean.high - mark.mean.mean
        mean = _dots([(mark.mean.mean, label)], None, {"symbol": symbol, "size": 11, "color": colour})
        traces.append(mean.update(error_x={"array": [half], "color": colour}))
    return traces


def _regret(one: RegretMark) -> list[Any]:
    mean = one.mean
    half = 0.0 if mean.high is None else mean.high - mean.mean
    line = {"mode": "lines", "line": {"color": BLACK, "dash": "dash"}}
    dots = {"symbol": "circle", "color": GREY, "size": 7}
    several = [_dots([(value, "searches") for value in one.searches], "one search", dots)]
    found = _dots([(mean.mean, "regret")], "regret", {"symbol": "star", "size": 13, "color": VERMILLION})
    found.update(error_x={"array": [half], "color": VERMILLION})
    rows = ["searches", "regret"] if len(one.searches) > 1 else ["regret"]
    margin = _dots([(one.margin, row) for row in (*rows, "")], "allowed", None, **line)
    return [*(several if len(one.searches) > 1 else []), found, margin]


def _methods(marks: Sequence[MethodMark]) -> list[Any]:
    traces = []
    for mark in marks:
        look = {"symbol": "circle", "size": 11, "color": VERMILLION if mark.distilled else GREY}
        traces.append(_dots([(mark.accuracy, escape(mark.label))], None, look, text=[mark.cost], hoverinfo="text+x"))
    return traces


def _surface(searched: tuple[Surface, Pictures]) -> list[Any]:
    one, shown = searched
    traces: list[Any] = []
    if one.top is not None:
        place = [(step + 0.5) / SIDE for step in range(SIDE)]
        (t_low, t_high), (a_low, a_high) = shown.temperature, shown.alpha
        box = {
            "x": [t_low * (t_high / t_low) ** at for at in place],
            "y": [a_low + (a_high - a_low) * at for at in place],
            "z": [list(column) for column in zip(*one.top.mean, strict=True)],
        }
        traces.append(go.Contour(**box, colorscale=SCALE, colorbar={"title": "points"}, hoverinfo="skip"))
    traces.append(_dots([_place(trial.point) for trial in one.others], "trial of another search", _OTHER))
    traces += _trials(one)
    traces += [_dots([_place(point)], name, _DEFAULTS[name]) for name, point in DEFAULTS.items()]
    traces.append(_dots(list(map(_place, one.tied)), "tied with best", _TIED))
    if one.best is not None:
        traces.append(_dots([_place(one.best)], "confirmed best", _BEST))
    return traces


def _trials(one: Surface) -> list[go.Scatter]:
    """Return the trials of the first search: those from Sobol and those that were proposed."""
    traces = []
    for name, shared, marker in (("trial, Sobol", True, _SOBOL), ("trial, proposed", False, _PROPOSED)):
        chosen = [trial for trial in one.trials if trial.shared is shared]
        said = [
            f"trial {trial.number}: T = {trial.point.temperature:.4g}, alpha = {trial.point.alpha:.4g},"
            f" {trial.accuracy:.2f} %"
            for trial in chosen
        ]
        traces.append(_dots([_place(trial.point) for trial in chosen], name, marker, text=said, hoverinfo="text"))
    return traces


def _break_even(one: BreakEven) -> list[Any]:
    seconds, accuracies = zip(*one.curve, strict=True)
    marks = [multiple * one.sweep_cpu_s for multiple in MULTIPLES]
    line = {"shape": "hv", "color": PURPLE}
    ticks = {"symbol": "line-ns-open", "size": 16, "color": GREY}
    flat = {"mode": "lines", "line": {"dash": "dash", "color": BLUE}}
    return [
        go.Scatter(x=seconds, y=accuracies, mode="lines+markers", line=line, name="AutoKeras, best so far"),
        _dots([(min(*seconds, *marks), one.student), (max(*seconds, *marks), one.student)], "student", None, **flat),
        _dots([(mark, one.student) for mark in marks], "1/4, 1, 4, 16 x what the sweep cost", ticks),
    ]


def _place(point: Point) -> tuple[float, float]:
    return point.temperature, point.alpha


def _dots(places: Sequence[tuple[Any, Any]], name: str | None, marker: Any, **more: Any) -> go.Scatter:
    x, y = [place[0] for place in places], [place[1] for place in places]
    return go.Scatter(x=x, y=y, name=name, **{"mode": "markers", "marker": marker, **more})
