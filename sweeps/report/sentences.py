"""The answer in plain words: what the report, the dashboard and the last lines of `run` say alike."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby

from sweeps.analysis.controls import Control
from sweeps.analysis.findings import Findings
from sweeps.analysis.looks import Look
from sweeps.analysis.surfaces import Surface
from sweeps.analysis.units import percent
from sweeps.analysis.verdicts import TargetVerdict
from sweeps.hints import ANYWHERE
from sweeps.report.formats import interval, point
from sweeps.spec.arms import DEFAULT_POINTS
from sweeps.spec.model import Spec
from sweeps.spec.point import Point
from sweeps.stats.estimates import Estimate
from sweeps.stats.response import FEWEST, WORDS
from sweeps.stats.verdict import Verdict


def headline(findings: Findings) -> str:
    """Return the answer to the primary question, one paragraph: the verdict of the first target."""
    return " ".join([*silent(findings), sentence(findings, findings.verdicts[0])])


def silent(findings: Findings) -> list[str]:
    """Return what stands before every verdict: that the source tells nothing, if it does; one sentence or none."""
    source = findings.spec.source.dataset
    gain = _difference(findings, "best - scratch", source)
    if gain is None or gain.low is None or gain.low > 0:
        return []
    return [
        f"On {source} itself the tuned point was not shown to beat no distillation ({interval(gain)}): what was tuned"
        " there is luck."
    ]


def as_good(findings: Findings) -> list[str]:
    """Return where Keras' untuned default, or no distillation, was not shown to be worse than best; by dataset."""
    lines = []
    default = DEFAULT_POINTS["default-keras"]
    for role in findings.spec.roles:
        dataset = findings.spec.role(role).dataset
        untuned = _difference(findings, "best - default-keras", dataset)
        if untuned is not None and untuned.low is not None and untuned.low <= 0:
            lines.append(
                f"{dataset}: Keras' default, {point(default)} without any tuning, was not shown to be worse than best"
                f" ({interval(untuned)})"
            )
        gain = _difference(findings, "best - scratch", dataset)
        if role != "source" and gain is not None and gain.low is not None and gain.low <= 0:
            lines.append(f"{dataset}: best was not shown to beat no distillation ({interval(gain)})")
    return lines


def _difference(findings: Findings, name: str, dataset: str) -> Estimate | None:
    found = [one.points for one in findings.differences if (one.name, one.dataset) == (name, dataset)]
    return found[0] if found else None


def sentence(findings: Findings, target: TargetVerdict) -> str:
    """Return one verdict with its scope, and what to type where it is missing or undecided."""
    spec, verdict = findings.spec, target.verdict
    datasets = f"{spec.source.dataset} -> {target.dataset}"
    if verdict is None:
        return _no_verdict(findings.name, datasets, target)
    teachers = " and ".join(dict.fromkeys(spec.role(role).teacher for role in ("source", target.role)))
    if same_point(findings, target.role):
        datasets += " (other searches may find other points)"
    counted = f"n = {verdict.n} {target.unit + 'e' if target.unit == 'search' else target.unit}s"
    scope = f"Scope: one teacher each, {teachers}; {datasets}; {counted}"
    if target.done < target.planned:
        scope += f"; {target.planned - target.done} of {target.planned} trainings failed"
    more = f" {more_seeds(findings, target)}" if verdict.word == "UNDECIDED" else ""
    said = f"{regret(target)} {verdict.word}: {_said(findings, verdict, target.role)}. {scope}.{more}"
    return said.strip()


def regret(target: TargetVerdict) -> str:
    """Return the regret with its interval and what the interval covers, a sentence; empty where there is none."""
    found = target.regret
    if found is None:
        return ""
    value = f"Regret on {target.dataset}, native - best: {interval(found.estimate)} points"
    if found.searches == 1:
        return f"{value}, over seeds alone: one search and one teacher, other searches may find other points."
    parts = ""
    if found.by_seeds is not None and found.by_search is not None:
        parts = f" (±{found.by_seeds:.2f} by seeds, ±{found.by_search:.2f} by search)"
    return f"{value}, over {found.searches} searches and their seeds{parts}, for one teacher."


def _no_verdict(name: str, datasets: str, target: TargetVerdict) -> str:
    if target.left:
        return (
            f"NO VERDICT YET on {datasets}: {target.done} of {target.planned} transfer trainings are done;"
            f" continue with: {ANYWHERE.launch(name)}"
        )
    lost = target.planned - target.done
    again = f"; {lost} of {target.planned} trainings failed or were skipped: {ANYWHERE.retry(name)}" if lost else ""
    return (
        f"NO VERDICT on {datasets}: it needs the arms native and best on at least two common seeds, which are"
        f" missing{again}"
    )


def _said(findings: Findings, verdict: Verdict, role: str) -> str:
    """Return what the verdict says, as a sentence without its end."""
    bound, dataset = f"{percent(1 - verdict.level):.3g} % bound", findings.spec.role(role).dataset
    confirmed, source = findings.confirmed.get("source"), findings.spec.source.dataset
    tuned = "T and alpha"
    if confirmed is not None:
        best = confirmed.best.point
        tuned = f"T = {best.temperature:.3g} and alpha = {best.alpha:.3g}"
    tuned += f", tuned on {source},"
    if verdict.word == "TRANSFERS" and same_point(findings, role):
        return f"{tuned} are also what tuning on {dataset} itself found, so nothing is lost"
    there, margin = f"tuning on {dataset} itself", _margin(verdict)
    if verdict.word == "FLAT":
        rivals = {"scratch": "no distillation", "random": "random T and alpha"}
        others = " and ".join(["T and alpha tuned on " + source, *(rivals[name] for name in verdict.within)])
        return (
            f"{there} gains less than {verdict.declared:g} points ({bound}s) over {others} alike, so there is nothing"
            " to transfer"
        )
    if verdict.word == "TRANSFERS" and verdict.high > 0:
        return f"{tuned} cost at most {verdict.high:.2f} points ({bound}) compared with {there}, less than {margin}"
    if verdict.word == "TRANSFERS":
        return (
            f"{tuned} score at least {-verdict.high:.2f} points ({bound}) higher on {dataset} than {there},"
            f" so they stay within {margin}"
        )
    if verdict.word == "FAILS":
        return f"{tuned} cost at least {verdict.low:.2f} points ({bound}) compared with {there}, more than {margin}"
    return (
        f"{tuned} cost between {verdict.low:+.2f} and {verdict.high:+.2f} points ({bound}s) compared with {there};"
        f" {_why_undecided(verdict, margin)}"
    )


def _margin(verdict: Verdict) -> str:
    """Return the margin that applied, in words."""
    if not verdict.halved:
        return f"the {verdict.margin:g}-point margin"
    assert verdict.gain is not None
    return f"half of the {verdict.gain.mean:.2f} points that tuning there gains over no distillation"


def _why_undecided(verdict: Verdict, margin: str) -> str:
    if verdict.high >= verdict.margin:
        return f"{margin} lies inside this interval"
    if verdict.halved:
        return f"that this is less than {margin} is not proven"
    return "that is little, but neither is tuning proven to gain anything there, nor to gain nothing"


def more_seeds(findings: Findings, target: TargetVerdict) -> str:
    """Return what to type when the verdict is UNDECIDED; empty otherwise."""
    verdict, name = target.verdict, findings.name
    if verdict is None or verdict.word != "UNDECIDED":
        return ""
    units = "searches" if target.unit == "search" else "seeds per arm"
    if verdict.seeds is None:
        return f"The estimated regret is so close to the margin that 10,000 {units} would not decide with 80 % power."
    needed = f"If the true regret equals the estimate, {verdict.seeds} {units} decide with 80 % power"
    if len(target.looks) >= findings.spec.transfer.looks:
        again = another_sweep(name, findings.spec, **{target.unit: verdict.seeds})
        return f"{needed}, but no declared look is left; start another sweep: {again}"
    return f"{needed}: {extension(name, target)}, then {ANYWHERE.launch(name)}"


def extension(name: str, target: TargetVerdict) -> str:
    """Return what to type so that an undecided verdict has as many searches, or seeds, as it needs; empty if none."""
    verdict = target.verdict
    if verdict is None or verdict.seeds is None:
        return ""
    option = "--searches" if target.unit == "search" else "--seeds"
    return ANYWHERE.line("extend", name, option, f"+{verdict.seeds - verdict.n}")


def another_sweep(name: str, spec: Spec, *, seed: int = 0, search: int = 0) -> str:
    """Return what to type where no look is left. With another seed: the same one would train, and read, the same.

    Args:
        seed, search: how many seeds or searches the other sweep is to have.
    """
    report = ANYWHERE.line("report", name, "-o", f"{name}-report")
    larger = f"outer.searches={search}" if search else f"transfer.seeds={seed}"
    changes = ("--seed", str(spec.seed + 1), "--set", larger)
    return f"{report}, then {ANYWHERE.create(f'{name}-2', f'{name}-report/spec.toml', *changes)}"


EDGE = 0.03  # of a range: as near to its end as that, a point is at the edge


def at_edge(point: Point, spec: Spec) -> str:
    """Return which ends of the searched ranges a point lies at, such as "T = 1"; empty if at none."""
    (t_low, t_high), (a_low, a_high) = spec.search.temperature, spec.search.alpha
    ranges = (
        ("T", math.log(point.temperature), math.log(t_low), math.log(t_high), (t_low, t_high)),
        ("alpha", point.alpha, a_low, a_high, (a_low, a_high)),
    )
    ends = []
    for name, value, low, high, shown in ranges:
        near = EDGE * (high - low)
        if high > low and min(value - low, high - value) <= near:
            ends.append(f"{name} = {shown[0] if value - low <= near else shown[1]:g}")
    return " and ".join(ends)


def same_point(findings: Findings, role: str) -> bool:
    """Return whether the search on the source and that on a target found the same point."""
    found = [findings.confirmed.get(one) for one in ("source", role)]
    return all(found) and len({one.best.point for one in found if one is not None}) == 1


def identified(surface: Surface, spec: Spec) -> str:
    """Return whether T and alpha matter on a dataset, and what its search found; one line."""
    if surface.best is None:
        return f"{surface.dataset}: not confirmed yet"
    parts = [matters(surface)]
    if edge := at_edge(surface.best, spec):
        parts.append(f"best lies at the edge of what was searched ({edge})")
    if surface.tied:
        parts.append(f"tied with best: {'; '.join(map(point, surface.tied))}")
    if surface.optimism is not None:
        side = "lower" if surface.optimism >= 0 else "higher"
        parts.append(
            f"retrained on fresh seeds, the best search trial scored {abs(surface.optimism):.2f} points {side}"
            " (winner's curse and the luck of its seed)"
        )
    return f"{surface.dataset}: {'; '.join(parts)}"


def matters(surface: Surface) -> str:
    """Return whether T and alpha matter, with the share of the box that is as good as its best point."""
    top = surface.top
    if top is None:
        return f"whether T and alpha matter cannot be told from fewer than {FEWEST} searches"
    said = {
        WORDS[0]: "T and alpha matter",
        WORDS[1]: "T and alpha do not matter",
        WORDS[2]: "whether T and alpha matter cannot be told",
    }[top.word]
    return (
        f"{said}: {percent(top.share):.0f} % [{percent(top.low):.0f}, {percent(top.high):.0f}] of the searched box"
        f" loses less than {top.tolerance:.2g} points, half the seed sd of a run, against its best point"
    )


def explained(controls: Sequence[Control]) -> list[str]:
    """Return what explains the gain of best, as far as the controls tell; one line for each dataset that has some."""
    lines = []
    for dataset, group in groupby(controls, key=lambda one: one.dataset):
        ran = list(group)
        gain, same = ran[0].best, [f"`{one.arm}` ({_MEANING[one.arm]})" for one in ran if one.explains]
        if gain.low is None or gain.low <= 0:
            text = f"best does not measurably beat scratch ({interval(gain)}), so the controls have nothing to explain"
        elif same:
            text = (
                f"best gains {interval(gain)} over scratch, but at least half of that is gained by"
                f" {' and '.join(same)} as well"
            )
        else:
            text = f"best gains {interval(gain)} over scratch, and no control is shown to gain half of that"
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
    levels = [f"{percent(transfer.level(look)):.3g} %" for look in range(1, transfer.looks + 1)]
    level = f"tested one-sided at {', '.join(levels)}" + (", together 5 %" if len(levels) > 1 else "")
    if not taken:
        return f"the test set has not been read; looks declared: {transfer.looks}, {level}"
    return f"looks at the test set: {len(taken)} of {transfer.looks} declared, {level}. {'; '.join(map(_look, taken))}"


def _look(look: Look) -> str:
    assert look.first_read is not None  # findings have only those that were begun
    plan = f"spec {look.fingerprint[:12]} stored {_time(look.registered_at)}"
    searches = f", {look.searches} searches" if look.searches > 1 else ""
    return f"Look {look.number}: {look.seeds} seeds{searches}, {plan}, test set first read {_time(look.first_read)}"


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
