"""The dashboard's page of a sweep, as text: the answer, the confirmed best, links to the studies that are there."""

from pathlib import Path

import pytest

from sweeps.analysis.findings import Findings
from sweeps.report.dashboard_page import note, plots
from sweeps.report.sentences import headline
from tests.support.sweeps.reported_sweeps import analysed, worked

IDS = {"s": 3, "s.native": 4, "s.transfer": 5, "other": 6}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return analysed(worked(tmp_path_factory.mktemp("dashboard"), note="only\ntwo lines"))


def test_the_note_is_the_answer_with_the_table_and_links(found: Findings) -> None:
    lines = note(found, IDS).splitlines()
    assert lines[:5] == ["# s", "", "Note: only two lines", "", f"**{headline(found)}**"]
    assert any(line.startswith("| method | dataset |") for line in lines)
    text = "\n".join(lines)
    assert "`kd-sweeps best s` gives the confirmed best" in text
    assert "[native](/dashboard/studies/4)" in text
    assert "/dashboard/compare-studies?ids=3,4)" in text
    assert "studies/6" not in text


def test_a_study_that_is_gone_has_no_link(found: Findings) -> None:
    text = note(found, {"s": 3})
    assert "[native]" not in text
    assert "compare-studies?ids=3)" in text


def test_the_same_findings_give_the_same_page(found: Findings) -> None:
    assert note(found, IDS) == note(found, IDS)
    assert plots(found) == plots(found)


def test_an_unfinished_sweep_has_the_plots_of_what_is_there(tmp_path: Path) -> None:
    assert set(plots(analysed(worked(tmp_path, stop_at="confirm")))) == {"surface-0", "history-0"}
