"""Draw the figure of other methods: accuracy against file size."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sweeps.report.figures import data
from sweeps.report.figures.style import NARROW_WIDTH, SMALL, WIDTH
from sweeps.report.words import display_name, size
from sweeps.stats.estimates import limits, pareto_front

_LONG, _LINES, _BESIDE = 105.0, 23.0, 8.0  # points: width and height of a label, distance from its mark
_LABEL = {"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}


def heading(marks: Sequence[data.MethodMark]) -> str:
    """Return how the most accurate other method compares with the student, on the first dataset."""
    group = next(iter(data.by_dataset(marks).values()))
    student = next((mark for mark in group if mark.distilled), None)
    others = [mark for mark in group if mark.is_reference]
    if student is None or not others:
        return "Accuracy against size"
    best = max(others, key=lambda mark: mark.test.mean)
    ends, ratio = limits(student.test), best.size / student.size
    high = student.test.mean if ends is None else ends[1]
    times = f"{ratio:,.0f} times larger" if ratio >= 1.5 else "smaller" if ratio < 1 else "about as large"
    if best.test.mean > high:
        return f"{best.label} is better, and {times}"
    return f"No other method is better; {best.label} comes next and is {times}"


def methods(marks: Sequence[data.MethodMark]) -> Figure:
    """Draw one panel per dataset and one mark per method; join the methods that nothing smaller beats."""
    return _draw(marks, width=WIDTH * 0.75, height=3.6)


def narrow(marks: Sequence[data.MethodMark]) -> Figure:
    return _draw(marks, width=NARROW_WIDTH, height=3.4)


def caption(marks: Sequence[data.MethodMark]) -> str:
    bars = " Bars: 95 % CI over seeds." if any(limits(mark.test) for mark in marks) else ""
    budgets = {mark.label: mark.detail for mark in marks if mark.is_reference and mark.detail}
    limited = "; ".join(f"{label}: {budget}" for label, budget in budgets.items())
    return (
        "Students: mean over seeds; other models: one run. Sizes are file sizes, on a logarithmic axis. Line: nothing"
        f" smaller is as accurate.{bars}{f' {limited}.' if limited else ''}"
    )


def _draw(marks: Sequence[data.MethodMark], *, width: float, height: float) -> Figure:
    datasets = data.by_dataset(marks)
    figure = Figure(figsize=(width, height * len(datasets)), layout="constrained")
    grid = figure.subplots(len(datasets), 1, squeeze=False).ravel()
    for axes, (dataset, group) in zip(grid, datasets.items(), strict=True):
        _panel(axes, group)
        score = group[0].score
        axes.set_xlabel("size of the file", fontsize=SMALL + 1)
        axes.set_ylabel(
            f"test {score.name} on {display_name(dataset)}{f', {score.unit}' if score.unit else ''}", fontsize=SMALL + 1
        )
    return figure


def _panel(axes: Axes, group: Sequence[data.MethodMark]) -> None:
    score = group[0].score
    sizes, levels = [mark.size for mark in group], [score.level(mark.test.mean) for mark in group]
    axes.set_xscale("log")
    axes.set_xlim(min(sizes) / 2.5, max(sizes) * 2.5)
    heights = [*levels, *(score.level(end) for mark in group for end in limits(mark.test) or ())]
    room = 0.2 * (max(heights) - min(heights)) or 1.0
    axes.set_ylim(min(heights) - room, min(max(heights) + room, score.scaled(score.high) + room / 2))
    axes.grid(visible=True)
    front = pareto_front([(mark.size, mark.test.mean) for mark in group])
    axes.plot([sizes[i] for i in front], [levels[i] for i in front], color=data.GREY, lw=1, ls="--", zorder=1)
    for mark, place in zip(group, _places(axes, list(zip(sizes, levels, strict=True))), strict=True):
        colour = data.VERMILLION if mark.distilled else data.BLACK if mark.is_reference else data.GREY
        level = score.level(mark.test.mean)
        if bounds := limits(mark.test):
            axes.plot([mark.size] * 2, [score.level(end) for end in bounds], color=colour, lw=2, zorder=2)
        axes.plot(mark.size, level, "o", color=colour, ms=8, mec="white", mew=1, zorder=3)
        across, along, side = place
        for text, below in ((mark.label, 0.0), (f"{score.text(mark.test.mean, 1)}, {size(mark.size)}", 10.0)):
            label = axes.annotate(
                text,
                (mark.size, level),
                xytext=(across, along - below),
                textcoords="offset points",
                ha=side,
                va="bottom",
                fontsize=SMALL + 0.7,
                bbox=_LABEL,
                zorder=4,
            )
            label.set_in_layout(False)
    ticks = LogLocator(subs=(1,) if max(sizes) > 100 * min(sizes) else (1, 2, 5), numticks=12)
    axes.xaxis.set_major_locator(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize=SMALL)


def _places(axes: Axes, points: Sequence[tuple[float, float]]) -> list[tuple[float, float, str]]:
    """Place the label of each point towards the middle, clear of the earlier labels."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    wide, high = (72 * inches for inches in figure.get_size_inches())
    used: list[tuple[float, float]] = []
    placed = []
    for across, along in (axes.transAxes.inverted().transform(axes.transData.transform(point)) for point in points):
        side, x = ("left", across * wide + _BESIDE) if across < 0.55 else ("right", across * wide - _BESIDE - _LONG)
        shifts = sorted((_LINES * step / 4 for step in range(-12, 13)), key=abs)
        free = (
            shift
            for shift in shifts
            if all(abs(x - there) > _LONG or abs(along * high + shift - other) > _LINES for there, other in used)
        )
        shift = next(free, 0.0)
        used.append((x, along * high + shift))
        placed.append((_BESIDE if side == "left" else -_BESIDE, shift, side))
    return placed
