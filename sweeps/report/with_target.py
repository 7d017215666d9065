"""The answer of a sweep with a target: does the point transfer?"""

from sweeps.findings.findings import Findings
from sweeps.findings.verdicts import TargetVerdict
from sweeps.hints import PORTABLE
from sweeps.report.document import Advice, Badge, Card, Tone
from sweeps.report.sentences import chosen_alike, extension, undecided
from sweeps.report.words import (
    SAME,
    between,
    card,
    counted,
    display_name,
    gained,
    helps,
    is_same_point,
    mean_points,
    owner,
    points,
    searched,
    side,
    tuning_card,
    untuned_instead,
)
from sweeps.stats.estimates import FEWEST_RUNS


def question(findings: Findings) -> str:
    """Return what the sweep was made to find out."""
    source, target = _names(findings)
    return f"Do the distillation settings {searched(findings.spec)} that were tuned on {source} still work on {target}?"


def headline(findings: Findings) -> str:
    """Return the answer with its numbers, in words that need no explanation; two to four short sentences."""
    source, target = _names(findings)
    first = findings.verdicts[0]
    if first.verdict is None:
        return _unfinished(findings, first)
    said = []
    if _is_silent(findings):
        said.append(f"On {source} itself the tuned values were not shown to help, so what carries over is luck.")
    gain = findings.gain(first.role)
    if gain is not None:
        said.append(gained(gain, target))
    said.append(_carried(findings, first))
    untuned, default = side(findings.beyond_default(first.role)), owner(findings.better_default(first.role))
    if untuned == "below":
        said.append(f"{default} untuned default is better.")
    elif untuned == "open" and side(gain) == "above":
        said.append(f"{default} untuned default was not shown to be worse.")
    return " ".join(said)


def badge(findings: Findings) -> Badge:
    """Return the verdict as a word, with what it means."""
    first = findings.verdicts[0]
    verdict = first.verdict
    if verdict is None:
        if first.left:
            return Badge(f"NOT YET: {first.done} of {first.planned} transfer trainings are done", "open")
        return Badge(f"NO VERDICT: {_missing(first)}", "open")
    allowed = counted(verdict.margin)
    if verdict.word == "TRANSFERS":
        return Badge(f"TRANSFERS: less than {allowed} lost", "good")
    if verdict.word == "FAILS":
        return Badge(f"FAILS: more than {allowed} lost", "bad")
    if verdict.word == "FLAT":
        return Badge(f"FLAT: tuning gains less than {counted(verdict.declared)} there", "open")
    more = "" if verdict.seeds is None else f"; {verdict.seeds - verdict.n} more {first.units} would tell"
    return Badge(f"UNDECIDED: less than {allowed} lost, or more{more}", "open")


def cards(findings: Findings) -> tuple[Card, ...]:
    """Return the three numbers."""
    target, first = _names(findings)[1], findings.verdicts[0]
    return (
        card("Does distilling help?", findings.gain(first.role), nothing=_nothing(first), negative="No, it harms"),
        tuning_card(findings, first.role, nothing=_nothing(first)),
        _lost(first, target),
    )


def advice(findings: Findings) -> Advice:
    """Return what to do, and the commands for it."""
    name, first = findings.name, findings.verdicts[0]
    verdict = first.verdict
    if verdict is None:
        return _finish(findings, first)
    text, commands = _use(findings, first)
    if verdict.word == "UNDECIDED":
        more = extension(name, first)
        if len(first.looks) < findings.spec.transfer.looks and more:
            return Advice(f"{text} To settle the open question:", (more, PORTABLE.launch(name)))
        text += f" {undecided(findings, first)}"
    return Advice(text, commands)


def _unfinished(findings: Findings, first: TargetVerdict) -> str:
    source, target = _names(findings)
    if first.left:
        return f"Whether {searched(findings.spec)} tuned on {source} carry over to {target} is not known yet."
    return (
        f"Whether {searched(findings.spec)} tuned on {source} carry over to {target} cannot be told: {_missing(first)}."
    )


def _missing(first: TargetVerdict) -> str:
    """Return what a verdict lacks that no waiting training will bring."""
    return "trainings are missing" if first.done < first.planned else "it takes native and best on two seeds or more"


def _finish(findings: Findings, first: TargetVerdict) -> Advice:
    """Return what to do before there is a verdict."""
    name, transfer = findings.name, findings.spec.transfer
    if first.left:
        return Advice("Let the sweep finish.", (PORTABLE.launch(name),))
    if first.done < first.planned:
        return Advice("Let the missing trainings run again.", (PORTABLE.retry(name), PORTABLE.launch(name)))
    if (
        transfer.seeds < FEWEST_RUNS
        and len(first.looks) < transfer.looks
        and {"native", "best"} <= {*transfer.target_arms}
    ):
        more = PORTABLE.line("extend", name, "--seeds", f"+{FEWEST_RUNS - transfer.seeds}")
        return Advice("Train with more seeds.", (more, PORTABLE.launch(name)))
    return Advice("Make another sweep that compares native and best on more seeds.")


def _carried(findings: Findings, first: TargetVerdict) -> str:
    source, target = _names(findings)
    verdict = first.verdict
    assert verdict is not None
    assert first.lost is not None
    assert first.regret is not None
    lost = first.lost
    tuned = f"{searched(findings.spec)} tuned on {source}"
    limits = between(lost, sign="").replace(" to ", ", ")
    number = f"{_loss(lost.mean)}{f' [{limits}]' if limits else ''} against tuning there"
    if first.same:
        number += f", {SAME} in {first.same} of {first.regret.searches} searches"
    if verdict.word == "FLAT":
        less = f"less than {counted(verdict.declared)} over not tuning"
        return f"Tuning on {target} gains {less}, so there is less than that to carry over."
    if is_same_point(lost):
        same = f"tuning on {target} found the same values"
        if verdict.word == "TRANSFERS":
            return f"{tuned} carry over: {same}."
        return f"Whether {tuned} carry over is open: {same}, which were not shown to gain anything there."
    if verdict.word == "TRANSFERS":
        return f"{tuned} carry over: they {number}."
    if verdict.word == "FAILS":
        return f"{tuned} do not carry over: they {number}."
    return f"Whether {tuned} carry over is open: they {number}."


def _loss(mean: float) -> str:
    amount = f"{points(abs(mean), sign='')} points"
    return f"gain {amount}" if mean < 0 and points(mean) != "0.0" else f"lose {amount}"


def _nothing(first: TargetVerdict) -> str:
    """Return what stands in the place of a number that is not there: an arm may also not be part of the sweep."""
    return "not yet" if first.left else "no result"


def _lost(first: TargetVerdict, target: str) -> Card:
    asked = f"What is lost by not tuning on {target}?"
    found = first.lost
    if first.verdict is None or found is None:
        return Card(asked, _nothing(first), f"{first.done} of {first.planned} trainings", "Open", "open")
    limits, over = between(found, sign=""), chosen_alike(first) if first.same else f"{found.n} {first.units}"
    if not is_same_point(found):
        over = f"95 % interval {limits}, {over}" if limits else f"{over}, no interval"
    allowed = f"the limit is {counted(first.verdict.margin)}"
    words: dict[str, tuple[str, Tone]] = {
        "TRANSFERS": ("Nothing" if is_same_point(found) else f"Little: {allowed}", "good"),
        "FAILS": (f"Too much: {allowed}", "bad"),
        "FLAT": (f"Little: tuning gains less than {counted(first.verdict.declared)}", "open"),
        "UNDECIDED": (f"Open: {allowed}", "open"),
    }
    return Card(asked, mean_points(found, sign="").capitalize(), over, *words[first.verdict.word])


def _use(findings: Findings, first: TargetVerdict) -> tuple[str, tuple[str, ...]]:
    """Return which (T, alpha) to use on the target, and the command that gives it as code."""
    source, target = _names(findings)
    verdict, role = first.verdict, first.role
    assert verdict is not None
    tuned, native = findings.confirmed.get("source"), findings.confirmed.get(role)
    arm = "best" if verdict.word != "FAILS" or native is None else "native"
    if untuned := untuned_instead(findings, role, arm):
        return untuned, ()
    if not helps(findings, role, arm):
        return "Train the small network without a teacher: distilling it was not shown to help.", ()
    if arm == "native" and native is not None:
        return f"Tune on {target} itself, where the search found {native.best.point.text()}.", ()
    if tuned is None:
        return "Let the search finish.", ()
    return f"Use {tuned.best.point.text()}, tuned on {source}.", (PORTABLE.line("best", findings.name, "--paste"),)


def _is_silent(findings: Findings) -> bool:
    """Return whether tuning on the source was not shown to gain anything there."""
    return side(findings.gain("source")) in ("below", "open")


def _names(findings: Findings) -> tuple[str, str]:
    return display_name(findings.spec.source.dataset), display_name(findings.verdicts[0].dataset)
