"""How numbers are written in a report: estimates with their intervals, percentages, and what has no value yet."""

from sweeps.analysis.units import percent
from sweeps.stats.estimates import FEWEST_RUNS, Estimate, Paired, limits

SAME = "the same point"  # what stands for a difference whose two sides are one training


def number(value: float | None, form: str, scale: float = 1) -> str:
    """Return `scale` times the value in that format; nothing where there is no value."""
    return "" if value is None else f"{scale * value:{form}}"


def percentage(fraction: float | None, form: str = ".2f") -> str:
    """Return a fraction in percent, without the sign; nothing where there is no value."""
    return "" if fraction is None else f"{percent(fraction):{form}}"


def percent_interval(mean: float, low: float, high: float) -> str:
    """Return a fraction with its interval in whole percent, "80 % [69, 91]"; in finer steps where it is that narrow."""
    low, high = percent(low), percent(high)
    digits = next((count for count in range(4) if round(low, count) < round(high, count)), None)
    if digits is None:
        return f"{percent(mean):.0f} %"
    return f"{percent(mean):.{digits}f} % [{low:.{digits}f}, {high:.{digits}f}]"


def accuracy(value: Estimate | None) -> str:
    """Return an accuracy, a fraction, in percent with its interval: "97.41 ± 0.12 (n=10)".

    One that would leave 0 to 100 % is written with its limits: "99.50 [98.00, 100.00] (n=3)".
    """
    if value is None:
        return ""
    mean, shown = percent(value.mean), limits(value)
    if shown is None:
        return f"{mean:.2f} (n={value.n})"
    low, high = shown
    if low < 0 or high > 1:
        return f"{mean:.2f} [{percent(max(low, 0.0)):.2f}, {percent(min(high, 1.0)):.2f}] (n={value.n})"
    return f"{mean:.2f} ± {percent(high - value.mean):.2f} (n={value.n})"


def interval(value: Estimate | None) -> str:
    """Return signed accuracy points with the 95 % t interval: "+0.20 [-0.49, +0.89] (n=10)".

    A difference of trainings with themselves is SAME; one of which some are says how many.
    """
    if value is None:
        return "not yet"
    if is_same_point(value):
        return SAME
    same = f", {value.same} {SAME}" if isinstance(value, Paired) and value.same else ""
    shown = limits(value)
    if shown is None:
        why = "no interval" if value.n < FEWEST_RUNS else "all alike"
        return f"{value.mean:+.2f} (n={value.n}{same}, {why})"
    return f"{value.mean:+.2f} [{shown[0]:+.2f}, {shown[1]:+.2f}] (n={value.n}{same})"


def is_same_point(value: Estimate) -> bool:
    """Return whether a difference is of trainings with themselves, which says nothing about what they are worth."""
    return isinstance(value, Paired) and value.is_same_point


def points(value: float, sign: str = "+", digits: int = 1) -> str:
    """Return accuracy points as a headline has them: "+3.4", "−0.3", and "0.0" without a sign.

    Args:
        sign: of positive ones; "" where they are a loss.
    """
    text = f"{abs(value):.{digits}f}"
    return f"{'−' if value < 0 else sign}{text}" if float(text) else text


def between(value: Estimate, sign: str = "+") -> str:
    """Return the limits of an interval of accuracy points: "+0.4 to +1.4"; empty where there is none."""
    shown = limits(value)
    if shown is None:
        return ""
    digits = 1 if round(shown[0], 1) < round(shown[1], 1) else 2
    return " to ".join(points(end, sign, digits) for end in shown)


def mean_points(value: Estimate, sign: str = "+") -> str:
    """Return the mean of a difference with its unit, "+0.4 points", or SAME."""
    return SAME if is_same_point(value) else f"{points(value.mean, sign)} points"


def difference(value: Estimate) -> str:
    """Return the same with the limits of its interval, if it has one: "+0.9 points, +0.4 to +1.4"."""
    return ", ".join(filter(None, (mean_points(value), between(value))))


def counted(value: float) -> str:
    """Return an amount of accuracy points with its unit: "1 point", "0.5 points"."""
    text = f"{value:.2g}" if value < 10 else f"{value:.3g}"
    return f"{text} point" if text == "1" else f"{text} points"
