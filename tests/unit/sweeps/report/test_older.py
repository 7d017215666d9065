"""The answer of rules 1 and 2 in words and the verdict in full, each from findings planted to reach it.

Over four seeds every planted difference has a standard deviation of 1 point, so its 95 % interval is mean -+ 1.59 and
the one-sided bounds of the first look are mean -+ 1.48. Over three searches whose regrets lie 0.3 points apart the
interval is mean -+ t[.975, 2] * 0.3 / sqrt(3) = mean -+ 0.75.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from sweeps.findings.findings import Findings
from sweeps.findings.secondary import questions
from sweeps.report import older
from sweeps.report.document import Advice, Badge, Card
from sweeps.report.sentences import another_sweep, regret, sentence
from sweeps.report.words import effect_direction
from sweeps.spec.model import Spec, override
from tests.support.sweeps.answered_sweeps import OVER_SEARCHES, OVER_SEEDS, accuracies
from tests.support.sweeps.builders import found
from tests.support.sweeps.planted_sweeps import NATIVE, Points

GAINS = "Distillation gains 5.0 points on digits-rgb."
NOTHING = "Distillation does not measurably help on digits-rgb (0.0 points, −1.6 to +1.6)."
FLAT = "Tuning on digits-rgb gains less than 2 points over not tuning, so there is less than that to carry over."
LOST = "What is lost by not tuning on digits-rgb?"
THERE = "compared with tuning on digits-rgb itself"
TEACHER = "Scope: one teacher each, cnn-small-narrow; digits → digits-rgb"
LOOK_AGAIN = (1.3, 1.6, 1.9)  # regrets of three searches that leave the question open


def over_seeds(regret: float, changes: dict[str, Any] | None = None, **planted: float) -> Findings:
    """Four seeds of one search, with that regret."""
    return found(override(OVER_SEEDS, changes or {}), accuracies(regret, **planted))


def tuned(findings: Findings, role: str = "source") -> str:
    """The point that the search on the dataset of a role found, in words."""
    return findings.confirmed[role].best.point.text()


def in_full(findings: Findings) -> str:
    """The sentence of the only target, with POINT for what was tuned."""
    (target,) = findings.verdicts
    best = findings.confirmed["source"].best.point
    point = f"T = {best['temperature']:.3g} and alpha = {best['alpha']:.3g}"
    return sentence(findings, target).replace(point, "POINT")


SEEDS = {
    "transfers": (
        accuracies(0.5),
        f"{GAINS} T and α tuned on digits carry over: they lose 0.5 points [−1.1, 2.1] against tuning there.",
        Badge("TRANSFERS: less than 2 points lost", "good"),
        Card(LOST, "0.5 points", "95 % interval −1.1 to 2.1, 4 seeds", "Within the limit of 2 points", "good"),
        "+0.50 [-1.09, +2.09]",
        "TRANSFERS: POINT, tuned on digits, cost at most 1.98 points (97 % bound) THERE, less than the 2-point margin.",
    ),
    "gains": (
        accuracies(-5.0, gain=9.5),
        "Distillation gains 9.5 points on digits-rgb. T and α tuned on digits carry over: they gain 5.0 points"
        " [−6.6, −3.4] against tuning there.",
        Badge("TRANSFERS: less than 2 points lost", "good"),
        Card(LOST, "−5.0 points", "95 % interval −6.6 to −3.4, 4 seeds", "Within the limit of 2 points", "good"),
        "-5.00 [-6.59, -3.41]",
        "TRANSFERS: POINT, tuned on digits, score at least 3.52 points (97 % bound) higher on digits-rgb than tuning on"
        " digits-rgb itself, so they stay within the 2-point margin.",
    ),
    "half of what native gains": (
        accuracies(-0.5, gain=2.5),
        "Distillation gains 2.5 points on digits-rgb. T and α tuned on digits carry over: they gain 0.5 points"
        " [−2.1, 1.1] against tuning there.",
        Badge("TRANSFERS: less than 1 point lost", "good"),
        Card(LOST, "−0.5 points", "95 % interval −2.1 to 1.1, 4 seeds", "Within the limit of 1 point", "good"),
        "-0.50 [-2.09, +1.09]",
        "TRANSFERS: POINT, tuned on digits, cost at most 0.98 points (97 % bound) THERE, less than half of the 2.00"
        " points that tuning there gains over no distillation.",
    ),
    "fails": (
        accuracies(3.5),
        f"{GAINS} T and α tuned on digits do not carry over: they lose 3.5 points [1.9, 5.1] against tuning there.",
        Badge("FAILS: more than 2 points lost", "bad"),
        Card(LOST, "3.5 points", "95 % interval 1.9 to 5.1, 4 seeds", "Above the limit of 2 points", "bad"),
        "+3.50 [+1.91, +5.09]",
        "FAILS: POINT, tuned on digits, cost at least 2.02 points (97 % bound) THERE, more than the 2-point margin.",
    ),
    "flat": (
        accuracies(-0.5, gain=0.0),
        f"{NOTHING} {FLAT}",
        Badge("FLAT: tuning gains less than 2 points there", "open"),
        Card(
            LOST, "−0.5 points", "95 % interval −2.1 to 1.1, 4 seeds", "Little: tuning gains less than 2 points", "open"
        ),
        "-0.50 [-2.09, +1.09]",
        "FLAT: tuning on digits-rgb itself gains less than 2 points (97 % bounds) over T and alpha tuned on digits and"
        " no distillation and random T and alpha alike, so there is less than that to transfer.",
    ),
    "undecided": (
        accuracies(1.0),
        f"{GAINS} Whether T and α tuned on digits carry over is open: they lose 1.0 points [−0.6, 2.6] against tuning"
        " there.",
        # t[1 - .03, n - 1] + t[.8, n - 1] is below sqrt(n) from 10 on
        Badge("UNDECIDED: the loss may be above or below 2 points; 6 more seeds decide", "open"),
        Card(
            LOST,
            "1.0 points",
            "95 % interval −0.6 to 2.6, 4 seeds",
            "Open: above or below the limit of 2 points",
            "open",
        ),
        "+1.00 [-0.59, +2.59]",
        "UNDECIDED: POINT, tuned on digits, cost between -0.48 and +2.48 points (97 % bounds) THERE; the 2-point margin"
        " lies inside this interval.",
    ),
}


@pytest.mark.parametrize(("planned", "headline", "badge", "lost", "spread", "in_words"), SEEDS.values(), ids=SEEDS)
def test_every_word_over_seeds_has_its_headline_badge_number_and_sentence(
    planned: dict[str, Points], headline: str, badge: Badge, lost: Card, spread: str, in_words: str
) -> None:
    findings = found(OVER_SEEDS, planned)
    assert older.headline(findings) == headline
    assert older.badge(findings) == badge
    assert older.cards(findings)[2] == lost
    covers = "over seeds alone: one search and one teacher, other searches may find other points."
    begins = f"Regret on digits-rgb, native - best: {spread} points (95 %), {covers}"
    expected = f"{begins} {in_words.replace('THERE', THERE)} {TEACHER}; n = 4 seeds."
    assert in_full(findings).startswith(expected)
    assert (in_full(findings) == expected) == ("UNDECIDED" not in in_words)


# the third search finds one and the same point on both datasets; a question that is open is a golden page
ALIKE = "1 of 3 searches chose the same candidate on both datasets"
AGAINST = "against tuning there, the same point in 1 of 3 searches."


@pytest.mark.parametrize(
    ("regrets", "headline", "word", "lost"),
    [
        (
            (0.2, 0.5, 0.8),
            f"{GAINS} T and α tuned on digits carry over: they lose 0.5 points [−0.2, 1.2] {AGAINST}",
            "TRANSFERS",
            ("0.5 points", f"95 % interval −0.2 to 1.2, {ALIKE}", "Within the limit of 2 points", "good"),
        ),
        (
            (3.2, 3.5, 3.8),
            f"{GAINS} T and α tuned on digits do not carry over: they lose 3.5 points [2.8, 4.2] {AGAINST}",
            "FAILS",
            ("3.5 points", f"95 % interval 2.8 to 4.2, {ALIKE}", "Above the limit of 2 points", "bad"),
        ),
    ],
)
def test_a_word_over_searches_has_its_headline_badge_and_number(
    regrets: Points, headline: str, word: str, lost: Sequence[Any]
) -> None:
    findings = found(OVER_SEARCHES, accuracies(regrets))
    assert older.headline(findings) == headline
    assert older.badge(findings).text.startswith(f"{word}: ")
    assert older.cards(findings)[2] == Card(LOST, *lost)


def test_what_else_is_searched_is_named_in_the_order_of_the_spec_and_the_verdict_says_t_and_alpha() -> None:
    spec = override(OVER_SEARCHES, {"search.space": {"learning_rate": [0.001, 0.01], "epochs": [2, 4]}})
    findings = found(spec, accuracies((3.2, 3.5, 3.8)))
    assert "T, α, learning_rate and epochs tuned on digits do not carry over: they lose" in older.headline(findings)
    (target,) = findings.verdicts
    assert " FAILS: T and alpha, tuned on digits, cost at least " in sentence(findings, target)


def test_what_seeds_and_searches_add_is_told_apart() -> None:
    planned = accuracies((0.0, 3.0, 6.0))
    for arm in [arm for arm in planned if arm.endswith(".best")]:  # without noise of the seeds, only searches vary
        mean = sum(native - best for native, best in zip(NATIVE, planned[arm], strict=True)) / len(NATIVE)
        planned[arm] = [native - mean for native in NATIVE]
    findings = found(OVER_SEARCHES, planned)
    # t[.975, 2] * 3 / sqrt(3)
    assert regret(findings.spec, findings.verdicts[0]) == (
        "Regret on digits-rgb, native - best: +3.00 [-4.45, +10.45] points (95 %), over 3 searches and their seeds"
        f" (±7.45 by search), for one teacher. {ALIKE}."
    )


@pytest.mark.parametrize(
    ("gain", "begins", "limits", "word", "kind"),
    [
        (5.0, "gains 5.0 points on digits-rgb.", "+3.4 to +6.6", "Yes", "good"),
        (0.5, "does not measurably help on digits-rgb (+0.5 points,", "−1.1 to +2.1", "Not shown", "open"),
        (-5.0, "costs 5.0 points on digits-rgb.", "−6.6 to −3.4", "No, it harms", "bad"),
    ],
)
def test_whether_distilling_helps_is_said_before_what_carries_over(
    gain: float, begins: str, limits: str, word: str, kind: Any
) -> None:
    findings = over_seeds(0.5, gain=gain)
    assert older.headline(findings).startswith(f"Distillation {begins}")
    assert "carry over" in older.headline(findings)
    value = f"{gain:+.1f} points".replace("-", "−")
    assert older.cards(findings)[0] == Card("Does distilling help?", value, f"95 % interval {limits}", word, kind)
    without = Advice("Train the small network without a teacher: distilling does not measurably help it.")
    assert (older.advice(findings) == without) == (gain < 5)


@pytest.mark.parametrize(
    ("untuned", "ends", "limits", "word", "kind"),
    [
        (4.0, "against tuning there.", "+2.4 to +5.6", "Yes", "good"),
        (0.5, " Keras' untuned default does as well, within the noise.", "−1.1 to +2.1", "Not shown", "open"),
        (-4.0, " Keras' untuned default is better.", "−5.6 to −2.4", "No, the default is better", "bad"),
    ],
)
def test_keras_default_is_said_last_and_advised_where_tuning_was_not_shown_to_beat_it(
    untuned: float, ends: str, limits: str, word: str, kind: Any
) -> None:
    findings = over_seeds(0.5, untuned=untuned)
    assert older.headline(findings).endswith(ends)
    assert ("Keras" in older.headline(findings)) == (untuned < 4)
    value, question = f"{untuned:+.1f} points".replace("-", "−"), "Is tuning better than Keras' default?"
    assert older.cards(findings)[1] == Card(question, value, f"95 % interval {limits}", word, kind)
    if untuned == 4:
        expected = Advice(f"Use {tuned(findings)}, tuned on digits.", ("kd-sweeps best s --paste",))
    else:
        better = "it is better, the tuned values score less"
        why = better if untuned < 0 else "the tuned values do not measurably beat it"
        expected = Advice(f"Use Keras' default, T = 3, alpha = 0.5: {why} ({value}, {limits}).")
    assert older.advice(findings) == expected


def test_where_distilling_gains_nothing_a_default_counts_if_it_is_better_alone() -> None:
    findings = over_seeds(0.5, gain=0.5, untuned=0.5)
    assert "Keras" not in older.headline(findings)
    assert "Keras" not in older.advice(findings).text
    better = over_seeds(0.5, gain=0.5, untuned=-4.0)
    assert older.headline(better).endswith(" Keras' untuned default is better.")
    assert older.advice(better).text.startswith("Use Keras' default, T = 3, alpha = 0.5: it is better, ")


@pytest.mark.parametrize(("source", "silent"), [(5.0, False), (0.5, True), (-5.0, True)])
def test_a_source_that_says_nothing_is_said_first(source: float, silent: bool) -> None:
    first = older.headline(over_seeds(0.5, source=source)).split(". ")[0]
    luck = "Tuning did not measurably help on digits itself, so anything that carries over is chance"
    assert (first == luck) == silent
    assert silent or f"{first}.".startswith("Distillation gains 5.0 points")


def test_where_a_transfer_fails_the_advice_is_to_tune_there_or_to_take_a_default_that_is_better_than_that() -> None:
    findings = over_seeds(3.5, gain=0.5, untuned=4.0)
    where = tuned(findings, "target")
    assert where != tuned(findings)
    assert older.advice(findings) == Advice(f"Tune on digits-rgb itself, where the search found {where}.")
    findings = over_seeds(3.5, gain=0.5, untuned=-4.0)  # half a point above native on every seed
    assert older.advice(findings) == Advice(
        "Use Keras' default, T = 3, alpha = 0.5: it is better, the tuned values score less (−0.5 points)."
    )
    assert older.headline(findings).endswith("Keras' untuned default is better.")


BOTH = override(OVER_SEEDS, {"transfer.target_arms": [*OVER_SEEDS.transfer.target_arms, "default-keras-io"]})


@pytest.mark.parametrize(
    ("above", "word", "last", "why"),
    [
        (0.0, "Not shown", "does as well, within the noise", "the tuned values do not measurably beat it (−0.5"),
        (4.0, "No, the default is better", "is better", "it is better, the tuned values score less (−4.5 points, "),
    ],
    ids=["as good", "better"],
)
def test_the_card_the_headline_the_advice_and_the_question_are_about_the_better_default(
    above: float, word: str, last: str, why: str
) -> None:
    """Best is shown to be 4 points above Keras' default. What counts is keras.io's, which is better than that."""
    planned = {"transfer#target.default-keras-io": [native + above for native in NATIVE]} | accuracies(0.5)
    findings = found(BOTH, planned)
    assert effect_direction(findings.between("target", "best", "default-keras")) == "above"
    card = older.cards(findings)[1]
    assert (card.question, card.word) == ("Is tuning better than keras.io's default?", word)
    assert older.headline(findings).endswith(f" keras.io's untuned default {last}.")
    assert older.advice(findings).text.startswith(f"Use keras.io's default, T = 10, alpha = 0.1: {why}")
    (use,) = [question for question in questions(findings) if question.name.startswith("use:")]
    assert (use.name, use.answer) == (
        "use: best - default-keras-io (the better default)",
        findings.between("target", "best", "default-keras-io"),
    )


@pytest.mark.parametrize(
    ("spec", "planned", "needed", "larger", "commands"),
    [
        (OVER_SEEDS, accuracies(1.0), "8 seeds per arm decide", "transfer.seeds=8", ("10 seeds per arm", "--seeds +6")),
        # (t[.95, n - 1] + t[.8, n - 1]) * 0.3 is below 0.4 * sqrt(n) from 6 on
        (
            OVER_SEARCHES,
            accuracies(LOOK_AGAIN),
            "6 searches decide",
            "outer.searches=6",
            ("7 searches", "--searches +4"),
        ),
    ],
    ids=["seeds", "searches"],
)
def test_undecided_is_extended_by_what_is_counted_and_after_the_last_look_another_sweep_has_another_seed(
    spec: Spec, planned: dict[str, Points], needed: str, larger: str, commands: tuple[str, str]
) -> None:
    equals, (most, more) = "If the true regret equals the estimate,", commands
    findings = found(spec, planned)
    text = f"Use {tuned(findings)}, tuned on digits. To settle the open question:"
    assert older.advice(findings) == Advice(text, (f"kd-sweeps extend s {more}", "kd-sweeps launch s"))
    extend = f"decide with 80 % power: kd-sweeps extend s {more}, then kd-sweeps launch s"
    assert in_full(findings).endswith(f". {equals} {most} {extend}")
    last = found(override(spec, {"transfer.looks": 1}), planned)
    another = (
        f"{equals} {needed} with 80 % power, but no declared look is left; start another sweep: kd-sweeps report s -o"
        f" s-report, then kd-sweeps create s-2 s-report/spec.toml --seed 1 --set {larger}"
    )
    assert older.advice(last) == Advice(f"Use {tuned(last)}, tuned on digits. {another}", ("kd-sweeps best s --paste",))
    assert in_full(last).endswith(f". {another}")


def test_another_sweep_has_another_seed() -> None:
    spec = override(OVER_SEEDS, {"seed": 6})
    first = "kd-sweeps report s -o s-report, then kd-sweeps create s-2 s-report/spec.toml --seed 7 --set"
    assert another_sweep("s", spec, seed=40) == f"{first} transfer.seeds=40"
    assert another_sweep("s", spec, search=9) == f"{first} outer.searches=9"


def test_a_regret_at_the_margin_itself_is_not_worth_more_seeds() -> None:
    findings = found(OVER_SEEDS, accuracies(2.0) | {"transfer#target.best": [native - 2 for native in NATIVE]})
    assert older.badge(findings) == Badge("UNDECIDED: the loss may be above or below 2 points", "open")
    advice, close = older.advice(findings), "so close to the margin that 10,000 seeds per arm would not decide with"
    assert advice.text.endswith(f"{close} 80 % power.")
    assert advice.commands == ("kd-sweeps best s --paste",)
    assert in_full(findings).endswith(f" The estimated regret is {close} 80 % power.")


def test_a_question_that_takes_more_than_fifty_further_seeds_is_not_worth_settling() -> None:
    findings = over_seeds(1.7)  # 0.3 points from the margin: (t[.97] + t[.8]) / 0.3 is the square root of 80 to 90
    assert older.badge(findings).text.endswith("above or below 2 points; not worth settling")
    advice = older.advice(findings)
    assert re.search(r"Settling this takes [78]\d more seeds, which is not worth it\.$", advice.text)
    assert advice.commands == ()


def test_little_that_is_not_proven_to_be_worth_anything_is_undecided() -> None:
    # 1.9 points over scratch and random: below the margin, but by too little to be flat; and with noise, not above 0
    planned = accuracies(0.0, gain=1.9)
    for arm in ("scratch", "random"):
        planned[f"transfer#target.{arm}"] = [71.0, 66.0, 70.0, 67.4]
    assert "; that is little, but whether tuning gains anything there is open." in in_full(found(OVER_SEEDS, planned))


@pytest.mark.parametrize("sampler", ["qmc", "tpe"])
def test_one_search_that_found_the_same_point_on_both_is_said_to_have(sampler: str) -> None:
    findings = over_seeds(0.5, {"search.sampler": sampler})
    same = tuned(findings) == tuned(findings, "target")
    assert same == (sampler == "qmc"), "the Sobol points of both searches are the same"
    sentence = "T and α tuned on digits carry over: tuning on digits-rgb found the same values."
    assert older.headline(findings).endswith(sentence) == same
    lost = ", tuned on digits, are also what tuning on digits-rgb itself found, so nothing is lost. Scope: "
    assert (lost in in_full(findings)) == same
    others = "digits → digits-rgb (other searches may find other points); n = 4 seeds."
    assert (others in in_full(findings)) == same


def test_the_same_point_that_gains_nothing_leaves_the_question_open() -> None:
    findings = over_seeds(0.0, {"search.sampler": "qmc", "transfer.margin": 1.0}, gain=0.5)
    assert older.badge(findings).text.startswith("UNDECIDED")
    assert older.headline(findings).endswith(
        "Whether T and α tuned on digits carry over is open: tuning on digits-rgb found the same values, which do not"
        " measurably gain there."
    )


def test_two_seeds_have_numbers_and_no_interval_and_decide_what_is_advised() -> None:
    findings = over_seeds(0.5, {"transfer.seeds": 2})
    # the noise of the first two seeds cancels, and t[.97, 1] = 10.6 leaves everything open
    openly = "Whether T and α tuned on digits carry over is open: they lose 0.5 points against tuning there."
    assert older.headline(findings) == f"Distillation does not measurably help on digits-rgb (+5.0 points). {openly}"
    assert older.cards(findings) == (
        Card("Does distilling help?", "+5.0 points", "n = 2, no interval", "Open", "open"),
        Card("Is tuning better than Keras' default?", "+4.0 points", "n = 2, no interval", "Open", "open"),
        Card(LOST, "0.5 points", "2 seeds, no interval", "Open: above or below the limit of 2 points", "open"),
    )
    begins = "Regret on digits-rgb, native - best: +0.50 points (no interval), over seeds alone:"
    assert regret(findings.spec, findings.verdicts[0]).startswith(begins)
    assert older.advice(findings).text.startswith("Use T = ")
    as_good = over_seeds(0.5, {"transfer.seeds": 2}, untuned=0.0)
    assert older.advice(as_good).text.startswith("Use Keras' default")


@pytest.mark.parametrize("left", ["waiting", "running", "cancelled"])
def test_half_way_there_is_no_number_at_all_not_even_after_a_cancel(left: str) -> None:
    findings = found(OVER_SEEDS, accuracies(3.5), until="transfer#target.best.3", left=left)
    first = findings.verdicts[0]
    assert 0 < first.done < first.planned == 20
    assert older.headline(findings) == "Whether T and α tuned on digits carry over to digits-rgb is not known yet."
    assert older.badge(findings) == Badge(f"NOT YET: {first.done} of 20 transfer trainings are done", "open")
    assert [(card.value, card.word) for card in older.cards(findings)] == [("not yet", "Open")] * 3
    assert older.cards(findings)[2].interval == f"{first.done} of 20 trainings"
    assert older.advice(findings) == Advice("Let the sweep finish.", ("kd-sweeps launch s",))
    assert in_full(findings) == (
        f"NO VERDICT YET on digits → digits-rgb: {first.done} of 20 transfer trainings are done; continue with:"
        " kd-sweeps launch s"
    )
    assert regret(findings.spec, first) == ""


LACKS = (
    "NO VERDICT on digits → digits-rgb: it needs the arms native and best on at least two common seeds, which are"
    " missing"
)


def test_trainings_that_failed_are_said_to_be_missing_and_can_run_again() -> None:
    findings = found(OVER_SEEDS, accuracies(0.5), broken="transfer#target.native")
    assert older.badge(findings) == Badge("NO VERDICT: trainings are missing", "open")
    assert older.headline(findings) == (
        "Whether T and α tuned on digits carry over to digits-rgb cannot be told: trainings are missing."
    )
    assert older.cards(findings)[0].value == "+5.0 points"  # of arms that are all there
    assert older.cards(findings)[2] == Card(LOST, "no result", "16 of 20 trainings", "Open", "open")
    again = ("kd-sweeps retry s", "kd-sweeps launch s")
    assert older.advice(findings) == Advice("Let the missing trainings run again.", again)
    assert in_full(findings) == f"{LACKS}; 4 of 20 trainings failed or were skipped: kd-sweeps retry s"
    decided = found(OVER_SEEDS, accuracies(3.5), broken="transfer#target.default-keras.1")
    assert in_full(decided).endswith("n = 4 seeds; 1 of 20 trainings failed."), "a verdict in spite of it"


def test_one_seed_is_no_verdict_and_more_are_to_be_trained() -> None:
    findings = over_seeds(0.5, {"transfer.seeds": 1, "transfer.target_arms": ["best", "native"]})
    assert older.badge(findings) == Badge("NO VERDICT: it takes native and best on two seeds or more", "open")
    assert older.cards(findings)[1].value == "no result", "the arm is not part of the sweep: it is never to come"
    commands = ("kd-sweeps extend s --seeds +2", "kd-sweeps launch s")
    assert older.advice(findings) == Advice("Train with more seeds.", commands)
    assert in_full(findings) == LACKS
    begins = "Regret on digits-rgb, native - best: -0.37 points (no interval), over seeds alone:"  # 0.5 - sqrt(3) / 2
    assert regret(findings.spec, findings.verdicts[0]).startswith(begins)


def test_without_the_arm_native_no_seed_would_help() -> None:
    advice = older.advice(over_seeds(0.5, {"transfer.target_arms": ["best", "scratch"]}))
    assert advice == Advice("Make another sweep that compares native and best on more seeds.")


def test_datasets_are_called_by_their_names_in_words() -> None:
    findings = over_seeds(3.5, {"source.dataset": "mnist"})
    renamed = replace(
        findings, verdicts=tuple(replace(target, dataset="/data/mine.npz") for target in findings.verdicts)
    )
    assert "tuned on MNIST still work on mine.npz?" in older.question(renamed)
    assert "T and α tuned on MNIST do not carry over" in older.headline(renamed)
