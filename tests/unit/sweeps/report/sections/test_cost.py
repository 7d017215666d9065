"""The cost table and the advice, written from planted numbers."""

from dataclasses import replace

import pytest

from sweeps.distill.cost import BreakEven
from sweeps.distill.report import KdReport, break_even_sentence, read_evens
from sweeps.findings.findings import Findings
from sweeps.report import markdown
from sweeps.report.document import Figure, Fold, Heading, Table
from tests.support.sweeps import builders
from tests.support.sweeps.costed_sweeps import SPEC, planted


@pytest.fixture(scope="module")
def found() -> Findings:
    return builders.found(SPEC, planted)


def text(found: Findings) -> str:
    return markdown.text(KdReport().cost(found, []))


def test_the_break_even_is_said_with_the_cost_of_the_sweep(found: Findings) -> None:
    (even,) = read_evens(found.own)
    said = break_even_sentence(even)
    assert "reached it after 40 CPU s, 2.5 times the cost of the sweep" in said
    assert "1/4x 60.00 %, 1x 65.00 %, 4x 72.00 %, 16x beyond its 70 CPU s" in said
    assert f"- {said}" in text(found)


def test_a_search_that_never_gets_there_says_within_how_many_seconds() -> None:
    never = BreakEven(
        dataset="d", curve=((5.0, 50.0),), student=60, sweep_cpu_s=10, at=(None, None, None, None), even_at=None
    )
    assert "AutoKeras did not reach it within 5 CPU s" in break_even_sentence(never)
    assert "1/4x no trial finished yet, 1x beyond its 5 CPU s" in break_even_sentence(never)


def test_seconds_of_different_machines_are_not_compared(found: Findings) -> None:
    (machine,) = found.provenance.machines
    machines = (machine, replace(machine, cpu="Another CPU"))
    mixed = replace(found, provenance=replace(found.provenance, machines=machines), own={})
    said = text(mixed)
    assert "**Seconds are not compared**: the tasks ran on 2 kinds of machine" in said
    assert "(Another CPU, " in said or "; Another CPU, " in said
    assert "cheapest to train" not in said
    assert "training cost" not in said
    assert "- fastest: " in said, "one measure task timed all of them"
    assert "Seconds are not compared" not in text(found)


def test_the_advice_names_the_best_of_each_kind_and_ranks_by_none(found: Findings) -> None:
    target, source = text(found).split("### On digits\n")
    assert "- most accurate: autokeras, 74.00 % (n=1)\n" in target
    assert "- smallest file: student, distilled, 69.00 % (n=1), 100 KB\n" in target
    assert "- fastest: student, distilled, 69.00 % (n=1), 0.20 ms\n" in target
    assert "- Pareto front of latency and accuracy: student, distilled (69.0 %), autokeras (74.0 %)\n" in target
    # mobilenet: 2 CPU s and nothing shared; best: 2 s and its share; so mobilenet is cheapest and better than best.
    assert "- cheapest to train: mobilenet, 73.00 % (n=1), 2 CPU s\n" in target
    assert "- Pareto front of training cost and accuracy: mobilenet (73.0 %), autokeras (74.0 %)\n" in target
    # labels alone need neither teacher nor search
    assert "- cheapest to train: student, labels only, 69.00 % (n=1), 2 CPU s\n" in source


def test_a_table_has_one_student_whose_network_all_arms_share(found: Findings) -> None:
    (fold,) = KdReport().cost(found, [])
    assert isinstance(fold, Fold)
    assert (fold.title, fold.printed) == ("Cost, and when to use what", True)
    headings = [block.text for block in fold.blocks if isinstance(block, Heading)]
    assert headings == ["On digits-rgb", "On digits"], "what the answer is about first"
    target, source = [block for block in fold.blocks if isinstance(block, Table)]
    assert target.rows == (
        ("student", "2.00", "100", "", "60.00", "0.20 / 1.00", "1,000", "2.0", "16"),
        ("autokeras", "2.00", "900", "", "", "0.40 / 1.00", "1,000", "70.0", ""),
        ("mobilenet", "2.00", "1,200", "", "", "0.80 / 1.00", "1,000", "2.0", ""),
    )
    assert [row[0] for row in source.rows] == ["student"]


def test_the_figure_stands_below_the_numbers(found: Findings) -> None:
    figure = Figure("break-even", "alt", "caption")
    (fold,) = KdReport().cost(found, [figure])
    assert isinstance(fold, Fold)
    assert fold.blocks[-1] == figure


def test_nothing_measured_is_nothing_said() -> None:
    assert KdReport().cost(builders.found(SPEC, planted, broken="measure"), [Figure("break-even", "", "")]) == []
