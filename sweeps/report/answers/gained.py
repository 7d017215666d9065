"""What something gains, in words: by where the interval of a difference lies."""

from sweeps.report.document import Card, Tone
from sweeps.report.formats import between, points
from sweeps.stats.estimates import Estimate, limits


def side(found: Estimate | None) -> str:
    """Return where the interval of a difference lies: "above" 0, "below", "open" (it holds 0) or "unknown"."""
    shown = None if found is None else limits(found)
    if shown is None:
        return "unknown"
    return "above" if shown[0] > 0 else "below" if shown[1] < 0 else "open"


def gained(gain: Estimate, dataset: str) -> str:
    """Return what distilling gains on a dataset, as a sentence."""
    told = side(gain)
    if told == "above":
        return f"Distillation gains {gain.mean:.1f} points on {dataset}."
    if told == "below":
        return f"Distillation costs {-gain.mean:.1f} points on {dataset}."
    limits = between(gain)
    number = f"{points(gain.mean)} points{f', {limits}' if limits else ''}"
    return f"Distillation was not shown to help on {dataset} ({number})."


def card(asked: str, found: Estimate | None, *, nothing: str, negative: str) -> Card:
    """Return the card of a question that a difference answers.

    Args:
        nothing: what stands in the place of a number that is not there.
        negative: the answer where the difference is below 0.
    """
    if found is None:
        return Card(asked, nothing, "", "Open", "open")
    limits = between(found)
    interval = f"95 % interval {limits}" if limits else f"n = {found.n}, no interval"
    words: dict[str, tuple[str, Tone]] = {
        "above": ("Yes", "good"),
        "below": (negative, "bad"),
        "open": ("Not shown", "open"),
        "unknown": ("Open", "open"),
    }
    return Card(asked, f"{points(found.mean)} points", interval, *words[side(found)])
