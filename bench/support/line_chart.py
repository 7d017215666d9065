"""A line chart with error bars as SVG: a few lines of our own, since plotly cannot write one without a browser."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

# Okabe and Ito's colours, which people who see fewer colours tell apart. Source: https://jfly.uni-koeln.de/color/
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00")
WIDTH, HEIGHT = 380, 300  # of a panel, pixels
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 34, 46  # around its axes
NAME = 130  # for a name below the panels
DODGE = 5  # pixels between the bars of two lines at the same x


@dataclass(frozen=True)
class Mark:
    """A value and the interval around it."""

    x: float
    y: float
    low: float
    high: float


Lines: TypeAlias = Mapping[str, Sequence[Mark]]


def line_chart(panels: Mapping[str, Lines], *, x_label: str, y_label: str) -> str:
    """The chart, a panel beside the other, every line of one name in one colour.

    Args:
        panels: by title, the lines by name; x > 0 is drawn on its logarithm, y >= 0 from 0 up.
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    width, height = max(WIDTH * len(panels), LEFT + NAME * len(names)), HEIGHT + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, (title, lines) in enumerate(panels.items()):
        inside = _panel(title, lines, colours, x_label, y_label)
        parts += [f'<g transform="translate({WIDTH * number},0)">', *inside, "</g>"]
    for number, (name, colour) in enumerate(colours.items()):
        x = LEFT + NAME * number
        parts.append(f'<path d="M{x} {HEIGHT + 12}h18" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(x + 23, HEIGHT + 16, name, anchor="start"))
    return "\n".join([*parts, "</svg>", ""])


def _panel(title: str, lines: Lines, colours: Mapping[str, str], x_label: str, y_label: str) -> list[str]:
    marks = [mark for line in lines.values() for mark in line]
    xs = sorted({mark.x for mark in marks})
    step = _step(max((mark.high for mark in marks), default=1.0))
    top = step * math.ceil(max((mark.high for mark in marks), default=1.0) / step) or step
    left, right, floor, ceiling = LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM, TOP
    margin = DODGE * len(lines)  # so that no bar stands on an axis

    def place_x(x: float) -> float:
        span = math.log(xs[-1] / xs[0]) or 1.0
        return left + margin + (right - left - 2 * margin) * math.log(x / xs[0]) / span

    def place_y(y: float) -> float:
        return floor - (floor - ceiling) * max(y, 0.0) / top

    parts = [_text((left + right) / 2, 18, title), _text((left + right) / 2, HEIGHT - 8, x_label)]
    parts.append(
        f'<g transform="rotate(-90 14 {(floor + ceiling) / 2})">{_text(14, (floor + ceiling) / 2, y_label)}</g>'
    )
    for tick in range(round(top / step) + 1):
        y = place_y(tick * step)
        parts.append(f'<path d="M{left} {y:.1f}H{right}" stroke="#dddddd"/>')
        parts.append(_text(left - 6, y + 4, f"{tick * step:g}", anchor="end"))
    parts += [_text(place_x(x), floor + 16, f"{x:g}") for x in xs]
    for number, (name, line) in enumerate(lines.items()):
        shift = DODGE * (number - (len(lines) - 1) / 2)
        corners = [(place_x(mark.x) + shift, mark) for mark in line]
        path = "L".join(f"{x:.1f} {place_y(mark.y):.1f}" for x, mark in corners)
        bars = "".join(f"M{x:.1f} {place_y(mark.low):.1f}V{place_y(mark.high):.1f}" for x, mark in corners)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colours[name]}" stroke-width="2"/>')
        parts.append(f'<path d="{bars}" stroke="{colours[name]}"/>')
    return parts


def _step(top: float) -> float:
    """A round distance between ticks, that gives two to six of them up to `top`."""
    if top <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(top))
    return next(step for step in (unit / 5, unit / 2, unit, unit * 2) if top / step <= 6)


def _text(x: float, y: float, text: str, *, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
