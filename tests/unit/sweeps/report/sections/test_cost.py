"""The cost table and the advice, written from planted numbers."""

import re
from dataclasses import replace

import pytest

from sweeps.distill.cost import BreakEven
from sweeps.distill.report import KdReport, break_even_sentence
from sweeps.findings.findings import Findings
from sweeps.report import markdown, words
from sweeps.report.document import Figure
from sweeps.spec.model import override
from tests.support.sweeps import builders
from tests.support.sweeps.costed_sweeps import SPEC, planted


@pytest.fixture(scope="module")
def findings() -> Findings:
    return builders.make_findings(SPEC, planted)


def text(findings: Findings) -> str:
    return markdown.text(KdReport().cost(findings, []))


def test_models_have_the_names_that_the_figure_of_methods_gives_them(findings: Findings) -> None:
    reason = "no int8 form"
    rows = [
        replace(
            row, dataset="cifar10", measured=row.measured and row.measured.model_copy(update={"int8_reason": reason})
        )
        for row in findings.rows
        if row.dataset == "digits-rgb"
    ]
    spec = override(findings.spec, {"target.dataset": "cifar10"})
    section = text(replace(findings, spec=spec, rows=tuple(rows), own={}))
    names = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    assert names == ["method", "---", "Student", "AutoKeras, 2 trials of 6 epochs", "MobileNet 0.25 (pretrained)"]
    assert "### On CIFAR-10" in section
    assert "- smallest file: Student, distilled, 69.00 % (n=1), 100 KB" in section
    assert "accuracy: MobileNet 0.25 (pretrained) (73.0 %), AutoKeras (74.0 %)" in section
    assert section.count(reason) == 3, "once for each model of the table"
    assert f"No int8 of Student on CIFAR-10: {reason}." in section


@pytest.mark.parametrize(
    ("method", "label"),
    [
        ("teacher cnn-small-narrow", "Teacher, cnn-small-narrow"),
        ("teacher pretrained:mobilenetv2-tuned", "Teacher, MobileNetV2 (pretrained, fine-tuned)"),
        ("teacher logits:/a/long/path/mine.npz", "Teacher, mine.npz"),
    ],
)
def test_a_teacher_has_its_network_beside_it(findings: Findings, method: str, label: str) -> None:
    row = replace(findings.rows[0], kind="teacher", method=method)
    assert ", ".join(words.model(findings.spec, "target", row)) == label


def test_a_search_that_never_breaks_even_has_the_seconds_it_was_given() -> None:
    never = BreakEven(
        dataset="d", curve=((5.0, 50.0),), student=60, sweep_cpu_s=10, at=(None, None, None, None), even_at=None
    )
    assert "AutoKeras did not reach it within 5 CPU s" in break_even_sentence(never)
    assert "1/4x no trial finished yet, 1x beyond its 5 CPU s" in break_even_sentence(never)


def test_seconds_of_different_machines_are_not_compared(findings: Findings) -> None:
    (machine,) = findings.provenance.machines
    machines = (machine, replace(machine, cpu="Another CPU"))
    mixed = replace(findings, provenance=replace(findings.provenance, machines=machines), own={})
    section = text(mixed)
    assert "**Seconds are not compared**: the tasks ran on 2 kinds of machine" in section
    assert "(Another CPU, " in section or "; Another CPU, " in section
    assert "cheapest to train" not in section
    assert "training cost" not in section
    assert "- fastest: " in section, "one measure task timed all models"
    assert "Seconds are not compared" not in text(findings)


def test_without_measurements_there_is_no_cost_section() -> None:
    unmeasured = builders.make_findings(SPEC, planted, broken="measure")
    assert KdReport().cost(unmeasured, [Figure("break-even", "", "")]) == []
