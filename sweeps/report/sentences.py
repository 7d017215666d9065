"""Write the verdict of a target in full: regret, what its interval covers, word, bound and scope."""

from sweeps.findings.findings import Findings
from sweeps.findings.verdicts import TargetVerdict
from sweeps.hints import PORTABLE
from sweeps.report.document import Advice
from sweeps.report.words import counted, display_name, exact, interval, is_same_point, untreated_name
from sweeps.spec.model import Spec
from sweeps.stats.advice import GAIN_LEVEL
from sweeps.stats.estimates import FEWEST_RUNS, limits, percent
from sweeps.stats.verdict import Nested, Verdict
from sweeps.terminal import joined
from sweeps.trainers.protocol import label


def sentence(findings: Findings, target: TargetVerdict) -> str:
    spec, verdict = findings.spec, target.verdict
    datasets = f"{display_name(spec.source.dataset)} → {display_name(target.dataset)}"
    if verdict is None:
        return _no_verdict(findings, datasets, target)
    known = [spec.kind.prepared(spec, role) for role in ("source", target.role)]
    prepared = joined(dict.fromkeys(spec.kind.report().display(display_name(name)) for name in known))
    one_each = f"one {spec.kind.features.prepares} each, {prepared}; " if prepared else ""
    if target.unit == "seed" and target.same:
        datasets += " (other searches may find other points)"
    scope = f"Scope: {one_each}{datasets}; n = {verdict.n} {target.units}"
    if target.done < target.planned:
        scope += f"; {target.planned - target.done} of {target.planned} trainings failed"
    text = f"{regret(spec, target)} {verdict.word}: {_meaning(findings, verdict, target)}. {scope}."
    return f"{text} {undecided(findings, target)}".strip()


def regret(spec: Spec, target: TargetVerdict) -> str:
    """Return the regret with its interval and what the interval covers; "" without a regret."""
    nested, lost, score = target.regret, target.lost, spec.score
    if nested is None or lost is None:
        return ""
    begins = f"Regret on {display_name(target.dataset)}, native - best: "
    scope = f", for one {target.prepares}" if target.prepares else ""
    if is_same_point(lost):
        more = "; other searches may find other points" if nested.searches == 1 else ""
        return f"{begins}{interval(score, lost)}{scope}: {chosen_alike(target)}{more}."
    kind = "95 %" if limits(lost) else "no interval"
    value = f"{begins}{score.amount(interval(score, lost).rpartition(' (n=')[0])} ({kind})"
    if nested.searches == 1:
        whole = f"one search and one {target.prepares}" if target.prepares else "one search"
        return f"{value}, over seeds alone: {whole}, other searches may find other points."
    alike = f" {chosen_alike(target)}." if target.same else ""
    return f"{value}, over {nested.searches} searches and their seeds{_parts(spec, nested)}{scope}.{alike}"


def chosen_alike(target: TargetVerdict) -> str:
    """Return such as "3 of 5 searches chose the same candidate on both datasets"."""
    searches = 1 if target.regret is None else target.regret.searches
    who = "the search" if searches == 1 else f"{target.same} of {searches} searches"
    return f"{who} chose the same candidate on both datasets"


def _parts(spec: Spec, nested: Nested) -> str:
    # A part of 0 is not distinguishable from the other.
    if nested.by_seeds is None or nested.by_search is None:
        return ""
    digits = spec.score.decimals(2, nested.by_seeds, nested.by_search)
    seeds, search = (f"±{part:.{digits}f}" for part in (nested.by_seeds, nested.by_search))
    nothing = f"±{0:.{digits}f}"
    by_search = "the searches differ no more than their seeds" if search == nothing else f"{search} by search"
    return f" ({by_search})" if seeds == nothing else f" ({seeds} by seeds, {by_search})"


def _no_verdict(findings: Findings, datasets: str, target: TargetVerdict) -> str:
    name, spec = findings.name, findings.spec
    if target.left:
        return (
            f"NO VERDICT YET on {datasets}: {target.done} of {target.planned} transfer trainings are done;"
            f" continue with: {PORTABLE.line('launch', name)}"
        )
    lost = target.planned - target.done
    needed = [f"values tuned on {display_name(dataset)}" for dataset in (target.dataset, spec.source.dataset)]
    needed += [untreated_name(spec, target.role)] if spec.transfer.margin_share else []
    again = (
        f"; {lost} of {target.planned} trainings failed or were skipped: {PORTABLE.line('retry', name)}" if lost else ""
    )
    return f"NO VERDICT on {datasets}: it needs {joined(needed)} on at least two common seeds, which are missing{again}"


def _meaning(findings: Findings, verdict: Verdict, target: TargetVerdict) -> str:
    score = findings.spec.score
    bound, dataset = f"{percent(1 - verdict.level):.3g} % bound", display_name(target.dataset)
    confirmed, source = findings.confirmed.get("source"), display_name(findings.spec.source.dataset)
    kind = findings.spec.kind  # parameters with a symbol represent a longer list
    parameters = tuned = joined(map(label, kind.features.symbols or kind.searched(findings.spec)))
    if confirmed is not None and target.unit == "seed":  # a verdict over searches is not about one point
        tuned = joined(confirmed.best.point.text().split(", "))
    tuned += f", tuned on {source},"
    if verdict.word == "TRANSFERS" and target.lost is not None and is_same_point(target.lost):
        return f"{tuned} are also what tuning on {dataset} itself found, so nothing is lost"
    there, margin = f"tuning on {dataset} itself", _margin(findings, verdict)
    if findings.choices:
        return _meaning_by_advice(findings, verdict, tuned, margin, bound)
    if verdict.word == "FLAT":
        rivals = {"scratch": findings.spec.kind.features.without, "random": f"random {parameters}"}
        others = joined([f"{parameters} tuned on {source}", *(rivals[name] for name in verdict.within)])
        little = counted(score, verdict.declared)
        return (
            f"{there} gains less than {little} ({bound}s) over {others} alike, so there is less than that to transfer"
        )
    if verdict.word == "TRANSFERS" and verdict.high > 0:
        cost = score.amount(exact(score, verdict.high))
        return f"{tuned} cost at most {cost} ({bound}) compared with {there}, less than {margin}"
    if verdict.word == "TRANSFERS":
        better = score.amount(exact(score, -verdict.high))
        return (
            f"{tuned} score at least {better} ({bound}) {score.better} on {dataset} than {there},"
            f" so they stay within {margin}"
        )
    if verdict.word == "FAILS":
        cost = score.amount(exact(score, verdict.low))
        return f"{tuned} cost at least {cost} ({bound}) compared with {there}, more than {margin}"
    low, high = exact(score, verdict.low, "+"), score.amount(exact(score, verdict.high, "+"))
    return f"{tuned} cost between {low} and {high} ({bound}s) compared with {there}; {_why_undecided(verdict, margin)}"


def _meaning_by_advice(findings: Findings, verdict: Verdict, tuned: str, margin: str, bound: str) -> str:
    # The test is of one contrast per search, which includes the noise of the estimated gain, so no bound of the regret.
    text = {
        "TRANSFERS": f"{tuned} are shown to lose less than {margin}",
        "FAILS": f"{tuned} are shown to lose more than {margin}",
        "FLAT": f"tuning there does not measurably gain over {findings.spec.kind.features.without}",
    }.get(verdict.word)
    if verdict.word == "FLAT":  # the gain has its own level
        bound = f"{percent(1 - GAIN_LEVEL):.3g} % bound"
    return f"whether {tuned} lose less than {margin} is open" if text is None else f"{text} ({bound})"


def _margin(findings: Findings, verdict: Verdict) -> str:
    share, features = findings.spec.transfer.margin_share, findings.spec.kind.features
    score = findings.spec.score
    if findings.choices and share and verdict.gain is not None:
        gain = f"{score.amount(exact(score, verdict.gain.mean))} that tuning there gains over {features.without}"
        return f"{percent(share):.3g} % of the {gain}"
    if not verdict.halved:
        is_points = score.difference == "points"
        margin = f"{verdict.margin:g}"
        return f"the {margin}-point margin" if is_points else f"the margin of {score.amount(margin)}"
    assert verdict.gain is not None
    without = findings.spec.kind.features.without
    return f"half of the {score.amount(exact(score, verdict.gain.mean))} that tuning there gains over {without}"


def _why_undecided(verdict: Verdict, margin: str) -> str:
    if verdict.high >= verdict.margin:
        return f"{margin} lies inside this interval"
    if verdict.halved:
        return f"that this is less than {margin} is not proven"
    return "that is little, but whether tuning gains anything there is open"


def undecided(findings: Findings, target: TargetVerdict) -> str:
    """Return what would settle an undecided verdict; "" for others."""
    verdict, name = target.verdict, findings.name
    if verdict is None or verdict.word != "UNDECIDED":
        return ""
    if findings.choices:
        return _undecided_by_advice(findings, target)
    units = "searches" if target.unit == "search" else "seeds per arm"
    if verdict.seeds is None:
        return f"The estimated regret is so close to the margin that 10,000 {units} would not decide with 80 % power."
    needed = f"If the true regret equals the estimate, {verdict.seeds} {units} decide with 80 % power"
    if len(target.looks) >= findings.spec.transfer.looks:
        again = another_sweep(name, findings.spec, **{target.unit: verdict.seeds})
        return f"{needed}, but no declared look is left; start another sweep: {again}"
    return f"{needed}: {extension(name, target)}, then {PORTABLE.line('launch', name)}"


def _undecided_by_advice(findings: Findings, target: TargetVerdict) -> str:
    # Without a command: the advice gives it if more searches are worth their cost.
    choice = next((role.choice for role in findings.choices if role.role == target.role), None)
    elsewhere = None if choice is None else choice.strategy("elsewhere")
    if choice is None or elsewhere is None:
        return ""
    if choice.searches < FEWEST_RUNS:
        return f"Fewer than {FEWEST_RUNS} searches show nothing."
    if elsewhere.needed is None:
        return ""
    return f"If everything is as estimated, {elsewhere.needed} searches show that they do with 80 % power."


def finish(name: str, *, left: bool, missing: bool) -> Advice | None:
    """Return how to complete the trainings: those that may still come, or failed ones; None if all are done."""
    if left:
        return Advice("Let the sweep finish.", (PORTABLE.line("launch", name),))
    if missing:
        return Advice(
            "Let the missing trainings run again.", (PORTABLE.line("retry", name), PORTABLE.line("launch", name))
        )
    return None


def extension(name: str, target: TargetVerdict) -> str:
    """Return the command that adds the searches or seeds an undecided verdict needs, or ""."""
    verdict = target.verdict
    if verdict is None or verdict.seeds is None:
        return ""
    option = "--searches" if target.unit == "search" else "--seeds"
    return PORTABLE.line("extend", name, option, f"+{verdict.seeds - verdict.n}")


def another_sweep(name: str, spec: Spec, *, seed: int = 0, search: int = 0) -> str:
    """Return the commands for another sweep when no look is left; the same seed would repeat the same trainings."""
    report = PORTABLE.line("report", name, "-o", f"{name}-report")
    larger = f"outer.searches={search}" if search else f"transfer.seeds={seed}"
    changes = ("--seed", str(spec.seed + 1), "--set", larger)
    return f"{report}, then {PORTABLE.line('create', f'{name}-2', f'{name}-report/spec.toml', *changes)}"
