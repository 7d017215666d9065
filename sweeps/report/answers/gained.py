"""What something gains, in words: by where the interval of a difference lies."""

from sweeps.analysis.findings import Findings
from sweeps.report.document import Card, Tone
from sweeps.report.formats import SAME, between, difference, is_same_point, mean_points
from sweeps.report.names import owner
from sweeps.spec.arms import DEFAULT_POINTS
from sweeps.stats.estimates import FEWEST_RUNS, Estimate


def side(found: Estimate | None) -> str:
    """Return where the interval of a difference lies: "above" 0, "below", "open" (it holds 0) or "unknown"."""
    if found is None or found.low is None or found.high is None or found.n < FEWEST_RUNS:
        return "unknown"
    return "above" if found.low > 0 else "below" if found.high < 0 else "open"


def gained(gain: Estimate, dataset: str) -> str:
    """Return what distilling gains on a dataset, as a sentence."""
    told = side(gain)
    if told == "above":
        return f"Distillation gains {gain.mean:.1f} points on {dataset}."
    if told == "below":
        return f"Distillation costs {-gain.mean:.1f} points on {dataset}."
    return f"Distillation was not shown to help on {dataset} ({difference(gain)})."


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
    if is_same_point(found):
        return Card(asked, SAME.capitalize(), f"n = {found.n}", "No", "open")
    words: dict[str, tuple[str, Tone]] = {
        "above": ("Yes", "good"),
        "below": (negative, "bad"),
        "open": ("Not shown", "open"),
        "unknown": ("Open", "open"),
    }
    return Card(asked, mean_points(found), interval, *words[side(found)])


def tuning_card(findings: Findings, role: str, *, nothing: str) -> Card:
    """Return the card of whether tuning beats the better untuned default; nothing: as of `card`."""
    asked = f"Is tuning better than {owner(findings.better_default(role))} default?"
    return card(asked, findings.beyond_default(role), nothing=nothing, negative="No, the default is better")


def untuned_instead(findings: Findings, role: str, arm: str = "best") -> str:
    """Return the advice to use the better default: where an arm was not shown to beat it, and a teacher to help."""
    default, beyond = findings.better_default(role), findings.beyond_default(role, arm)
    told = side(beyond)
    if default is None or beyond is None or told == "above" or (told == "unknown" and beyond.mean > 0):
        return ""
    if all(not helps(findings, role, one) for one in (arm, default)):
        return ""
    why = "the tuned values were not shown to beat it"
    if told == "below":
        why = "it is better, the tuned values score less"
    return f"Use {owner(default)} default, {DEFAULT_POINTS[default].text()}: {why} ({difference(beyond)})."


def helps(findings: Findings, role: str, arm: str) -> bool:
    """Return whether an arm may gain over no distillation: that it does was shown, or cannot be told yet."""
    return side(findings.between(role, arm, findings.spec.without_teacher(role))) in ("above", "unknown")
