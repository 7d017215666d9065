"""What to use and why, in words, each from searches whose accuracies were planted to reach it.

Tuned on the target reaches 70 %, and no teacher 67.4 %: the gain is 2.6 points. With eight searches, whose losses lie
d points apart, the interval of a mean is -+ t[.975, 7] * d / sqrt(8).
"""

import csv
import io
import math
from collections import defaultdict
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

import pytest

from sweeps.distill.presets import on
from sweeps.findings.findings import Findings
from sweeps.report import answer, choice
from sweeps.report.brief import brief
from sweeps.report.document import Advice, Badge, Fold, Paragraph, Table
from sweeps.report.folder import json_data, results_csv
from sweeps.report.page import page
from sweeps.report.sentences import sentence
from sweeps.spec.model import SMOKE_TEST, override
from tests.support.sweeps.chosen_sweeps import CHOSEN, chosen, judged

NEAR = [0.1, 0.5, 0.4, 0.2, 0.6, 0.3, 0.0, 0.3]  # points lost; their mean is 0.3, their standard deviation 0.2
NONE = [0.0, -0.3, 0.4, 0.0, -0.2, 0.0, 0.1, -0.1]
FAR = [1.0 + lost for lost in NEAR]
GAINS = "On digits-rgb distilling gains 2.6 points over training without a teacher."
HERE = "tuning on digits-rgb itself is the 100 %."


@pytest.fixture(scope="module")
def default() -> Findings:
    return chosen(NEAR, NONE)


def code(findings: Findings) -> list[str]:
    return [library for library, _ in answer.advice(findings).code]


def test_a_default_that_keeps_enough_is_advised_with_its_share_and_what_the_others_bring(default: Findings) -> None:
    assert answer.summary(default) == (
        "Use Keras' default. Tuning adds little here."
        f" {GAINS} The untuned default keeps 88 % of that, values tuned on digits 100 %; {HERE}"
        " Tuning on digits-rgb itself would add 0.3 points (95 % CI 0.1 to 0.5) to Keras' default."
        " Values tuned on digits bring 0.3 points (95 % CI 0.0 to 0.6) more than the default, and lose 0.0 points"
        " (95 % CI −0.2 to 0.2) against tuning there."
    )
    assert answer.badge(default) == Badge("TRANSFERS, and so does Keras' untuned default", "good")
    advice = answer.advice(default)
    assert (advice.text, advice.commands) == ("Train with Keras' default, T = 3, alpha = 0.5.", ())
    assert code(default) == ["kd", "Keras", "PyTorch", "timm", "torchdistill", "ModelOpt", "TRL"]
    assert "temperature=3.0, alpha=0.5)" in advice.code[0][1]


def test_the_strategies_are_a_table_from_nothing_to_all_with_their_price(default: Findings) -> None:
    (role,) = default.choices
    priced = replace(role, seconds={"default": 0.0, "elsewhere": 370.0, "here": 730.0})
    points = default.confirmed
    assert [tuple(row) for row in choice.strategies(default, priced).rows] == [
        ("Untuned default", "T 3, α 0.5", "88 % [82, 95]", "costs nothing"),
        ("Tuned on digits", points["source"].best.point.brief(SYMBOLS), "100 % [94, 107]", "6 min on digits"),
        ("Tuned on digits-rgb itself", points["target"].best.point.brief(SYMBOLS), "100 %", "12 min on digits-rgb"),
    ]
    assert choice.scope(default, role) == (
        f"Mean and 95 % CI over 8 searches with 3 seeds each, one teacher. In {role.same} of 8 searches both datasets"
        " chose the same candidate. Test images were used once, after every choice. Cost: of one search, its teacher"
        " included, time on one core."
    )


SYMBOLS = {"temperature": "T", "alpha": "α"}


def test_values_from_elsewhere_are_advised_where_the_default_falls_short() -> None:
    findings = chosen(FAR, NONE)
    assert answer.headline(findings) == "Use values tuned on digits."
    point = findings.confirmed["source"].best.point
    advice = answer.advice(findings)
    assert advice.text == f"Train with {point.text()}, tuned on digits."
    assert f"temperature={point['temperature']!r}" in advice.code[0][1]
    assert answer.badge(findings) == Badge("TRANSFERS; Keras' untuned default falls short", "good")


def test_where_tuning_pays_the_first_line_says_how_much_over_the_better_of_the_others() -> None:
    findings = chosen(FAR, [lost + 0.2 for lost in FAR])
    assert answer.headline(findings) == "Tune on digits-rgb itself: it adds 1.3 points."
    assert " Tuning on digits-rgb itself adds 1.3 points (95 % CI 1.1 to 1.5) to Keras' default." in answer.summary(
        findings
    )
    assert " Values tuned on digits cost 0.2 points compared with the default, and lose 1.5 points" in answer.summary(
        findings
    )
    point = findings.confirmed["target"].best.point
    assert answer.advice(findings).text == f"Train with {point.text()}, tuned on digits-rgb itself."


def test_against_worse_than_nothing_the_first_line_says_how_much_over_nothing() -> None:
    findings = chosen([5 + lost for lost in NEAR], [6 + lost for lost in NEAR])
    assert answer.headline(findings) == "Tune on digits-rgb itself: it adds 2.6 points."
    assert " The untuned default keeps −104 % of that, values tuned on digits −142 %;" in answer.summary(findings)
    (role,) = findings.choices
    assert choice.rows(findings, role)[0].kept == "−104 % [−123, −88]"


def test_what_is_better_than_tuning_there_is_not_said_to_lose_less_than_nothing() -> None:
    findings = chosen([-0.5 - lost for lost in NEAR], [-lost for lost in NEAR])
    assert answer.headline(findings) == "Use Keras' default. Tuning adds nothing here."
    (role,) = findings.choices
    assert choice.details(findings, role) == (
        "Tuning on digits-rgb itself would cost 0.8 points (95 % CI 0.6 to 1.0) compared with Keras' default."
        " Values tuned on digits cost 0.5 points compared with the default, and score 0.3 points (95 % CI 0.1 to 0.5)"
        " higher than tuning there."
    )


def test_further_searches_with_fewer_seeds_are_said() -> None:
    findings = chosen(NEAR, NONE, spec=override(CHOSEN, {"outer.seeds": 2}))
    (role,) = findings.choices
    assert choice.scope(findings, role).startswith("Mean and 95 % CI over 8 searches with 2 to 3 seeds each,")


def test_where_nothing_is_gained_the_advice_is_to_train_without_a_teacher_and_there_is_no_share() -> None:
    findings = chosen(NEAR, NONE, gain=0.06)
    assert answer.summary(findings).startswith(
        "Train without a teacher. On digits-rgb distilling gains no more than the noise over training without a"
        " teacher: even tuned there, 0.1 points (95 % CI −0.2 to 0.3)."
    )
    assert "%" not in answer.summary(findings).replace("95 %", "")
    assert answer.advice(findings) == Advice("Train the small network without a teacher.")
    (role,) = findings.choices
    assert choice.rows(findings, role)[0].kept == "−0.2 points [−0.5, 0.0]"
    assert choice.scale(findings, role) == "points over no distillation"


def test_where_distilling_harms_the_reason_says_so() -> None:
    harmed = answer.summary(chosen(NEAR, NONE, gain=-1.0))
    assert harmed.startswith(
        "Train without a teacher. On digits-rgb distilling harms: even tuned there, −1.0 points (95 % CI −1.2 to −0.8)"
        " against training without a teacher."
    )


def with_word(findings: Findings, word: str) -> Findings:
    (target,) = findings.verdicts
    assert target.verdict is not None
    return replace(findings, verdicts=(replace(target, verdict=replace(target.verdict, word=word)),))


@pytest.mark.parametrize(
    ("lost", "word", "text"),
    [
        (NEAR, "FAILS", "FAILS, and Keras' untuned default does better"),
        (FAR, "FAILS", "FAILS: tuned elsewhere, too much is lost"),
        (NEAR, "UNDECIDED", "UNDECIDED, but Keras' untuned default is good enough"),
        (FAR, "UNDECIDED", "UNDECIDED: more searches decide"),
        (FAR, "FLAT", "FLAT: no measurable gain, so nothing to carry over"),
        ([0.5, 0.8, 0.1, 0.9, 0.2, 0.6, 0.4, 0.5], "TRANSFERS", "TRANSFERS; whether Keras' untuned default does as"),
    ],
)
def test_every_word_is_said_against_the_default(lost: list[float], word: str, text: str) -> None:
    assert answer.badge(with_word(chosen(lost, NONE), word)).text.startswith(text)


WIDE = [0.25 + 3 * (lost - 0.3) for lost in NEAR]


def test_what_is_not_decided_names_the_rivals_and_the_command_that_settles_it() -> None:
    findings = chosen(WIDE, FAR)
    (role,) = findings.choices
    assert role.choice is not None
    strategy = role.choice.strategy("default")
    assert strategy is not None
    assert strategy.needed is not None
    assert strategy.needed > 8
    assert answer.headline(findings) == "Not decided: Keras' default or tuning here."
    advice, point = answer.advice(findings), findings.confirmed["target"].best.point
    assert advice.text == (
        f"Until that is decided: train with {point.text()}, tuned on digits-rgb itself. {strategy.needed} searches"
        " decide with 80 % power."
    )
    assert advice.commands == (f"kd-sweeps extend s --searches +{strategy.needed - 8}", "kd-sweeps launch s")
    assert code(findings) == ["kd", "Keras", "PyTorch", "timm", "torchdistill", "ModelOpt", "TRL"]


def needing(findings: Findings, searches: int | None, **changes: Any) -> Findings:
    """The same where the default needs so many searches."""
    (role,) = findings.choices
    assert role.choice is not None
    strategies = tuple(
        replace(strategy, needed=searches if strategy.name == "default" else None)
        for strategy in role.choice.strategies
    )
    spec = override(findings.spec, changes) if changes else findings.spec
    return replace(findings, spec=spec, choices=(replace(role, choice=replace(role.choice, strategies=strategies)),))


def test_a_sweep_ten_times_as_large_is_not_proposed() -> None:
    findings = chosen(WIDE, FAR)
    each = len([job for job in (*findings.searched, *findings.trainings) if job.work.tag == "t0s7"])
    most = 8 + 10 * findings.provenance.planned // each
    assert len(answer.advice(needing(findings, most)).commands) == 2
    dear = answer.advice(needing(findings, most + 1))
    assert dear.text.endswith(f"To decide, {most + 1} searches are needed: more than 10 times this sweep.")
    assert dear.commands == ()
    hopeless = answer.advice(needing(findings, None))
    assert hopeless.text.endswith("more searches are not expected to find a cheaper choice.")


def test_the_word_of_a_strategy_that_is_open_has_the_searches_that_show_it_and_no_command_of_its_own() -> None:
    findings = chosen(NEAR, WIDE)
    (role,) = findings.choices
    elsewhere = role.choice and role.choice.strategy("elsewhere")
    assert elsewhere
    text = sentence(findings, findings.verdicts[0])
    assert text.endswith(
        f"If everything is as estimated, {elsewhere.needed} searches show that they do with 80 % power."
    )
    assert "extend" not in text
    flat = chosen(NEAR, NONE, gain=0.1)
    assert "FLAT: tuning there does not measurably gain over no distillation (97.5 % bound)" in (
        sentence(flat, flat.verdicts[0])
    )


def test_searches_that_lack_the_default_do_not_count_towards_those_it_needs() -> None:
    findings = needing(chosen(WIDE, FAR), 7)
    (role,) = findings.choices
    assert role.choice is not None
    default, *others = role.choice.strategies
    assert default.lost is not None
    broken = replace(default, lost=replace(default.lost, n=5))  # three of eight have no training of the default
    fewer = replace(role, choice=replace(role.choice, strategies=(broken, *others)))
    advice = answer.advice(replace(findings, choices=(fewer,)))
    assert advice.commands[0] == "kd-sweeps extend s --searches +2"
    assert "10 searches decide" in advice.text


def test_where_no_look_is_left_another_sweep_has_another_seed() -> None:
    findings = chosen(WIDE, FAR)
    transfer = findings.spec.transfer.model_copy(update={"looks": 1})
    last = replace(needing(findings, 12), spec=findings.spec.model_copy(update={"transfer": transfer}))
    assert answer.advice(last).text.endswith(
        "12 searches decide with 80 % power. No planned use of the test images is left: kd-sweeps report s -o s-report,"
        " then kd-sweeps create s-2 s-report/spec.toml --seed 1 --set outer.searches=12"
    )


@pytest.mark.parametrize(("searches", "count"), [(1, "1 search"), (2, "2 searches")])
def test_fewer_than_three_searches_have_no_interval_and_more_settle_it(searches: int, count: str) -> None:
    findings = chosen([0.3, 0.5], 0.1, spec=override(CHOSEN, {"outer.searches": searches}))
    assert answer.headline(findings) == f"Not decided after {count}: more settle it."
    assert "An interval over searches needs 3 of them." in answer.summary(findings)
    assert "95 % CI" not in answer.summary(findings)
    (role,) = findings.choices
    assert not any("[" in row.kept for row in choice.rows(findings, role))
    assert answer.advice(findings).commands[0] == f"kd-sweeps extend s --searches +{3 - searches}"
    assert sentence(findings, findings.verdicts[0]).endswith(" Fewer than 3 searches show nothing.")
    assert answer.badge(findings) == Badge("UNDECIDED: more searches decide", "open")


def test_half_way_there_is_no_number_and_failures_can_run_again() -> None:
    half = chosen(until="transfer#target.best.2")
    (role,) = half.choices
    assert answer.summary(half) == (
        f"What to use on digits-rgb is not known yet. {role.done} of {role.planned} trainings on digits-rgb are done."
    )
    assert answer.advice(half) == Advice("Let the sweep finish.", ("kd-sweeps launch s",))
    assert answer.badge(half).text == f"NOT YET: {role.done} of {role.planned} trainings are done"
    assert choice.rows(half, role) == ()
    broken = replace(half, choices=(replace(role, left=0),))
    assert answer.headline(broken) == "What to use on digits-rgb cannot be told."
    again = Advice("Let the missing trainings run again.", ("kd-sweeps retry s", "kd-sweeps launch s"))
    assert answer.advice(broken) == again


ALONE = override(CHOSEN, {"target": None, "transfer.source_arms": ["best", "scratch", "default-keras"]})


def test_one_dataset_has_two_strategies() -> None:
    planted = {"best": [70.0, 71.0, 69.0], "scratch": [67.0, 68.0, 66.0], "default-keras": [69.5, 70.4, 68.6]}
    findings = judged(ALONE, {f"transfer#source.{arm}": values for arm, values in planted.items()})
    (role,) = findings.choices
    assert [row.label for row in choice.rows(findings, role)] == ["Untuned default", "Tuned on digits itself"]
    assert " On digits distilling gains 3.0 points over training without a teacher when tuned there; " in (
        answer.summary(findings)
    )
    assert "chose the same candidate" not in choice.scope(findings, role)
    assert answer.origin(findings).endswith(" · digits, 1,078 images")


def test_a_trainer_without_an_untreated_arm_has_a_scale_that_begins_at_the_default(default: Findings) -> None:
    (role,) = default.choices
    assert role.choice is not None
    strategies = tuple(replace(strategy, gain=None, share=None) for strategy in role.choice.strategies)
    bare = replace(role, choice=replace(role.choice, gain=None, margin_share=0.0, strategies=strategies))
    assert [row.kept for row in choice.rows(default, bare)] == [
        "0.0 points",
        "+0.3 points [0.0, +0.6]",
        "+0.3 points [+0.1, +0.5]",
    ]
    assert choice.scale(default, bare) == "points over the untuned default"
    assert choice.why(default, bare) == ""


def test_a_trainer_with_neither_counts_from_values_tuned_elsewhere(default: Findings) -> None:
    (role,) = default.choices
    assert role.choice is not None
    _, *tuned = (replace(strategy, gain=None, share=None) for strategy in role.choice.strategies)
    bare = replace(role, choice=replace(role.choice, gain=None, margin_share=0.0, strategies=tuple(tuned)))
    assert [row.kept for row in choice.rows(default, bare)] == ["0.0 points", "0.0 points [−0.2, +0.2]"]
    assert choice.scale(default, bare) == "points over values tuned on digits"


def test_trainings_that_failed_run_again_before_there_are_more_searches() -> None:
    findings = chosen(WIDE, FAR)
    (role,) = findings.choices
    fewer = replace(role, done=role.done - 1)
    assert choice.advice(findings, role).commands[0].startswith("kd-sweeps extend s")
    assert choice.advice(findings, fewer).commands == ("kd-sweeps retry s", "kd-sweeps launch s")


def test_a_search_that_confirmed_the_default_says_so(default: Findings) -> None:
    (role,) = default.choices
    won = replace(role, points={**role.points, "elsewhere": role.points["default"]})
    assert choice.details(default, won).endswith(" On digits the first search confirmed the default itself.")
    assert "confirmed the default" not in choice.details(default, role)


def test_further_targets_have_their_answer_below_the_first() -> None:
    spec = override(on(CHOSEN, targets=["digits-rgb", "mine.npz"]), {"target2.images": 180})
    findings = chosen(NEAR, NONE, spec=spec, others={"target2": FAR})
    first, second = findings.choices
    (paragraph,) = [
        block for block in page(findings) if isinstance(block, Paragraph) and block.text.startswith("**On mine.npz.**")
    ]
    assert paragraph.text == f"**On mine.npz.** {answer.in_full(findings, second)}"
    assert answer.in_full(findings, first) == answer.summary(findings)


def test_the_page_opens_with_the_answer_and_folds_the_words(default: Findings) -> None:
    opening, *rest = [block for block in page(default) if isinstance(block, Fold)]
    assert opening.title == "The searches"
    numbers = next(fold for fold in rest if fold.title == "All numbers")
    assert numbers.blocks[0] == answer.badge(default)
    assert any(isinstance(block, Table) for block in numbers.blocks)
    assert answer.badge(default) not in page(default)
    (target,) = default.verdicts
    words = "are shown to lose less than 20 % of the 2.60 points that tuning there gains over no distillation"
    assert words in sentence(default, target)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_has_the_strategies_as_a_table_and_the_answer_last(default: Findings, columns: int) -> None:
    text = brief(default, columns=columns)
    assert max(map(len, text.splitlines())) <= min(columns, 100)
    assert " ".join(text.split("\n\n")[-1].split()) == answer.summary(default)
    assert text.startswith("Sweep s · 15 June 2025 · digits")
    (role,) = default.choices
    for row in choice.rows(default, role):
        line = next(line for line in text.splitlines() if line.startswith(f"  {row.label}"))
        assert row.kept in line if columns > 40 else f"{row.label}: {row.kept}, {row.price}" in " ".join(text.split())
        assert (row.detail in line) == (columns > 40)


def test_preset_tiny_is_a_smoke_test_and_says_so_under_every_rule(default: Findings) -> None:
    for findings in (default, replace(default, choices=())):
        assert SMOKE_TEST in brief(findings, columns=80)
        assert Badge(SMOKE_TEST, "open") in page(findings)
        assert answer.announced(findings) == f"{SMOKE_TEST} {answer.statement(findings)}"
        larger = replace(findings, spec=findings.spec.model_copy(update={"preset": ""}))
        assert SMOKE_TEST not in brief(larger, columns=80)
        assert answer.announced(larger) == answer.statement(larger)


def test_json_has_the_choices_of_rule_3_alone(default: Findings) -> None:
    (stored,) = json_data(default)["choices"]
    assert (stored["choice"]["use"], stored["points"]["default"]) == ("default", {"temperature": 3.0, "alpha": 0.5})
    assert "choices" not in json_data(replace(default, choices=()))


T975_7 = 2.364624251592784  # of Student's t with 7 degrees of freedom


def test_every_number_of_the_headline_follows_from_results_csv() -> None:
    """From the file alone: with the names of the arms, means of searches, Student's t and Fieller's ratio."""
    findings = chosen(NEAR, NONE)
    tests: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in csv.DictReader(io.StringIO(results_csv(findings))):
        if line["role"] == "target" and line["stage"] == "transfer":
            tests[line["group"]][line["arm"]].append(100 * float(line["test_accuracy"]))
    means = [{arm: math.fsum(values) / len(values) for arm, values in arms.items()} for arms in tests.values()]
    assert len(means) == 8

    def over(first: str, second: str) -> list[float]:
        return [search[first] - search[second] for search in means]

    def interval(values: list[float]) -> tuple[float, float, float]:
        mean, half = fmean(values), T975_7 * stdev(values) / math.sqrt(len(values))
        return mean, mean - half, mean + half

    def share(arm: str) -> tuple[float, float, float]:
        top, bottom = over(arm, "scratch"), over("native", "scratch")
        a, b, n = fmean(top), fmean(bottom), len(top)
        scale = T975_7**2 / (n * (n - 1))
        aa = scale * math.fsum((x - a) ** 2 for x in top)
        bb = scale * math.fsum((y - b) ** 2 for y in bottom)
        ab = scale * math.fsum((x - a) * (y - b) for x, y in zip(top, bottom, strict=True))
        root = math.sqrt((a * b - ab) ** 2 - (b * b - bb) * (a * a - aa))
        return a / b, (a * b - ab - root) / (b * b - bb), (a * b - ab + root) / (b * b - bb)

    gain, default, elsewhere = over("native", "scratch"), share("default-keras"), share("best")
    adds, brings, loses = over("native", "default-keras"), over("best", "default-keras"), over("native", "best")

    def points(values: list[float]) -> str:
        mean, low, high = (f"{round(value, 1) + 0.0:.1f}".replace("-", "−") for value in interval(values))
        return f"{mean} points (95 % CI {low} to {high})"

    assert answer.summary(findings) == (
        "Use Keras' default. Tuning adds little here."
        f" On digits-rgb distilling gains {fmean(gain):.1f} points over training without a teacher. The untuned default"
        f" keeps {100 * default[0]:.0f} % of that, values tuned on digits {100 * elsewhere[0]:.0f} %; {HERE}"
        f" Tuning on digits-rgb itself would add {points(adds)} to Keras' default. Values tuned on digits bring"
        f" {points(brings)} more than the default, and lose {points(loses)} against tuning there."
    )
    (role,) = findings.choices
    assert [row.kept for row in choice.rows(findings, role)][:2] == [
        f"{100 * mean:.0f} % [{100 * low:.0f}, {100 * high:.0f}]" for mean, low, high in (default, elsewhere)
    ]
