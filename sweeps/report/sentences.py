"""The verdict of a target in full: the regret with what its interval covers, the word, its bound, its scope."""

from sweeps.analysis.findings import Findings
from sweeps.analysis.units import percent
from sweeps.analysis.verdicts import TargetVerdict
from sweeps.hints import ANYWHERE
from sweeps.report.formats import counted, interval
from sweeps.spec.model import Spec
from sweeps.stats.verdict import Verdict


def sentence(findings: Findings, target: TargetVerdict) -> str:
    """Return one verdict with its scope, and what to type where it is missing or undecided."""
    spec, verdict = findings.spec, target.verdict
    datasets = f"{spec.source.dataset} -> {target.dataset}"
    if verdict is None:
        return _no_verdict(findings.name, datasets, target)
    teachers = " and ".join(dict.fromkeys(spec.role(role).teacher for role in ("source", target.role)))
    if target.unit == "seed" and same_point(findings, target.role):
        datasets += " (other searches may find other points)"
    scope = f"Scope: one teacher each, {teachers}; {datasets}; n = {verdict.n} {target.units}"
    if target.done < target.planned:
        scope += f"; {target.planned - target.done} of {target.planned} trainings failed"
    more = f" {undecided(findings, target)}" if verdict.word == "UNDECIDED" else ""
    said = f"{regret(target)} {verdict.word}: {_said(findings, verdict, target)}. {scope}.{more}"
    return said.strip()


def regret(target: TargetVerdict) -> str:
    """Return the regret with its interval and what the interval covers, a sentence; empty where there is none."""
    found = target.regret
    if found is None:
        return ""
    number, _, count = interval(found.estimate).rpartition(" (n=")
    kind = "no interval" if "no interval" in count else "95 %"
    value = f"Regret on {target.dataset}, native - best: {number} points ({kind})"
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


def _said(findings: Findings, verdict: Verdict, target: TargetVerdict) -> str:
    """Return what the verdict says, as a sentence without its end."""
    bound, dataset = f"{percent(1 - verdict.level):.3g} % bound", target.dataset
    confirmed, source = findings.confirmed.get("source"), findings.spec.source.dataset
    tuned = "T and alpha"
    if confirmed is not None and target.unit == "seed":  # a verdict over searches is of no point alone
        best = confirmed.best.point
        tuned = " and ".join(best.text().rsplit(", ", 1))
    tuned += f", tuned on {source},"
    if verdict.word == "TRANSFERS" and target.unit == "seed" and same_point(findings, target.role):
        return f"{tuned} are also what tuning on {dataset} itself found, so nothing is lost"
    there, margin = f"tuning on {dataset} itself", _margin(verdict)
    if verdict.word == "FLAT":
        rivals = {"scratch": "no distillation", "random": "random T and alpha"}
        others = " and ".join(["T and alpha tuned on " + source, *(rivals[name] for name in verdict.within)])
        return (
            f"{there} gains less than {counted(verdict.declared)} ({bound}s) over {others} alike, so there is less than"
            " that to transfer"
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
    return "that is little, but whether tuning gains anything there is open"


def undecided(findings: Findings, target: TargetVerdict) -> str:
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


def same_point(findings: Findings, role: str) -> bool:
    """Return whether the search on the source and that on a target found the same point."""
    found = [findings.confirmed.get(one) for one in ("source", role)]
    return all(found) and len({one.best.point for one in found if one is not None}) == 1
