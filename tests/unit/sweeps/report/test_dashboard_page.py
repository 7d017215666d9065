"""The note in the dashboard: the answer, the numbers, links to the existing studies."""

from sweeps.report import answer, markdown
from sweeps.report.document import typeset
from sweeps.report.page import scores
from sweeps.report.sentences import regret
from sweeps.spec.model import override
from sweeps.usecases.run import plots, study_note
from tests.support.sweeps import builders
from tests.support.sweeps.reported_sweeps import REPORTED, run

IDS = {"s": 3, "s.native": 4, "s.transfer": 5, "other": 6}


def test_the_note_is_the_answer_with_the_numbers_and_links() -> None:
    findings = builders.make_findings(override(REPORTED, {"note": "only\ntwo lines"}), run)
    text = study_note(findings, IDS)
    opening, lost = markdown.text(answer.blocks(findings)), typeset(regret(findings.spec, findings.verdicts[0]))
    assert text.startswith(f"Note: only two lines\n\n{opening}\n\n{lost}\n\n### On digits-rgb\n\n")
    for role in ("target", "source"):
        assert markdown.text(scores(findings, role)) in text
    assert "`kd-sweeps best s` gives the confirmed best" in text
    assert "[native](/dashboard/studies/4)" in text
    assert "/dashboard/compare-studies?ids=3,4)" in text
    assert "studies/6" not in text
    assert text.endswith(f"\n\nanswer hash {findings.answer_hash}\n")
    without = study_note(findings, {"s": 3})
    assert "[native]" not in without, "a deleted study has no link"
    assert "compare-studies?ids=3)" in without


def test_the_note_of_an_unfinished_sweep_says_not_yet_and_has_no_figure() -> None:
    unfinished = builders.make_findings(REPORTED, run, until="transfer")
    text = study_note(unfinished, IDS)
    assert "**NOT YET: 0 of 15 transfer trainings are done**" in text
    assert "\n\n\n" not in text, "a missing part leaves no gap"
    assert plots(unfinished) == {}
