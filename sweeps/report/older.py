"""The answer of sweeps that declared rule 1 or 2: does the point transfer? Without a target: what does it gain?

They keep the words that they were judged by. `sweeps.report.answer` chooses between these and those of rule 3.
"""

from sweeps.findings.findings import Findings
from sweeps.findings.load import is_incomplete
from sweeps.findings.verdicts import TargetVerdict
from sweeps.hints import PORTABLE
from sweeps.report import words
from sweeps.report.document import Advice, Badge, Card, Tone
from sweeps.report.sentences import chosen_alike, extension, undecided
from sweeps.report.words import counted, effect_direction, is_same_point, owner, searched
from sweeps.stats.estimates import FEWEST_RUNS, Estimate
from sweeps.trainers.score import Score


def question(findings: Findings) -> str:
    source, tuned, features = _source(findings), searched(findings.spec), findings.spec.kind.features
    if findings.verdicts:
        return f"Do {features.settings} {tuned} that were tuned on {source} still work on {_target(findings)}?"
    return f"Does {features.treating} help on {source}, and is it worth tuning {tuned} there?"


def headline(findings: Findings) -> str:
    """Return the answer with its numbers, in one to four short sentences."""
    return _transfer_headline(findings) if findings.verdicts else _gain_headline(findings)


def badge(findings: Findings) -> Badge:
    return _transfer_badge(findings, findings.verdicts[0]) if findings.verdicts else _gain_badge(findings)


def cards(findings: Findings) -> tuple[Card, ...]:
    role = findings.verdicts[0].role if findings.verdicts else "source"
    nothing = "not yet" if _progress(findings)[0] else "no result"  # an arm may also not be part of the sweep
    helps = f"Does {findings.spec.kind.features.treating} help?"
    return (
        words.card(findings.spec.score, helps, findings.gain(role), nothing=nothing, negative="No, it harms"),
        words.tuning_card(findings, role, nothing=nothing),
        *(_lost(findings, first, nothing) for first in findings.verdicts[:1]),
    )


def advice(findings: Findings) -> Advice:
    return _transfer_advice(findings) if findings.verdicts else _gain_advice(findings)


def _source(findings: Findings) -> str:
    return words.display_name(findings.spec.source.dataset)


def _target(findings: Findings) -> str:
    return words.display_name(findings.verdicts[0].dataset)


def _progress(findings: Findings) -> tuple[bool, int, int]:
    """Return whether a training that the answer needs may still come, how many are done, and how many are planned."""
    if findings.verdicts:
        first = findings.verdicts[0]
        return bool(first.left), first.done, first.planned
    states = [training.row.state for training in findings.trainings]
    return is_incomplete(findings.trainings, "source"), states.count("done"), len(states)


def _finish(findings: Findings) -> Advice:
    name, transfer = findings.name, findings.spec.transfer
    incomplete, done, planned = _progress(findings)
    if incomplete:
        return Advice("Let the sweep finish.", (PORTABLE.launch(name),))
    if done < planned:
        return Advice("Let the missing trainings run again.", (PORTABLE.retry(name), PORTABLE.launch(name)))
    arms = ("native", "best") if findings.verdicts else ("best", findings.spec.kind.features.untreated)
    compares = not findings.verdicts or {*arms} <= {*transfer.target_arms}
    if compares and transfer.seeds < FEWEST_RUNS and len(findings.looks) < transfer.looks:
        more = PORTABLE.line("extend", name, "--seeds", f"+{FEWEST_RUNS - transfer.seeds}")
        return Advice("Train with more seeds.", (more, PORTABLE.launch(name)))
    return Advice(f"Make another sweep that compares {' and '.join(arms)} on more seeds.")


def _gain_headline(findings: Findings) -> str:
    gain, untuned = findings.gain("source"), findings.beyond_default("source")
    if gain is None:
        return f"Whether {findings.spec.kind.features.treating} helps on {_source(findings)} is not known yet."
    sentences = [words.gained(findings, gain, _source(findings))]
    direction = effect_direction(untuned)
    if untuned is not None and (effect_direction(gain) != "below" or direction == "below"):
        number = words.difference(findings.spec.score, untuned)
        default = f"{owner(findings.spec, findings.better_default('source'))} untuned default"
        better = {
            "above": f"Tuning {searched(findings.spec)} is better than {default} ({number}).",
            "below": f"{default} is better than the tuned values ({number}).",
        }
        sentences.append(better.get(direction, f"Tuning was not shown to beat {default} ({number})."))
    return " ".join(sentences)


def _gain_badge(findings: Findings) -> Badge:
    gain, untuned = effect_direction(findings.gain("source")), effect_direction(findings.beyond_default("source"))
    features = findings.spec.kind.features
    if gain == "unknown":
        incomplete, done, planned = _progress(findings)
        if incomplete:
            return Badge(f"NOT YET: {done} of {planned} trainings on fresh seeds are done", "open")
        return Badge(f"NO ANSWER: it takes best and {features.untreated} on three seeds or more", "open")
    if gain == "below":
        return Badge(f"HARMS: {features.better} is better", "bad")
    if gain == "open":
        return Badge(f"NOT SHOWN TO HELP: nothing is told apart from {features.untreated_training}", "open")
    if untuned == "above":
        return Badge(f"PAYS: {features.treating} helps, and tuning beats the default", "good")
    if untuned == "below":
        return Badge(f"HELPS: {features.treating} gains; the untuned default is better than the tuned values", "good")
    return Badge(f"HELPS: {features.treating} gains; tuning was not shown to beat the default", "good")


def _gain_advice(findings: Findings) -> Advice:
    name, gain = findings.name, effect_direction(findings.gain("source"))
    if gain == "unknown":
        return _finish(findings)
    if untuned := words.untuned_instead(findings, "source"):
        return Advice(untuned)
    if gain in ("below", "open"):
        why = "harms it" if gain == "below" else "was not shown to help it"
        features = findings.spec.kind.features
        return Advice(f"{features.plain}: {features.treating} {why}.")
    tuned = findings.confirmed.get("source")
    if tuned is None:
        return Advice("Let the search finish.", (PORTABLE.launch(name),))
    return Advice(f"Use {tuned.best.point.text()}.", (PORTABLE.line("best", name, "--paste"),))


def _transfer_headline(findings: Findings) -> str:
    source, target, first = _source(findings), _target(findings), findings.verdicts[0]
    if first.verdict is None:
        begins = f"Whether {searched(findings.spec)} tuned on {source} carry over to {target}"
        return f"{begins} is not known yet." if first.left else f"{begins} cannot be told: {_missing(first)}."
    sentences = []
    if effect_direction(findings.gain("source")) in ("below", "open"):
        sentences.append(f"On {source} itself the tuned values were not shown to help, so what carries over is luck.")
    gain = findings.gain(first.role)
    if gain is not None:
        sentences.append(words.gained(findings, gain, target))
    sentences.append(_carried(findings, first))
    untuned, default = effect_direction(findings.beyond_default(first.role)), findings.better_default(first.role)
    if untuned == "below":
        sentences.append(f"{owner(findings.spec, default)} untuned default is better.")
    elif untuned == "open" and effect_direction(gain) == "above":
        sentences.append(f"{owner(findings.spec, default)} untuned default was not shown to be worse.")
    return " ".join(sentences)


def _carried(findings: Findings, first: TargetVerdict) -> str:
    target, verdict, lost = _target(findings), first.verdict, first.lost
    assert verdict is not None
    assert lost is not None
    assert first.regret is not None
    tuned = f"{searched(findings.spec)} tuned on {_source(findings)}"
    score = findings.spec.score
    limits = words.between(score, lost, sign="").replace(" to ", ", ")
    number = f"{_loss(score, lost)}{f' [{limits}]' if limits else ''} against tuning there"
    if first.same:
        number += f", {words.SAME} in {first.same} of {first.regret.searches} searches"
    if verdict.word == "FLAT":
        less = f"less than {counted(score, verdict.declared)} over not tuning"
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


def _loss(score: Score, lost: Estimate) -> str:
    amount = words.amount(score, lost, sign="")
    return f"gain {amount[1:]}" if amount.startswith("−") else f"lose {amount}"


def _missing(first: TargetVerdict) -> str:
    # What no waiting training will bring.
    return "trainings are missing" if first.done < first.planned else "it takes native and best on two seeds or more"


def _transfer_badge(findings: Findings, first: TargetVerdict) -> Badge:
    verdict = first.verdict
    if verdict is None:
        if first.left:
            return Badge(f"NOT YET: {first.done} of {first.planned} transfer trainings are done", "open")
        return Badge(f"NO VERDICT: {_missing(first)}", "open")
    score = findings.spec.score
    allowed = counted(score, verdict.margin)
    if verdict.word == "TRANSFERS":
        return Badge(f"TRANSFERS: less than {allowed} lost", "good")
    if verdict.word == "FAILS":
        return Badge(f"FAILS: more than {allowed} lost", "bad")
    if verdict.word == "FLAT":
        return Badge(f"FLAT: tuning gains less than {counted(score, verdict.declared)} there", "open")
    more = "" if verdict.seeds is None else f"; {verdict.seeds - verdict.n} more {first.units} would tell"
    return Badge(f"UNDECIDED: less than {allowed} lost, or more{more}", "open")


def _lost(findings: Findings, first: TargetVerdict, nothing: str) -> Card:
    question, lost = f"What is lost by not tuning on {words.display_name(first.dataset)}?", first.lost
    if first.verdict is None or lost is None:
        return Card(question, nothing, f"{first.done} of {first.planned} trainings", "Open", "open")
    score = findings.spec.score
    limits, over = words.between(score, lost, sign=""), chosen_alike(first) if first.same else f"{lost.n} {first.units}"
    if not is_same_point(lost):
        over = f"95 % interval {limits}, {over}" if limits else f"{over}, no interval"
    allowed = f"the limit is {counted(score, first.verdict.margin)}"
    answers: dict[str, tuple[str, Tone]] = {
        "TRANSFERS": ("Nothing" if is_same_point(lost) else f"Little: {allowed}", "good"),
        "FAILS": (f"Too much: {allowed}", "bad"),
        "FLAT": (f"Little: tuning gains less than {counted(score, first.verdict.declared)}", "open"),
        "UNDECIDED": (f"Open: {allowed}", "open"),
    }
    return Card(question, words.mean_points(score, lost, sign="").capitalize(), over, *answers[first.verdict.word])


def _transfer_advice(findings: Findings) -> Advice:
    name, first = findings.name, findings.verdicts[0]
    if first.verdict is None:
        return _finish(findings)
    text, commands = _use(findings, first)
    if first.verdict.word == "UNDECIDED":
        more = extension(name, first)
        if len(first.looks) < findings.spec.transfer.looks and more:
            return Advice(f"{text} To settle the open question:", (more, PORTABLE.launch(name)))
        text += f" {undecided(findings, first)}"
    return Advice(text, commands)


def _use(findings: Findings, first: TargetVerdict) -> tuple[str, tuple[str, ...]]:
    verdict, role = first.verdict, first.role
    assert verdict is not None
    tuned, native = findings.confirmed.get("source"), findings.confirmed.get(role)
    arm = "best" if verdict.word != "FAILS" or native is None else "native"
    if untuned := words.untuned_instead(findings, role, arm):
        return untuned, ()
    if not words.helps(findings, role, arm):
        features = findings.spec.kind.features
        return f"{features.plain}: {features.treating} it was not shown to help.", ()
    if arm == "native" and native is not None:
        return f"Tune on {_target(findings)} itself, where the search found {native.best.point.text()}.", ()
    if tuned is None:
        return "Let the search finish.", ()
    command = PORTABLE.line("best", findings.name, "--paste")
    return f"Use {tuned.best.point.text()}, tuned on {_source(findings)}.", (command,)
