"""The answer "what to use": its numbers follow from the published files, and its place on the page.

The wording of each answer is a golden page (tests/data/pages/words), made by tests/support/worded/answers.py.
"""

import csv
import io
import math
from collections import defaultdict
from dataclasses import replace
from statistics import fmean, stdev

import pytest

from sweeps.findings.findings import Findings
from sweeps.report import answer, choice
from sweeps.report.brief import brief
from sweeps.report.document import Badge, Fold, Paragraph, Table
from sweeps.report.folder import json_data, results_csv
from sweeps.report.page import page
from sweeps.report.sentences import sentence
from sweeps.spec.model import SMOKE_TEST
from tests.support.sweeps.chosen_sweeps import chosen
from tests.support.worded.answers import CHOICES, FAR, NEAR, NONE, WIDE, needing

HERE = "tuning on digits-rgb itself is the 100 %."


@pytest.fixture(scope="module")
def default() -> Findings:
    return chosen(NEAR, NONE)


def test_an_extension_to_more_than_ten_times_the_sweep_is_not_proposed() -> None:
    findings = chosen(WIDE, FAR)
    each = len([job for job in (*findings.searched, *findings.trainings) if job.work.tag == "t0s7"])
    most = 8 + 10 * findings.provenance.planned // each
    assert len(answer.advice(needing(findings, most)).commands) == 2
    dear = answer.advice(needing(findings, most + 1))
    assert dear.text.endswith(f"To decide, {most + 1} searches are needed: more than 10 times this sweep.")
    assert dear.commands == ()
    hopeless = answer.advice(needing(findings, None))
    assert hopeless.text.endswith("more searches are not expected to find a cheaper choice.")


def test_answers_for_further_targets_follow_the_first() -> None:
    findings = CHOICES["two targets"]()
    first, second = findings.choices
    (paragraph,) = [
        block for block in page(findings) if isinstance(block, Paragraph) and block.text.startswith("**On mine.npz.**")
    ]
    assert paragraph.text == f"**On mine.npz.** {answer.in_full(findings, second)}"
    assert answer.in_full(findings, first) == answer.summary(findings)


def test_the_page_opens_with_the_answer_and_folds_the_verdict(default: Findings) -> None:
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
def test_a_terminal_gets_the_strategies_as_a_table_and_the_answer_last(default: Findings, columns: int) -> None:
    text = brief(default, columns=columns)
    assert max(map(len, text.splitlines())) <= min(columns, 100)
    assert " ".join(text.split("\n\n")[-1].split()) == answer.summary(default)
    assert text.startswith("Sweep s · 15 June 2025 · digits")
    (role,) = default.choices
    for row in choice.rows(default, role):
        line = next(line for line in text.splitlines() if line.startswith(f"  {row.label}"))
        assert row.kept in line if columns > 40 else f"{row.label}: {row.kept}, {row.price}" in " ".join(text.split())
        assert (row.detail in line) == (columns > 40)


def test_preset_tiny_is_marked_as_a_smoke_test_under_every_rule(default: Findings) -> None:
    for findings in (default, replace(default, choices=())):
        assert SMOKE_TEST in brief(findings, columns=80)
        assert Badge(SMOKE_TEST, "open") in page(findings)
        assert answer.announced(findings) == f"{SMOKE_TEST} {answer.statement(findings)}"
        larger = replace(findings, spec=findings.spec.model_copy(update={"preset": ""}))
        assert SMOKE_TEST not in brief(larger, columns=80)
        assert answer.announced(larger) == answer.statement(larger)


def test_json_has_choices_for_rule_3_alone(default: Findings) -> None:
    (stored,) = json_data(default)["choices"]
    assert (stored["choice"]["use"], stored["points"]["default"]) == ("default", {"temperature": 3.0, "alpha": 0.5})
    assert "choices" not in json_data(replace(default, choices=()))


T975_7 = 2.364624251592784  # of Student's t with 7 degrees of freedom


def test_every_number_of_the_headline_follows_from_results_csv() -> None:
    """Recompute them from the file alone, by Student's t over searches and Fieller's interval of a ratio."""
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
