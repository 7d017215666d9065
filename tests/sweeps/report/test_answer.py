"""The answer in plain words, each from a sweep whose accuracies were planted to reach it.

Over four seeds every planted difference has a standard deviation of 1 point, so its 95 % interval is mean -+ 1.59.
Over three searches whose regrets lie 0.3 points apart it is mean -+ t[.975, 2] * 0.3 / sqrt(3) = mean -+ 0.75.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage.queue.tasks import Claim
from sweeps.distill.session import Outcome
from sweeps.findings.findings import Findings
from sweeps.findings.secondary import questions
from sweeps.report import answer
from sweeps.report.document import Advice, Badge, Card, Cards, Heading, Paragraph
from sweeps.report.words import side
from sweeps.spec.model import override
from sweeps.usecases import steering
from tests.support.sweeps.answered_sweeps import (
    OVER_SEARCHES,
    OVER_SEEDS,
    accuracies,
    begun,
    found,
    work_until,
)
from tests.support.sweeps.planted_sweeps import NATIVE, analysed, planted, work

GAINS = "Distillation gains 5.0 points on digits-rgb."
NOTHING = "Distillation was not shown to help on digits-rgb (0.0 points, −1.6 to +1.6)."
LOST = "What is lost by not tuning on digits-rgb?"


def tuned(findings: Findings, role: str = "source") -> str:
    """The point that the search on the dataset of a role found, in words."""
    return findings.confirmed[role].best.point.text()


SEEDS = [
    (
        accuracies(0.5),
        f"{GAINS} T and α tuned on digits carry over: they lose 0.5 points [−1.1, 2.1] against tuning there.",
        Badge("TRANSFERS: less than 2 points lost", "good"),
        Card(LOST, "0.5 points", "95 % interval −1.1 to 2.1, 4 seeds", "Little: the limit is 2 points", "good"),
    ),
    (
        accuracies(-3.0),
        f"{GAINS} T and α tuned on digits carry over: they gain 3.0 points [−4.6, −1.4] against tuning there.",
        Badge("TRANSFERS: less than 1 point lost", "good"),  # half of what native gains: 5 - 3 points
        Card(LOST, "−3.0 points", "95 % interval −4.6 to −1.4, 4 seeds", "Little: the limit is 1 point", "good"),
    ),
    (
        accuracies(3.5),
        f"{GAINS} T and α tuned on digits do not carry over: they lose 3.5 points [1.9, 5.1] against tuning there.",
        Badge("FAILS: more than 2 points lost", "bad"),
        Card(LOST, "3.5 points", "95 % interval 1.9 to 5.1, 4 seeds", "Too much: the limit is 2 points", "bad"),
    ),
    (
        accuracies(-0.5, gain=0.0),
        f"{NOTHING} Tuning on digits-rgb gains less than 2 points over not tuning, so there is less than that"
        " to carry over.",
        Badge("FLAT: tuning gains less than 2 points there", "open"),
        Card(
            LOST, "−0.5 points", "95 % interval −2.1 to 1.1, 4 seeds", "Little: tuning gains less than 2 points", "open"
        ),
    ),
    (
        accuracies(1.0),
        f"{GAINS} Whether T and α tuned on digits carry over is open: they lose 1.0 points [−0.6, 2.6] against tuning"
        " there.",
        # t[1 - .03, n - 1] + t[.8, n - 1] is below sqrt(n) from 10 on
        Badge("UNDECIDED: less than 2 points lost, or more; 6 more seeds would tell", "open"),
        Card(LOST, "1.0 points", "95 % interval −0.6 to 2.6, 4 seeds", "Open: the limit is 2 points", "open"),
    ),
]


@pytest.mark.parametrize(("planned", "headline", "badge", "lost"), SEEDS, ids=[case[2].text[:9] for case in SEEDS])
def test_every_word_over_seeds_has_its_headline_badge_and_number(
    tmp_path: Path, planned: dict[str, Sequence[float]], headline: str, badge: Badge, lost: Card
) -> None:
    findings = found(tmp_path, planned)
    assert answer.headline(findings) == headline
    assert answer.badge(findings) == badge
    assert answer.cards(findings)[2] == lost


# the third search finds one and the same point on both datasets
THERE = "against tuning there, the same point in 1 of 3 searches."
ALIKE = "1 of 3 searches chose the same candidate on both datasets"
SEARCHES = [
    (
        accuracies((0.2, 0.5, 0.8)),
        f"{GAINS} T and α tuned on digits carry over: they lose 0.5 points [−0.2, 1.2] {THERE}",
        Badge("TRANSFERS: less than 2 points lost", "good"),
        Card(LOST, "0.5 points", f"95 % interval −0.2 to 1.2, {ALIKE}", "Little: the limit is 2 points", "good"),
    ),
    (
        accuracies((3.2, 3.5, 3.8)),
        f"{GAINS} T and α tuned on digits do not carry over: they lose 3.5 points [2.8, 4.2] {THERE}",
        Badge("FAILS: more than 2 points lost", "bad"),
        Card(LOST, "3.5 points", f"95 % interval 2.8 to 4.2, {ALIKE}", "Too much: the limit is 2 points", "bad"),
    ),
    (
        accuracies((-0.8, -0.5, -0.2), gain=0.0),
        f"{NOTHING} Tuning on digits-rgb gains less than 2 points over not tuning, so there is less than that"
        " to carry over.",
        Badge("FLAT: tuning gains less than 2 points there", "open"),
        Card(
            LOST,
            "−0.5 points",
            f"95 % interval −1.2 to 0.2, {ALIKE}",
            "Little: tuning gains less than 2 points",
            "open",
        ),
    ),
    (
        accuracies((1.3, 1.6, 1.9)),
        f"{GAINS} Whether T and α tuned on digits carry over is open: they lose 1.6 points [0.9, 2.3] {THERE}",
        # (t[1 - .03, n - 1] + t[.8, n - 1]) * 0.3 is below 0.4 * sqrt(n) from 7 on
        Badge("UNDECIDED: less than 2 points lost, or more; 4 more searches would tell", "open"),
        Card(LOST, "1.6 points", f"95 % interval 0.9 to 2.3, {ALIKE}", "Open: the limit is 2 points", "open"),
    ),
]


@pytest.mark.parametrize(
    ("planned", "headline", "badge", "lost"), SEARCHES, ids=[case[2].text[:9] for case in SEARCHES]
)
def test_every_word_over_searches_has_its_headline_badge_and_number(
    tmp_path: Path, planned: dict[str, Sequence[float]], headline: str, badge: Badge, lost: Card
) -> None:
    findings = found(tmp_path, planned, OVER_SEARCHES)
    assert answer.headline(findings) == headline
    assert answer.badge(findings) == badge
    assert answer.cards(findings)[2] == lost


@pytest.mark.parametrize(
    ("gain", "begins", "card"),
    [
        (5.0, GAINS, ("+5.0 points", "95 % interval +3.4 to +6.6", "Yes", "good")),
        (
            0.5,
            "Distillation was not shown to help on digits-rgb (+0.5 points, −1.1 to +2.1).",
            ("+0.5 points", "95 % interval −1.1 to +2.1", "Not shown", "open"),
        ),
        (
            -5.0,
            "Distillation costs 5.0 points on digits-rgb.",
            ("−5.0 points", "95 % interval −6.6 to −3.4", "No, it harms", "bad"),
        ),
    ],
    ids=["helps", "not shown", "harms"],
)
def test_whether_distilling_helps_is_said_before_what_carries_over(
    tmp_path: Path, gain: float, begins: str, card: Sequence[Any]
) -> None:
    findings = found(tmp_path, accuracies(0.5, gain=gain))
    assert answer.headline(findings).startswith(begins)
    assert "carry over" in answer.headline(findings)
    assert answer.cards(findings)[0] == Card("Does distilling help?", *card)
    advice = answer.advice(findings)
    without = advice == Advice("Train the small network without a teacher: distilling it was not shown to help.")
    assert without == (gain < 5)


@pytest.mark.parametrize(
    ("untuned", "ends", "card"),
    [
        (4.0, "against tuning there.", ("+4.0 points", "95 % interval +2.4 to +5.6", "Yes", "good")),
        (
            0.5,
            " Keras' untuned default was not shown to be worse.",
            ("+0.5 points", "95 % interval −1.1 to +2.1", "Not shown", "open"),
        ),
        (
            -4.0,
            " Keras' untuned default is better.",
            ("−4.0 points", "95 % interval −5.6 to −2.4", "No, the default is better", "bad"),
        ),
    ],
    ids=["worse", "not shown worse", "better"],
)
def test_keras_default_is_said_last_and_advised_where_tuning_was_not_shown_to_beat_it(
    tmp_path: Path, untuned: float, ends: str, card: Sequence[Any]
) -> None:
    findings = found(tmp_path, accuracies(0.5, untuned=untuned))
    assert answer.headline(findings).endswith(ends)
    assert ("Keras" in answer.headline(findings)) == (untuned < 4)
    assert answer.cards(findings)[1] == Card("Is tuning better than Keras' default?", *card)
    if untuned == 4:
        expected = Advice(f"Use {tuned(findings)}, tuned on digits.", ("kd-sweeps best s --paste",))
    else:
        limits = card[1].removeprefix("95 % interval ")
        better = "it is better, the tuned values score less"
        why = better if untuned < 0 else "the tuned values were not shown to beat it"
        expected = Advice(f"Use Keras' default, T = 3, alpha = 0.5: {why} ({card[0]}, {limits}).")
    assert answer.advice(findings) == expected


def test_a_default_is_not_said_to_be_as_good_where_distilling_gains_nothing(tmp_path: Path) -> None:
    findings = found(tmp_path, accuracies(0.5, gain=0.5, untuned=0.5))
    assert "Keras" not in answer.headline(findings)
    assert "Keras" not in answer.advice(findings).text


@pytest.mark.parametrize(("source", "silent"), [(5.0, False), (0.5, True), (-5.0, True)])
def test_a_source_that_says_nothing_is_said_first(tmp_path: Path, source: float, silent: bool) -> None:
    first = answer.headline(found(tmp_path, accuracies(0.5, source=source))).split(". ")[0]
    said = "On digits itself the tuned values were not shown to help, so what carries over is luck"
    assert (first == said) == silent
    assert silent or f"{first}.".startswith("Distillation gains 5.0 points")


def test_where_a_transfer_fails_the_advice_is_to_tune_there(tmp_path: Path) -> None:
    findings = found(tmp_path, accuracies(3.5, gain=0.5, untuned=4.0))
    where = tuned(findings, "target")
    assert where != tuned(findings)
    assert answer.advice(findings) == Advice(f"Tune on digits-rgb itself, where the search found {where}.")


def test_where_a_transfer_fails_and_a_default_is_better_than_tuning_there_that_is_the_advice(tmp_path: Path) -> None:
    findings = found(tmp_path, accuracies(3.5, gain=0.5, untuned=-4.0))  # half a point above native on every seed
    assert answer.advice(findings) == Advice(
        "Use Keras' default, T = 3, alpha = 0.5: it is better, the tuned values score less (−0.5 points)."
    )
    assert answer.headline(findings).endswith("Keras' untuned default is better.")


BOTH = override(OVER_SEEDS, {"transfer.target_arms": [*OVER_SEEDS.transfer.target_arms, "default-keras-io"]})


@pytest.mark.parametrize(
    ("above", "word", "last", "why"),
    [
        (0.0, "Not shown", "was not shown to be worse", "the tuned values were not shown to beat it (−0.5 points, "),
        (4.0, "No, the default is better", "is better", "it is better, the tuned values score less (−4.5 points, "),
    ],
    ids=["as good", "better"],
)
def test_the_card_the_headline_the_advice_and_the_question_are_about_the_better_default(
    tmp_path: Path, above: float, word: str, last: str, why: str
) -> None:
    """Best is shown to be 4 points above Keras' default. What counts is keras.io's, which is better than that."""
    planned = {"transfer#target.default-keras-io": [native + above for native in NATIVE]} | accuracies(0.5)
    findings = found(tmp_path, planned, BOTH)
    assert side(findings.difference("best - default-keras", "digits-rgb")) == "above"
    card = answer.cards(findings)[1]
    assert (card.question, card.word) == ("Is tuning better than keras.io's default?", word)
    assert answer.headline(findings).endswith(f" keras.io's untuned default {last}.")
    assert answer.advice(findings).text.startswith(f"Use keras.io's default, T = 10, alpha = 0.1: {why}")
    (use,) = [one for one in questions(findings) if one.name.startswith("use:")]
    assert (use.name, use.answer) == (
        "use: best - default-keras-io (the better default)",
        findings.difference("best - default-keras-io", "digits-rgb"),
    )


def test_a_default_that_is_better_than_no_distillation_is_advised_where_the_tuned_values_are_not(
    tmp_path: Path,
) -> None:
    findings = found(tmp_path, accuracies(0.5, gain=0.5, untuned=-4.0))
    assert answer.headline(findings).endswith(" Keras' untuned default is better.")
    assert answer.advice(findings).text.startswith("Use Keras' default, T = 3, alpha = 0.5: it is better, ")


@pytest.mark.parametrize("untuned", [0.0, 4.0])
def test_two_seeds_are_no_proof_but_what_they_show_decides_what_is_advised(tmp_path: Path, untuned: float) -> None:
    """The noise of the first two seeds cancels."""
    findings = found(tmp_path, accuracies(0.5, untuned=untuned), override(OVER_SEEDS, {"transfer.seeds": 2}))
    assert answer.advice(findings).text.startswith("Use Keras' default" if untuned == 0 else "Use T = ")


def test_undecided_over_seeds_is_extended_by_seeds_and_over_searches_by_searches(tmp_path: Path) -> None:
    (tmp_path / "seeds").mkdir()
    over_seeds = found(tmp_path / "seeds", accuracies(1.0))
    text = f"Use {tuned(over_seeds)}, tuned on digits. To settle the open question:"
    assert answer.advice(over_seeds) == Advice(text, ("kd-sweeps extend s --seeds +6", "kd-sweeps launch s"))
    (tmp_path / "searches").mkdir()
    over_searches = found(tmp_path / "searches", accuracies((1.3, 1.6, 1.9)), OVER_SEARCHES)
    assert answer.advice(over_searches).commands == ("kd-sweeps extend s --searches +4", "kd-sweeps launch s")


@pytest.mark.parametrize(
    ("spec", "planned", "needed", "larger"),
    [
        (OVER_SEEDS, accuracies(1.0), "8 seeds per arm decide", "transfer.seeds=8"),
        # (t[.95, n - 1] + t[.8, n - 1]) * 0.3 is below 0.4 * sqrt(n) from 6 on
        (OVER_SEARCHES, accuracies((1.3, 1.6, 1.9)), "6 searches decide", "outer.searches=6"),
    ],
    ids=["seeds", "searches"],
)
def test_undecided_after_the_last_look_names_another_sweep_with_another_seed(
    tmp_path: Path, spec: Any, planned: dict[str, Sequence[float]], needed: str, larger: str
) -> None:
    findings = found(tmp_path, planned, override(spec, {"transfer.looks": 1}))
    advice = answer.advice(findings)
    assert advice.text == (
        f"Use {tuned(findings)}, tuned on digits. If the true regret equals the estimate, {needed} with 80 % power, but"
        " no declared look is left; start another sweep: kd-sweeps report s -o s-report, then"
        f" kd-sweeps create s-2 s-report/spec.toml --seed 1 --set {larger}"
    )
    assert advice.commands == ("kd-sweeps best s --paste",)


def test_a_regret_at_the_margin_itself_is_not_worth_more_seeds(tmp_path: Path) -> None:
    planned = accuracies(2.0) | {"transfer#target.best": [68.0, 69.0, 67.0, 70.0]}
    findings = found(tmp_path, planned)
    assert answer.badge(findings) == Badge("UNDECIDED: less than 2 points lost, or more", "open")
    advice = answer.advice(findings)
    assert advice.text.endswith("so close to the margin that 10,000 seeds per arm would not decide with 80 % power.")
    assert advice.commands == ("kd-sweeps best s --paste",)


@pytest.mark.parametrize("sampler", ["qmc", "tpe"])
def test_one_search_that_found_the_same_point_on_both_is_said_to_have(tmp_path: Path, sampler: str) -> None:
    findings = found(tmp_path, accuracies(0.5), override(OVER_SEEDS, {"search.sampler": sampler}))
    same = tuned(findings) == tuned(findings, "target")
    assert same == (sampler == "qmc"), "the Sobol points of both searches are the same"
    sentence = "T and α tuned on digits carry over: tuning on digits-rgb found the same values."
    assert answer.headline(findings).endswith(sentence) == same


def test_the_same_point_that_gains_nothing_leaves_the_question_open(tmp_path: Path) -> None:
    spec = override(OVER_SEEDS, {"search.sampler": "qmc", "transfer.margin": 1.0})
    findings = found(tmp_path, accuracies(0.0, gain=0.5), spec)
    assert answer.badge(findings).text.startswith("UNDECIDED")
    assert answer.headline(findings).endswith(
        "Whether T and α tuned on digits carry over is open: tuning on digits-rgb found the same values, which were not"
        " shown to gain anything there."
    )


def test_searches_that_all_found_the_same_point_on_both_have_nothing_to_compare(tmp_path: Path) -> None:
    findings = found(tmp_path, accuracies((0.0, 0.0, 0.0)), override(OVER_SEARCHES, {"search.sampler": "qmc"}))
    assert answer.headline(findings).endswith(
        "T and α tuned on digits carry over: tuning on digits-rgb found the same values."
    )
    alike = "3 of 3 searches chose the same candidate on both datasets"
    assert answer.cards(findings)[2] == Card(LOST, "The same point", alike, "Nothing", "good")


def test_two_seeds_have_numbers_and_no_interval(tmp_path: Path) -> None:
    findings = found(tmp_path, accuracies(0.5), override(OVER_SEEDS, {"transfer.seeds": 2}))
    # the noise of the first two seeds cancels, and t[.97, 1] = 10.6 leaves everything open
    said = "Whether T and α tuned on digits carry over is open: they lose 0.5 points against tuning there."
    assert answer.headline(findings) == f"Distillation was not shown to help on digits-rgb (+5.0 points). {said}"
    assert answer.cards(findings) == (
        Card("Does distilling help?", "+5.0 points", "n = 2, no interval", "Open", "open"),
        Card("Is tuning better than Keras' default?", "+4.0 points", "n = 2, no interval", "Open", "open"),
        Card(LOST, "0.5 points", "2 seeds, no interval", "Open: the limit is 2 points", "open"),
    )


def test_half_way_there_is_no_number_at_all_not_even_after_a_cancel(tmp_path: Path) -> None:
    url, run = begun(tmp_path), planted(accuracies(3.5))
    work_until(url, run, key="transfer#target.best.3")

    def check(findings: Findings) -> None:
        first = findings.verdicts[0]
        assert 0 < first.done < first.planned == 20
        assert answer.headline(findings) == "Whether T and α tuned on digits carry over to digits-rgb is not known yet."
        assert answer.badge(findings) == Badge(f"NOT YET: {first.done} of 20 transfer trainings are done", "open")
        assert [(card.value, card.word) for card in answer.cards(findings)] == [("not yet", "Open")] * 3
        assert answer.cards(findings)[2].interval == f"{first.done} of 20 trainings"
        assert answer.advice(findings) == Advice("Let the sweep finish.", ("kd-sweeps launch s",))

    check(analysed(url))
    steering.cancel(url, "s")
    check(analysed(url))
    steering.resume(url, "s")
    work(url, run)
    assert answer.badge(analysed(url)).text.startswith("FAILS: ")


def test_trainings_that_failed_are_said_to_be_missing_and_can_run_again(tmp_path: Path) -> None:
    url, run = begun(tmp_path, override(OVER_SEEDS, {"retry.error": 1})), planted(accuracies(0.5))

    def broken(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.key.startswith("transfer#target.native"):
            raise KeyError("a mistake")
        return run(claim, params, on_step)

    work(url, broken)
    findings = analysed(url)
    assert answer.badge(findings) == Badge("NO VERDICT: trainings are missing", "open")
    assert answer.headline(findings) == (
        "Whether T and α tuned on digits carry over to digits-rgb cannot be told: trainings are missing."
    )
    assert answer.cards(findings)[0].value == "+5.0 points"  # of arms that are all there
    assert answer.cards(findings)[2] == Card(LOST, "no result", "16 of 20 trainings", "Open", "open")
    again = ("kd-sweeps retry s", "kd-sweeps launch s")
    assert answer.advice(findings) == Advice("Let the missing trainings run again.", again)
    steering.retry(url, "s")
    work(url, run)
    assert answer.badge(analysed(url)).text.startswith("TRANSFERS: ")


def test_one_seed_is_no_verdict_and_more_are_to_be_trained(tmp_path: Path) -> None:
    spec = override(OVER_SEEDS, {"transfer.seeds": 1, "transfer.target_arms": ["best", "native"]})
    url = begun(tmp_path, spec)
    work(url, planted(accuracies(0.5)))
    findings = analysed(url)
    assert answer.badge(findings) == Badge("NO VERDICT: it takes native and best on two seeds or more", "open")
    assert answer.cards(findings)[1].value == "no result", "the arm is not part of the sweep: it is never to come"
    commands = ("kd-sweeps extend s --seeds +2", "kd-sweeps launch s")
    assert answer.advice(findings) == Advice("Train with more seeds.", commands)
    steering.extend(url, "s", seeds=2)
    work(url, planted(accuracies(0.5)))
    assert answer.cards(analysed(url))[2].interval == "95 % interval −2.3 to 2.7, 3 seeds"


def test_without_the_arm_native_no_seed_would_help(tmp_path: Path) -> None:
    spec = override(OVER_SEEDS, {"transfer.target_arms": ["best", "scratch"]})
    advice = answer.advice(found(tmp_path, accuracies(0.5), spec))
    assert advice == Advice("Make another sweep that compares native and best on more seeds.")


def test_a_regret_that_rounds_to_nothing_has_no_sign(tmp_path: Path) -> None:
    findings = found(tmp_path, accuracies(-0.04))
    assert "they lose 0.0 points [" in answer.headline(findings)
    assert answer.cards(findings)[2].value == "0.0 points"


def test_a_page_opens_with_question_headline_badge_numbers_and_advice(tmp_path: Path) -> None:
    findings = found(tmp_path, accuracies(0.5))
    question = "Do the distillation settings T and α that were tuned on digits still work on digits-rgb?"
    assert answer.question(findings) == question
    assert answer.blocks(findings) == [
        Paragraph(question, small=True),
        Heading(answer.headline(findings), level=1),
        answer.badge(findings),
        Cards(answer.cards(findings)),
        answer.advice(findings),
    ]


def test_datasets_are_called_by_their_names_in_words(tmp_path: Path) -> None:
    findings = found(tmp_path, accuracies(3.5))
    spec = findings.spec.model_copy(
        update={"source": findings.spec.source.model_copy(update={"dataset": "mnist"})},
    )
    renamed = replace(
        findings, spec=spec, verdicts=tuple(replace(one, dataset="/data/mine.npz") for one in findings.verdicts)
    )
    assert "tuned on MNIST still work on mine.npz?" in answer.question(renamed)
    assert "T and α tuned on MNIST do not carry over" in answer.headline(renamed)
