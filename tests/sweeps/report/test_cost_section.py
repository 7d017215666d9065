"""The cost table and the advice, written from planted numbers."""

from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.analysis.cost import BreakEven
from sweeps.analysis.findings import Findings, findings
from sweeps.report import markdown
from sweeps.report.cost_section import break_even_sentence, section
from tests.support.sweeps.costed_sweeps import SPEC, until_measure, worked


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return findings(worked(tmp_path_factory.mktemp("cost")))


def test_the_break_even_is_said_with_the_cost_of_the_sweep(found: Findings) -> None:
    (even,) = found.break_evens
    said = break_even_sentence(even)
    assert "reached it after 40 CPU s, 2.5 times the cost of the sweep" in said
    assert "1/4x 60.00 %, 1x 65.00 %, 4x 72.00 %, 16x beyond its 70 CPU s" in said
    assert f"- {said}" in markdown.text(section(found))


def test_a_search_that_never_gets_there_says_within_how_many_seconds() -> None:
    never = BreakEven(
        dataset="d", curve=((5.0, 50.0),), student=60, sweep_cpu_s=10, at=(None, None, None, None), even_at=None
    )
    assert "AutoKeras did not reach it within 5 CPU s" in break_even_sentence(never)
    assert "1/4x no trial finished yet, 1x beyond its 5 CPU s" in break_even_sentence(never)


def test_seconds_of_different_machines_are_not_compared(found: Findings) -> None:
    (machine,) = found.provenance.machines
    machines = (machine, replace(machine, cpu="Another CPU"))
    mixed = replace(found, provenance=replace(found.provenance, machines=machines), break_evens=())
    text = markdown.text(section(mixed))
    assert "**Seconds are not compared**: the tasks ran on 2 kinds of machine" in text
    assert "cheapest to train" not in text


def test_the_advice_names_the_best_of_each_kind_and_ranks_by_none(found: Findings) -> None:
    text = markdown.text(section(found))
    target = text[text.index(f"On {SPEC.target.dataset}:") :]
    assert "- most accurate: autokeras (vanilla blocks), 74.00 % (n=1)" in target
    assert "- smallest file: best (" in target
    assert "- fastest: best (" in target
    assert "- Pareto front of latency and accuracy: best (69.0 %), native (69.0 %), autokeras (74.0 %)" in target
    # mobilenet: 2 CPU s and nothing shared; best: 2 s and its share; so mobilenet is cheapest and better than best.
    assert "- cheapest to train: mobilenet, 73.00 % (n=1), 2 CPU s" in target
    assert "- Pareto front of training cost and accuracy: mobilenet (73.0 %), autokeras (74.0 %)" in target
    assert "| autokeras |" in text
    assert "| 2.00 | 900 |" in text


def test_nothing_measured_is_nothing_said(tmp_path: Path) -> None:
    assert section(findings(worked(tmp_path, until_measure))) == []
