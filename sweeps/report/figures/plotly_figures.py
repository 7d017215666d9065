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
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SCALE,
    SKY,
    VERMILLION,
    ArmMark,
    CostMark,
    Mark,
    Pictures,
    best_so_far,
    by_dataset,
    short,
    title,
)
from sweeps.spec.point import Point

_SOBOL = {"symbol": "circle", "size": 7, "color": "white", "line": {"color": BLACK, "width": 1}}
_TPE = {"symbol": "triangle-up", "size": 8, "color": BLACK, "line": {"color": "white", "width": 1}}
_BEST = {"symbol": "star", "size": 16, "color": VERMILLION, "line": {"color": "white", "width": 1}}
_TIED = {"symbol": "star", "size": 13, "color": "white", "line": {"color": VERMILLION, "width": 2}}
_DEFAULTS = {
    arm: {"symbol": symbol, "size": 11, "color": colour, "line": {"color": BLACK, "width": 1}}
    for arm, symbol, colour in zip(DEFAULTS, ("square", "diamond"), (ORANGE, SKY), strict=True)
}
_ARMS = {"best": ("star", VERMILLION), "native": ("diamond", BLUE), "scratch": ("square", BLACK)}
_KINDS = {"teacher": ("square", GREEN), "arm": ("circle", BLUE), "baseline": ("triangle-up", PURPLE)}
_LOGARITHMIC = {"type": "log", "tickvals": [digit * 10.0**power for power in range(-4, 7) for digit in (1, 2, 5)]}
_HEIGHT = 450  # pixels: what the dashboard's cards show of a figure

Part = TypeVar("Part")


def figures(shown: Pictures) -> dict[str, go.Figure]:
    """Return those whose data is there, one for each dataset: "surface-0" is of the source, "surface-1" of a target."""
    searches = [(title(one), one) for one in shown.surfaces]
    cost = "training, its teacher and search included, s"
    even = [(short(one.dataset), one) for one in shown.break_even]
    return {
        **_drawn("surface", searches, _surface, "temperature T", "alpha, weight of the labels", log=True),
        **_drawn("history", searches, _history, "trial", "validation accuracy, %"),
        **_drawn("arms", _titled(shown.arms), _arms, "test accuracy, %", "", down=True),
        **_drawn("cost-latency", _titled(shown.latency), _costs, "latency p50, ms", "test accuracy, %", log=True),
        **_drawn("cost-training", _titled(shown.training), _costs, cost, "test accuracy, %", log=True),
        **_drawn("break-even", even, _break_even, "training, CPU s", "validation accuracy, %", log=True),
    }


def _titled(marks: Sequence[Mark]) -> list[tuple[str, list[Mark]]]:
    return [(short(dataset), group) for dataset, group in by_dataset(marks).items()]


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


def _surface(one: Surface) -> list[Any]:
    temperatures = [trial.point.temperature for trial in one.trials]
    alphas = [trial.point.alpha for trial in one.trials]
    values = [trial.accuracy for trial in one.trials]
    contour = {"x": temperatures, "y": alphas, "z": values, "connectgaps": True, "colorscale": SCALE}
    traces = [go.Contour(**contour, colorbar={"title": "%"}, hoverinfo="skip")]
    traces += _trials(one, temperatures, alphas)
    traces += [_dots([_place(point)], name, _DEFAULTS[name]) for name, point in DEFAULTS.items()]
    traces.append(_dots(list(map(_place, one.tied)), "tied with best", _TIED))
    if one.best is not None:
        traces.append(_dots([_place(one.best)], "confirmed best", _BEST))
    return traces


def _history(one: Surface) -> list[Any]:
    numbers = [trial.number for trial in one.trials]
    line = {"mode": "lines", "line": {"shape": "hv", "color": BLUE}, "name": "best so far"}
    return [
        go.Scatter(x=numbers, y=best_so_far(one), **line),
        *_trials(one, numbers, [trial.accuracy for trial in one.trials]),
    ]


def _trials(one: Surface, x: Sequence[float], y: Sequence[float]) -> list[go.Scatter]:
    """Return the trials of a search at these places: those from Sobol and those from TPE."""
    traces = []
    for name, shared, marker in (("trial, Sobol", True, _SOBOL), ("trial, TPE", False, _TPE)):
        chosen = [index for index, trial in enumerate(one.trials) if trial.shared is shared]
        said = [
            f"trial {trial.number}: T = {trial.point.temperature:.4g}, alpha = {trial.point.alpha:.4g},"
            f" {trial.accuracy:.2f} %"
            for trial in one.trials
        ]
        places = [(x[index], y[index]) for index in chosen]
        traces.append(_dots(places, name, marker, text=[said[index] for index in chosen], hoverinfo="text"))
    return traces


def _arms(marks: Sequence[ArmMark]) -> list[Any]:
    traces = []
    for mark in marks:
        symbol, colour = _ARMS.get(mark.arm, ("circle", GREY))
        seeds = {"symbol": "line-ns-open", "color": GREY, "opacity": 0.6}
        traces.append(_dots([(value, mark.arm) for value in mark.seeds], "one seed", seeds))
        half = 0.0 if mark.mean.high is None else mark.mean.high - mark.mean.mean
        mean = _dots([(mark.mean.mean, mark.arm)], None, {"symbol": symbol, "size": 11, "color": colour})
        traces.append(mean.update(error_x={"array": [half], "color": colour}))
    return traces


def _costs(marks: Sequence[CostMark]) -> list[Any]:
    front = sorted((mark.cost, mark.accuracy) for mark in marks if mark.on_front)
    line = {"shape": "hv", "dash": "dash", "color": BLACK, "width": 1}
    traces = [_dots(front, "Pareto front", None, mode="lines", line=line, hoverinfo="skip")]
    for kind, (symbol, colour) in _KINDS.items():
        chosen = [mark for mark in marks if mark.kind == kind]
        places = [(mark.cost, mark.accuracy) for mark in chosen]
        look = {"symbol": symbol, "size": 11, "color": colour}
        traces.append(_dots(places, kind, look, text=[mark.method for mark in chosen], hoverinfo="text+x+y"))
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
