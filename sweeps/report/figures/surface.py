"""Draw the figure of the searches: the fitted surface, the trials, and the points to compare."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeps.findings.surfaces import Surface
from sweeps.report.figures.data import BLACK, BLUE, GREY, SCALE, VERMILLION, Axis, Plane
from sweeps.report.figures.style import NARROW_WIDTH, SMALL, logarithmic, panels
from sweeps.report.words import display_name, percent_interval
from sweeps.stats.top import SIDE, WORDS, Top
from sweeps.terminal import joined
from sweeps.trainers.score import Score

_MAP = LinearSegmentedColormap.from_list("accuracy", SCALE)
_Look: TypeAlias = dict[str, Any]
_CHARACTER = 0.018  # width of a character of a label, as a fraction of a panel
_HIGH, _STEPS = 250, 12  # height of a panel in points; how often a label is moved away from its point
_WIDE_GOOD, _SAME_PLACE = 0.1, 0.5  # fractions of the search space, and of the smaller good region


def _dot(label: str, marker: str, size: float, face: str, edge: str, width: float = 0.9) -> _Look:
    return {"label": label, "marker": marker, "ms": size, "mfc": face, "mec": edge, "mew": width, "ls": ""}


_SOBOL = _dot("trial, Sobol", "o", 4, "white", GREY)
_PROPOSED = _dot("trial, proposed", "^", 5, GREY, "white", 0.6)
_OTHER = _dot("trial of another search", ".", 4, GREY, GREY)
_UNTUNED = (("s", 9), ("D", 8))  # in turn
_LABEL: _Look = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}


def heading(plane: Plane) -> str:
    """Return how large the good regions of the fitted surfaces are, and whether they lie in one place."""
    fitted = [search.top for search in plane.surfaces if search.top is not None]
    if not fitted or len(fitted) < len(plane.surfaces) or any(top.word == WORDS[2] for top in fitted):
        return "Where the searches looked"
    sizes = {top.share >= _WIDE_GOOD for top in fitted}
    size = "is wide on one dataset, small on another"
    if len(sizes) == 1:
        size = "is wide" if sizes.pop() else "is small"
    if len(fitted) == 1:
        return f"The good region {size}"
    good = [_good(top) for top in fitted]
    common = len(set.intersection(*good)) / min(map(len, good))
    both = "both datasets" if len(fitted) == 2 else "all datasets"
    if common >= _SAME_PLACE:
        return f"The good region {size}, and lies in nearly the same place on {both}"
    return f"The good region {size}, and {'overlaps in part' if common else 'lies elsewhere on each dataset'}"


def _good(top: Top) -> set[tuple[int, int]]:
    highest = max(map(max, top.mean))
    return {
        (x, y)
        for x, column in enumerate(top.mean)
        for y, value in enumerate(column)
        if value >= highest - top.tolerance
    }


def surface(plane: Plane) -> Figure:
    """Draw one panel per dataset, side by side.

    Without a fit draw only points: contours through single runs would show their luck.
    """
    figure, grid = panels([""] * len(plane.surfaces), height=4.5)
    return _draw(figure, grid, plane, scaled=True)


def narrow(plane: Plane) -> Figure:
    """Draw it for a phone, with the panels below each other."""
    figure, grid = panels([""] * len(plane.surfaces), height=3.9, columns=1, width=NARROW_WIDTH)
    return _draw(figure, grid, plane, scaled=False)


def caption(plane: Plane) -> str:
    how = (
        "Shading: the surface fitted to all runs of all searches; stronger blue is better."
        if any(search.top is not None for search in plane.surfaces)
        else "Every trial is a single run; too few searches for a fitted surface."
    )
    best = "; ".join(_highest(plane.score, search) for search in plane.surfaces)
    by = f"validation {plane.score.name}"
    return f"{how} Best single runs of the first search by {by}, partly luck: {best}."


def _highest(score: Score, search: Surface) -> str:
    top = max(search.trials, key=lambda trial: trial.accuracy)
    return f"{display_name(search.dataset)} {score.scaled_text(top.accuracy)} at {top.point.text()}"


def _draw(figure: Figure, grid: Sequence[Axes], plane: Plane, *, scaled: bool) -> Figure:
    x, y = plane.axes
    kinds: list[_Look] = []
    side = "below" if plane.score.minimize else "above"
    for axes, search in zip(grid, plane.surfaces, strict=True):
        axes.set_title(f"{display_name(search.dataset)}", pad=22 if search.top is not None else 8)
        if search.top is not None:
            share = percent_interval(search.top.share, search.top.low, search.top.high)
            text = f"{share} of the search space is as good as its best point"
            small: _Look = {"textcoords": "offset points", "fontsize": SMALL + 1, "color": GREY}
            axes.annotate(text, (0, 1), xycoords="axes fraction", xytext=(0, 8), **small).set_in_layout(False)
            contours = _contours(axes, search, plane)
            if scaled:
                bar = figure.colorbar(contours, ax=axes, format=_signed, pad=0.03, aspect=28)
                bar.set_label(
                    f"{plane.score.difference or plane.score.name} {side} the mean of all runs", fontsize=SMALL + 1
                )
                bar.ax.tick_params(labelsize=SMALL)
        marks = _marks(search, plane)
        _scale(axes, x, [place for (place, _), _, _ in marks])
        _scale(axes, y, [place for (_, place), _, _ in marks], upright=True)
        kinds += _trials(axes, search, x.name, y.name)
        _points(axes, marks)
        axes.set_xlabel(x.title or x.name)
        axes.set_ylabel(y.title or y.name)
    unique = {kind["label"]: kind for kind in kinds}
    handles = [Line2D([], [], **kind) for kind in unique.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3 if scaled else 2)
    return figure


def _signed(value: float, _: int) -> str:
    return f"{value:.2g}".replace("-", "−")


_Mark: TypeAlias = tuple[tuple[float, float], str, _Look]


def _marks(search: Surface, plane: Plane) -> list[_Mark]:
    """Return place, label and look of the compared points on a dataset; equal points share one mark."""
    x, y = plane.axes
    tuned = [(other.dataset, other.best) for other in plane.surfaces if other.best is not None]
    source = plane.surfaces[0].dataset
    names: dict[tuple[float, float], list[str]] = {}
    looks: dict[tuple[float, float], _Look] = {}
    for dataset, point in tuned:
        if dataset in (source, search.dataset):
            place = (float(point[x.name]), float(point[y.name]))
            names.setdefault(place, []).append(display_name(dataset))
            colour = VERMILLION if dataset == source else BLUE
            looks.setdefault(place, _dot("", "*", 16, colour, "white"))
    labels = {place: f"tuned on {joined(there)}" for place, there in names.items()}
    for number, (label, point) in enumerate(plane.defaults):
        place = (float(point[x.name]), float(point[y.name]))
        marker, size = _UNTUNED[number % len(_UNTUNED)]
        labels[place] = f"{label}, {labels[place]}" if place in labels else label
        looks.setdefault(place, _dot("", marker, size, "white", BLACK, 1.2))
    return [(place, labels[place], looks[place]) for place in labels]


def _points(axes: Axes, marks: Sequence[_Mark]) -> None:
    """Draw the points, each with a label close to it that covers no other label and no point."""
    placed = axes.transData + axes.transAxes.inverted()
    points = [tuple(placed.transform(place)) for place, _, _ in marks]
    taken = [(across - 0.03, across + 0.03, along - 0.035, along + 0.035) for across, along in points]
    for (across, along), ((x, y), label, look) in sorted(zip(points, marks, strict=True), key=lambda item: -item[0][1]):
        axes.plot(x, y, **{**look, "label": "_"}, zorder=6, clip_on=False)
        boxes = {
            (side, shift): _box(across, along + shift / _HIGH, len(label) if side == "left" else -len(label))
            for step in range(_STEPS)
            for shift in (9 + 4 * step, -18 - 4 * step)
            for side in (("left", "right") if across < 0.5 else ("right", "left"))
        }
        free = (where for where, box in boxes.items() if _is_inside(box) and not any(_meet(box, o) for o in taken))
        side, shift = next(free, next(iter(boxes)))
        taken.append(boxes[side, shift])
        text = axes.annotate(
            label,
            (x, y),
            xytext=(6 if side == "left" else -6, shift),
            textcoords="offset points",
            ha=side,
            fontsize=SMALL + 1,
            color=BLACK if look["mfc"] == "white" else look["mfc"],
            bbox=_LABEL,
            zorder=7,
            annotation_clip=False,
        )
        text.set_in_layout(False)


_Box: TypeAlias = tuple[float, float, float, float]  # left, right, low, high, as fractions of a panel


def _box(across: float, low: float, characters: int) -> _Box:
    """Return the place of a label; characters: below 0 if it ends at `across`."""
    left, right = sorted((across, across + _CHARACTER * characters))
    return left, right, low, low + 10 / _HIGH


def _is_inside(box: _Box) -> bool:
    left, right, low, high = box
    return min(left, low) >= 0 and max(right, high) <= 1


def _meet(box: _Box, other: _Box) -> bool:
    return box[0] < other[1] and other[0] < box[1] and box[2] < other[3] and other[2] < box[3]


def _contours(axes: Axes, search: Surface, plane: Plane) -> Any:
    assert search.top is not None
    # The fit is known at the centres of cells; extend it constantly to the edge.
    place = np.concatenate([[0.0], (np.arange(SIDE) + 0.5) / SIDE, [1.0]])
    x, y = (
        axis.low * (axis.high / axis.low) ** place if axis.log else axis.low + (axis.high - axis.low) * place
        for axis in plane.axes
    )
    return axes.contourf(x, y, np.pad(np.array(search.top.mean).T, 1, mode="edge"), levels=10, cmap=_MAP)


def _scale(axes: Axes, axis: Axis, places: Sequence[float], *, upright: bool = False) -> None:
    """Show the whole searched range and the points outside it."""
    low, high = min([axis.low, *places]), max([axis.high, *places])
    if low == high:
        low, high = (low / 2, high * 2) if axis.log else (low - 0.5, high + 0.5)
    if axis.log and not upright:
        logarithmic(axes, low, high)
    elif axis.log:
        axes.set_yscale("log")
    (axes.set_ylim if upright else axes.set_xlim)(low, high)


def _trials(axes: Axes, search: Surface, x: str, y: str) -> list[_Look]:
    kinds = []
    for look, chosen in (
        (_OTHER, list(search.others)),
        (_SOBOL, [trial for trial in search.trials if trial.shared]),
        (_PROPOSED, [trial for trial in search.trials if not trial.shared]),
    ):
        if chosen:
            places = [(trial.point[x], trial.point[y]) for trial in chosen]
            axes.plot(*zip(*places, strict=True), **look, zorder=4, clip_on=False)
            kinds.append(look)
    return kinds
