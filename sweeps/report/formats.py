"""How numbers are written in a report: estimates with their intervals, percentages, and what has no value yet."""

from sweeps.analysis.units import percent
from sweeps.stats.estimates import Estimate, limits


def number(value: float | None, form: str, scale: float = 1) -> str:
    """Return `scale` times the value in that format; nothing where there is no value."""
    return "" if value is None else f"{scale * value:{form}}"


def percentage(fraction: float | None, form: str = ".2f") -> str:
    """Return a fraction in percent, without the sign; nothing where there is no value."""
    return "" if fraction is None else f"{percent(fraction):{form}}"


def percent_interval(mean: float, low: float, high: float) -> str:
    """Return a fraction with its interval in whole percent: "80 % [69, 91]"."""
    return f"{percent(mean):.0f} % [{percent(low):.0f}, {percent(high):.0f}]"


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
    """Return signed accuracy points with the 95 % t interval: "+0.20 [-0.49, +0.89] (n=10)"."""
    if value is None:
        return "not yet"
    shown = limits(value)
    if shown is None:
        return f"{value.mean:+.2f} (n={value.n}, no interval)"
    return f"{value.mean:+.2f} [{shown[0]:+.2f}, {shown[1]:+.2f}] (n={value.n})"


def points(value: float, sign: str = "+") -> str:
    """Return accuracy points as a headline has them: "+3.4", "−0.3", and "0.0" without a sign.

    Args:
        sign: of positive ones; "" where they are a loss.
    """
    text = f"{abs(value):.1f}"
    return text if text == "0.0" else f"{'−' if value < 0 else sign}{text}"


def between(value: Estimate, sign: str = "+") -> str:
    """Return the limits of an interval of accuracy points: "+0.4 to +1.4"; empty where there is none."""
    shown = limits(value)
    return "" if shown is None else f"{points(shown[0], sign)} to {points(shown[1], sign)}"


def counted(value: float) -> str:
    """Return an amount of accuracy points with its unit: "1 point", "0.5 points"."""
    text = f"{value:.2g}" if value < 10 else f"{value:.3g}"
    return f"{text} point" if text == "1" else f"{text} points"
