"""The answer of sweeps that declared rule 1 or 2: does the point transfer or, without a target, what does it gain?

They keep the verdict of their rule. `sweeps.report.answer` chooses between this module and `choice`, for rule 3.
"""

from sweeps.findings.findings import Findings
from sweeps.findings.load import is_incomplete
from sweeps.findings.verdicts import TargetVerdict
from sweeps.hints import PORTABLE
from sweeps.report import words
from sweeps.report.document import Advice, Badge, Card, Tone
from sweeps.report.sentences import chosen_alike, extension, finish, undecided
from sweeps.report.words import amount, counted, difference, effect_direction, is_same_point, owner, searched
from sweeps.stats.estimates import FEWEST_RUNS, Estimate
from sweeps.terminal import joined
from sweeps.trainers.score import Score

MOST_MORE = 50  # seeds or searches: settling a question with more of them is not worth it


def question(findings: Findings) -> str:
    source, tuned, features = _source(findings), searched(findings.spec), findings.spec.kind.features
    if findings.verdicts:
        return f"Do {features.settings} {tuned} that were tuned on {source} still work on {_target(findings)}?"
    return f"Does {features.treating} help on {source}, and is it worth tuning {tuned} there?"


def headline(findings: Findings) -> str:
    """Return the answer with its numbers in one to four short sentences."""
    return _transfer_headline(findings) if findings.verdicts else _gain_headline(findings)


def badge(findings: Findings) -> Badge:
    return _transfer_badge(findings, findings.verdicts[0]) if findings.verdicts else _gain_badge(findings)


def cards(findings: Findings) -> tuple[Card, ...]:
    role = findings.verdicts[0].role if findings.verdicts else "source"
    nothing = "not yet" if _progress(findings)[0] else "no result"  # the sweep may also not train an arm
    helps = f"Does {findings.spec.kind.features.treating} help?"
    tuning = f"Is tuning better than {owner(findings.spec, findings.better_default(role))} default?"
    return (
        _card(findings, helps, findings.gain(role), nothing=nothing, negative="No, it harms"),
        _card(findings, tuning, findings.beyond_default(role), nothing=nothing, negative="No, the default is better"),
        *(_lost(findings, first, nothing) for first in findings.verdicts[:1]),
    )


def _card(findings: Findings, question: str, value: Estimate | None, *, nothing: str, negative: str) -> Card:
    """Return the card of a question answered by a difference; negative: the answer if that is below 0."""
    if value is None:
        return Card(question, nothing, "", "Open", "open")
    if is_same_point(value):
        return Card(question, words.SAME.capitalize(), f"n = {value.n}", "No", "open")
    limits = words.between(findings.spec.score, value)
    interval = f"95 % CI {limits}" if limits else f"n = {value.n}, no interval"
    answers: dict[str, tuple[str, Tone]] = {
        "above": ("Yes", "good"),
        "below": (negative, "bad"),
        "open": ("Not shown", "open"),
        "unknown": ("Open", "open"),
    }
    return Card(question, words.mean_points(findings.spec.score, value), interval, *answers[effect_direction(value)])


def advice(findings: Findings) -> Advice:
    return _transfer_advice(findings) if findings.verdicts else _gain_advice(findings)


def _source(findings: Findings) -> str:
    return words.display_name(findings.spec.source.dataset)


def _target(findings: Findings) -> str:
    return words.display_name(findings.verdicts[0].dataset)


def _progress(findings: Findings) -> tuple[bool, int, int]:
    """Return whether trainings for the answer are outstanding, and how many are done and planned."""
    if findings.verdicts:
        first = findings.verdicts[0]
        return bool(first.left), first.done, first.planned
    states = [training.row.state for training in findings.trainings]
    return is_incomplete(findings.trainings, "source"), states.count("done"), len(states)


def _finish(findings: Findings) -> Advice:
    name, transfer = findings.name, findings.spec.transfer
    incomplete, done, planned = _progress(findings)
    if todo := finish(name, left=incomplete, missing=done < planned):
        return todo
    arms = ("native", "best") if findings.verdicts else ("best", findings.spec.kind.features.untreated)
    compares = not findings.verdicts or {*arms} <= {*transfer.target_arms}
    if compares and transfer.seeds < FEWEST_RUNS and len(findings.looks) < transfer.looks:
        more = PORTABLE.line("extend", name, "--seeds", f"+{FEWEST_RUNS - transfer.seeds}")
        return Advice("Train with more seeds.", (more, PORTABLE.line("launch", name)))
    return Advice(f"Make another sweep that compares {joined(arms)} on more seeds.")


def _gain_headline(findings: Findings) -> str:
    gain, untuned = findings.gain("source"), findings.beyond_default("source")
    if gain is None:
        return f"Whether {findings.spec.kind.features.treating} helps on {_source(findings)} is not known yet."
    sentences = [_gained(findings, gain, _source(findings))]
    direction = effect_direction(untuned)
    if untuned is not None and (effect_direction(gain) != "below" or direction == "below"):
        number = difference(findings.spec.score, untuned)
        default = f"{owner(findings.spec, findings.better_default('source'))} untuned default"
        better = {
            "above": f"Tuning {searched(findings.spec)} is better than {default} ({number}).",
            "below": f"{default} is better than the tuned values ({number}).",
        }
        sentences.append(better.get(direction, f"Tuning does not measurably beat {default} ({number})."))
    return " ".join(sentences)


def _gain_badge(findings: Findings) -> Badge:
    gain, untuned = effect_direction(findings.gain("source")), effect_direction(findings.beyond_default("source"))
    features = findings.spec.kind.features
    if gain == "unknown":
        incomplete, done, planned = _progress(findings)
        if incomplete:
            return Badge(f"NOT YET: {done} of {planned} trainings on fresh seeds are done", "open")
        both = f"tuned values and {features.untreated_training}"
        return Badge(f"NO ANSWER: it takes {both} on three seeds or more", "open")
    if gain == "below":
        return Badge(f"HARMS: {features.better} is better", "bad")
    if gain == "open":
        return Badge(f"NO CLEAR GAIN: no difference from {features.untreated_training} was detected", "open")
    if untuned == "above":
        return Badge(f"PAYS: {features.treating} helps, and tuning beats the default", "good")
    if untuned == "below":
        return Badge(f"HELPS: {features.treating} gains; the untuned default is better than the tuned values", "good")
    return Badge(f"HELPS: {features.treating} gains; tuning does not measurably beat the default", "good")


def _gain_advice(findings: Findings) -> Advice:
    name, gain = findings.name, effect_direction(findings.gain("source"))
    if gain == "unknown":
        return _finish(findings)
    if untuned := _untuned_instead(findings, "source"):
        return Advice(untuned)
    if gain in ("below", "open"):
        why = "harms it" if gain == "below" else "does not measurably help it"
        features = findings.spec.kind.features
        return Advice(f"{features.plain}: {features.treating} {why}.")
    tuned = findings.confirmed.get("source")
    if tuned is None:
        return Advice("Let the search finish.", (PORTABLE.line("launch", name),))
    return Advice(f"Use {tuned.best.point.text()}.", (PORTABLE.line("best", name, "--paste"),))


def _transfer_headline(findings: Findings) -> str:
    source, target, first = _source(findings), _target(findings), findings.verdicts[0]
    if first.verdict is None:
        begins = f"Whether {searched(findings.spec)} tuned on {source} carry over to {target}"
        return f"{begins} is not known yet." if first.left else f"{begins} cannot be told: {_missing(first)}."
    sentences = []
    if effect_direction(findings.gain("source")) in ("below", "open"):
        sentences.append(f"Tuning did not measurably help on {source} itself, so anything that carries over is chance.")
    gain = findings.gain(first.role)
    if gain is not None:
        sentences.append(_gained(findings, gain, target))
    sentences.append(_carried(findings, first))
    untuned, default = effect_direction(findings.beyond_default(first.role)), findings.better_default(first.role)
    if untuned == "below":
        sentences.append(f"{owner(findings.spec, default)} untuned default is better.")
    elif untuned == "open" and effect_direction(gain) == "above":
        sentences.append(f"{owner(findings.spec, default)} untuned default does as well, within the noise.")
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
        return f"Whether {tuned} carry over is open: {same}, which do not measurably gain there."
    if verdict.word == "TRANSFERS":
        return f"{tuned} carry over: they {number}."
    if verdict.word == "FAILS":
        return f"{tuned} do not carry over: they {number}."
    return f"Whether {tuned} carry over is open: they {number}."


def _loss(score: Score, lost: Estimate) -> str:
    text = amount(score, lost, sign="")
    return f"gain {text[1:]}" if text.startswith("−") else f"lose {text}"


def _missing(first: TargetVerdict) -> str:
    missing = first.done < first.planned
    return "trainings are missing" if missing else "it takes values tuned on both datasets and two seeds or more"


def _transfer_badge(findings: Findings, first: TargetVerdict) -> Badge:
    verdict = first.verdict
    if verdict is None:
        if first.left:
            return Badge(f"NOT YET: {first.done} of {first.planned} transfer trainings are done", "open")
        return Badge(f"NO VERDICT: {_missing(first)}", "open")
    score, more = findings.spec.score, _more(first)
    allowed = counted(score, verdict.margin)
    if verdict.word == "TRANSFERS":
        return Badge(f"TRANSFERS: less than {allowed} lost", "good")
    if verdict.word == "FAILS":
        return Badge(f"FAILS: more than {allowed} lost", "bad")
    if verdict.word == "FLAT":
        return Badge(f"FLAT: tuning gains less than {counted(score, verdict.declared)} there", "open")
    settle = f"; {more} more {first.units} decide" if more <= MOST_MORE else "; not worth settling"
    return Badge(f"UNDECIDED: the loss may be above or below {allowed}{settle if more else ''}", "open")


def _more(first: TargetVerdict) -> int:
    """Return how many more seeds or searches would decide; 0 if no number does, or it is decided."""
    return 0 if first.verdict is None or first.verdict.seeds is None else first.verdict.seeds - first.verdict.n


def _lost(findings: Findings, first: TargetVerdict, nothing: str) -> Card:
    question, lost = f"What is lost by not tuning on {words.display_name(first.dataset)}?", first.lost
    if first.verdict is None or lost is None:
        return Card(question, nothing, f"{first.done} of {first.planned} trainings", "Open", "open")
    score = findings.spec.score
    limits, over = words.between(score, lost, sign=""), chosen_alike(first) if first.same else f"{lost.n} {first.units}"
    if not is_same_point(lost):
        over = f"95 % CI {limits}, {over}" if limits else f"{over}, no interval"
    limit = f"the limit of {counted(score, first.verdict.margin)}"
    answers: dict[str, tuple[str, Tone]] = {
        "TRANSFERS": ("Nothing" if is_same_point(lost) else f"Within {limit}", "good"),
        "FAILS": (f"Above {limit}", "bad"),
        "FLAT": (f"Little: tuning gains less than {counted(score, first.verdict.declared)}", "open"),
        "UNDECIDED": (f"Open: above or below {limit}", "open"),
    }
    return Card(question, words.mean_points(score, lost, sign="").capitalize(), over, *answers[first.verdict.word])


def _transfer_advice(findings: Findings) -> Advice:
    name, first = findings.name, findings.verdicts[0]
    if first.verdict is None:
        return _finish(findings)
    text, commands = _use(findings, first)
    if first.verdict.word == "UNDECIDED":
        more = extension(name, first)
        if _more(first) > MOST_MORE:
            return Advice(f"{text} Settling this takes {_more(first)} more {first.units}, which is not worth it.")
        if len(first.looks) < findings.spec.transfer.looks and more:
            return Advice(f"{text} To settle the open question:", (more, PORTABLE.line("launch", name)))
        text += f" {undecided(findings, first)}"
    return Advice(text, commands)


def _use(findings: Findings, first: TargetVerdict) -> tuple[str, tuple[str, ...]]:
    verdict, role = first.verdict, first.role
    assert verdict is not None
    tuned, native = findings.confirmed.get("source"), findings.confirmed.get(role)
    arm = "best" if verdict.word != "FAILS" or native is None else "native"
    if untuned := _untuned_instead(findings, role, arm):
        return untuned, ()
    if not _helps(findings, role, arm):
        features = findings.spec.kind.features
        return f"{features.plain}: {features.treating} does not measurably help it.", ()
    if arm == "native" and native is not None:
        return f"Tune on {_target(findings)} itself, where the search found {native.best.point.text()}.", ()
    if tuned is None:
        return "Let the search finish.", ()
    command = PORTABLE.line("best", findings.name, "--paste")
    return f"Use {tuned.best.point.text()}, tuned on {_source(findings)}.", (command,)


def _gained(findings: Findings, gain: Estimate, dataset: str) -> str:
    direction, score = effect_direction(gain), findings.spec.score
    treatment = findings.spec.kind.features.treatment
    if direction == "above":
        return f"{treatment} gains {amount(score, gain, sign='')} on {dataset}."
    if direction == "below":
        return f"{treatment} costs {amount(score, gain).removeprefix('−')} on {dataset}."
    return f"{treatment} does not measurably help on {dataset} ({difference(score, gain)})."


def _untuned_instead(findings: Findings, role: str, arm: str = "best") -> str:
    """Return the advice to use the better default, if an arm does not measurably beat it and either helps; else ""."""
    default, beyond = findings.better_default(role), findings.beyond_default(role, arm)
    direction = effect_direction(beyond)
    if default is None or beyond is None or direction == "above" or (direction == "unknown" and beyond.mean > 0):
        return ""
    if all(not _helps(findings, role, name) for name in (arm, default)):
        return ""
    why = "the tuned values do not measurably beat it"
    if direction == "below":
        why = "it is better, the tuned values score less"
    whose, point = owner(findings.spec, default), findings.spec.arm(default).method
    return f"Use {whose} default, {point}: {why} ({difference(findings.spec.score, beyond)})."


def _helps(findings: Findings, role: str, arm: str) -> bool:
    """Return whether an arm gains over no treatment, or too few seeds leave that open."""
    return effect_direction(findings.between(role, arm, findings.spec.untreated_arm(role))) in ("above", "unknown")
