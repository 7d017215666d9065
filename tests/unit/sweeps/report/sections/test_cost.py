"""The cost table and the advice, written from planted numbers."""

from dataclasses import replace

import pytest

from sweeps.distill.cost import BreakEven
from sweeps.distill.report import KdReport, break_even_sentence
from sweeps.findings.findings import Findings
from sweeps.report import markdown
from sweeps.report.document import Figure
from tests.support.sweeps import builders
from tests.support.sweeps.costed_sweeps import SPEC, planted


@pytest.fixture(scope="module")
def found() -> Findings:
    return builders.found(SPEC, planted)


def text(found: Findings) -> str:
    return markdown.text(KdReport().cost(found, []))


def test_a_search_that_never_breaks_even_has_the_seconds_it_was_given() -> None:
    never = BreakEven(
        dataset="d", curve=((5.0, 50.0),), student=60, sweep_cpu_s=10, at=(None, None, None, None), even_at=None
    )
    assert "AutoKeras did not reach it within 5 CPU s" in break_even_sentence(never)
    assert "1/4x no trial finished yet, 1x beyond its 5 CPU s" in break_even_sentence(never)


def test_seconds_of_different_machines_are_not_compared(found: Findings) -> None:
    (machine,) = found.provenance.machines
    machines = (machine, replace(machine, cpu="Another CPU"))
    mixed = replace(found, provenance=replace(found.provenance, machines=machines), own={})
    section = text(mixed)
    assert "**Seconds are not compared**: the tasks ran on 2 kinds of machine" in section
    assert "(Another CPU, " in section or "; Another CPU, " in section
    assert "cheapest to train" not in section
    assert "training cost" not in section
    assert "- fastest: " in section, "one measure task timed all models"
    assert "Seconds are not compared" not in text(found)


def test_without_measurements_there_is_no_cost_section() -> None:
    assert KdReport().cost(builders.found(SPEC, planted, broken="measure"), [Figure("break-even", "", "")]) == []
