"""What else can be said, in a line each: is a default as good, do T and alpha matter, how the test was read."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby

from sweeps.analysis.controls import Control
from sweeps.analysis.findings import Findings
from sweeps.analysis.looks import Look
from sweeps.analysis.surfaces import Surface
from sweeps.analysis.units import percent
from sweeps.plan.space import ends_near
from sweeps.report.answers.gained import side
from sweeps.report.formats import interval, percent_interval
from sweeps.report.names import owner
from sweeps.spec.arms import DEFAULT_POINTS
from sweeps.spec.model import Spec
from sweeps.spec.point import Point
from sweeps.stats.nested import FEWEST_SEARCHES
from sweeps.stats.response import WORDS
from sweeps.stats.verdict import RULE


def as_good(findings: Findings) -> list[str]:
    """Return where the better untuned default, or no distillation, was not shown to be worse than best; by dataset."""
    lines = []
    for role in findings.spec.roles:
        dataset, default = findings.spec.role(role).dataset, findings.better_default(role)
        untuned = findings.beyond_default(role)
        if default is not None and untuned is not None and untuned.low is not None and untuned.low <= 0:
            told = "is better than best" if side(untuned) == "below" else "was not shown to be worse than best"
            lines.append(
                f"{dataset}: {owner(default)} default, {DEFAULT_POINTS[default].text()} without any tuning, {told}"
                f" ({interval(untuned)})"
            )
        gain = findings.gain(role)
        if role != "source" and gain is not None and gain.low is not None and gain.low <= 0:
            lines.append(f"{dataset}: best was not shown to beat no distillation ({interval(gain)})")
    return lines


_SHORT = {"temperature": "T"}

EDGE = 0.03  # of a range: as near to its end as that, a point is at the edge


def at_edge(point: Point, spec: Spec) -> str:
    """Return which ends of the searched ranges a point lies at, such as "T = 1"; empty if at none."""
    return " and ".join(f"{_SHORT.get(name, name)} = {end:g}" for name, end in ends_near(spec, point, EDGE))


def identified(surface: Surface, spec: Spec) -> str:
    """Return whether T and alpha matter on a dataset, and what its search found; one line, empty if that is nothing."""
    if surface.best is None:
        return f"{surface.dataset}: not confirmed yet"
    parts = [said] if (said := matters(surface)) else []
    if edge := at_edge(surface.best, spec):
        parts.append(f"best lies at the edge of what was searched ({edge})")
    if surface.tied:
        parts.append(f"tied with best: {'; '.join(tied.text() for tied in surface.tied)}")
    if surface.optimism is not None:
        side = "lower" if surface.optimism >= 0 else "higher"
        parts.append(
            f"retrained on fresh seeds, the best search trial scored {abs(surface.optimism):.2f} points {side}"
            " (winner's curse and the luck of its seed)"
        )
    return f"{surface.dataset}: {'; '.join(parts)}" if parts else ""


def in_short(surface: Surface) -> str:
    """Return whether T and alpha matter, or which parameter matters most, in a few words; empty as `matters`."""
    if surface.importances:
        name, share = surface.importances[0]
        return f"{_SHORT.get(name, name)} mattered most ({percent(share):.0f} % of the variance)"
    if surface.further:
        return ""
    return {
        WORDS[0]: "T and alpha matter",
        WORDS[1]: "T and alpha do not matter",
        WORDS[2]: "whether T and alpha matter cannot be told",
    }[WORDS[2] if surface.top is None else surface.top.word]


def matters(surface: Surface) -> str:
    """Return whether T and alpha matter, with the share of the box that is as good as its best point.

    Where more is searched: how much each parameter mattered, or nothing while there are too few trials to say so.
    Of a surface over T and alpha the other parameters would be the noise, so that is not asked then.
    """
    top = surface.top
    if surface.importances:
        shares = ", ".join(f"{_SHORT.get(name, name)} {percent(share):.0f} %" for name, share in surface.importances)
        trials = len(surface.trials) + len(surface.others)
        return f"variance of the validation accuracy explained: {shares} (fANOVA over {trials} search trials)"
    if surface.further:
        return ""
    if top is None:
        return f"{in_short(surface)} (that takes {FEWEST_SEARCHES} searches)"
    return (
        f"{in_short(surface)}: {percent_interval(top.share, top.low, top.high)} of the"
        f" searched box loses less than {top.tolerance:.2g} points, half the seed sd of a run, against its best point"
    )


def explained(controls: Sequence[Control]) -> list[str]:
    """Return what explains the gain of best, as far as the controls tell; one line for each dataset that has some."""
    lines = []
    for dataset, group in groupby(controls, key=lambda one: one.dataset):
        ran = list(group)
        gain, same = ran[0].best, [f"`{one.arm}` ({_MEANING[one.arm]})" for one in ran if one.explains]
        if gain.low is None or gain.low <= 0:
            text = (
                f"best was not shown to beat no distillation ({interval(gain)}): the controls have nothing to explain"
            )
        elif same:
            text = (
                f"best gains {interval(gain)} over no distillation, but at least half of that is gained by"
                f" {' and '.join(same)} as well"
            )
        else:
            text = f"best gains {interval(gain)} over no distillation, and no control is shown to gain half of that"
        lines.append(f"{dataset}: {text}")
    return lines


_MEANING = {
    "class-mean": "the mean logits of each class: how alike the classes are, nothing about the single image",
    "shuffled-within-class": "the logits of another image of the same class",
    "label-smoothing": "smoothed labels without a teacher",
    "scratch-same-cost": "labels only, trained longer at the same cost",
}


def looked(findings: Findings) -> str:
    """Return how often the test set was read, by which plan, and when that plan was stored."""
    taken, transfer = findings.looks, findings.spec.transfer
    levels = [percent(transfer.level(look)) for look in range(1, transfer.looks + 1)]
    spent = f"tested one-sided at {', '.join(f'{level:.3g} %' for level in levels)}"
    spent += f", together {sum(levels):.3g} %" if len(levels) > 1 else ""
    if not findings.verdicts:  # nothing is decided, so a look costs nothing
        return "; ".join(map(_look, taken)) or "the test set has not been read"
    if not taken:
        return f"the test set has not been read; looks declared: {transfer.looks}, {spent}"
    rule = "" if transfer.rule == RULE else f". Judged by rule {transfer.rule} of the verdict, as this sweep declared"
    read = "; ".join(map(_look, taken))
    return f"looks at the test set: {len(taken)} of {transfer.looks} declared, {spent}. {read}{rule}"


def _look(look: Look) -> str:
    assert look.first_read is not None  # findings have only those that were begun
    plan = f"spec {look.fingerprint[:12]} stored {_time(look.registered_at)}"
    searches = f", {look.searches} searches" if look.searches > 1 else ""
    return f"Look {look.number}: {look.seeds} seeds{searches}, {plan}, test set first read {_time(look.first_read)}"


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
