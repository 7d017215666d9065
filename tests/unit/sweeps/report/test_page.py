"""The page: the answer first, then the figures, the rest folded; a sentence replaces a missing part."""

import sys
from dataclasses import replace

import pytest

import sweeps
from sweeps.distill.presets import on
from sweeps.findings.findings import Findings
from sweeps.report import answer
from sweeps.report.document import Block, Figure, Fold, Heading, Paragraph
from sweeps.report.page import page, report, title
from sweeps.report.sentences import regret, sentence
from sweeps.spec.model import override
from tests.support.sweeps.answered_sweeps import OVER_SEEDS, accuracies
from tests.support.sweeps.builders import make_findings
from tests.support.sweeps.reported_sweeps import REPORTED, run


@pytest.fixture(scope="module")
def findings() -> Findings:
    return make_findings(REPORTED, run)


def outline(blocks: list[Block]) -> list[str]:
    """Return headings, figures and folds of a page, with their contents."""
    lines = []
    for block in blocks:
        if isinstance(block, Heading):
            lines.append(block.text)
        elif isinstance(block, Figure):
            lines.append(f"figure {block.name}")
        elif isinstance(block, Fold):
            lines += [f"fold {block.title}", *(f"  {line}" for line in outline(list(block.blocks)))]
    return lines


def test_without_figures_there_is_no_heading_for_them_and_the_regret_is_a_sentence(findings: Findings) -> None:
    blocks = page(findings)
    assert outline(blocks)[:3] == [
        answer.headline(findings),
        "What is lost by not tuning on digits-rgb",
        "fold The searches",
    ]
    assert Paragraph(regret(findings.spec, findings.verdicts[0])) in blocks
    assert not any("Methods" in line or "figure" in line for line in outline(blocks))


def test_a_note_is_on_one_line_above_everything(findings: Findings) -> None:
    noted = replace(findings, spec=override(findings.spec, {"note": "only\n\n two  lines"}))
    assert page(noted)[0] == Paragraph("Note: only two lines")
    opening = answer.blocks(noted)
    assert page(noted)[1 : len(opening) + 1] == opening


def test_full_verdicts_of_further_targets_follow_the_answer() -> None:
    """The point transfers to one target and fails on the other."""
    fails = {key.replace("#target.", "#target2."): points for key, points in accuracies(3.5).items()}
    spec = override(on(OVER_SEEDS, targets=["digits-rgb", "mine.npz"]), {"target2.images": 180})
    several = make_findings(
        spec, accuracies(0.5) | {key: points for key, points in fails.items() if "#target2." in key}
    )
    first, second = several.verdicts
    blocks = page(several)
    assert "on digits-rgb" in answer.headline(several)
    opening = answer.blocks(several)
    assert blocks[: len(opening) + 1] == [*opening, Paragraph(sentence(several, second))]
    assert " FAILS: " in sentence(several, second)
    assert " TRANSFERS: " in sentence(several, first)
    fold = next(block for block in blocks if isinstance(block, Fold) and block.title == "All numbers")
    assert fold.blocks[:2] == (Paragraph(sentence(several, first)), Paragraph(sentence(several, second)))
    headings = [block.text for block in fold.blocks if isinstance(block, Heading)]
    assert headings == ["On digits-rgb", "On mine.npz", "On digits"]
    assert title(several) == "s: digits to digits-rgb, mine.npz"


def test_before_the_first_training_of_transfer_the_page_has_the_searches() -> None:
    begun_only = make_findings(OVER_SEEDS, {}, until="native.search")
    blocks = page(begun_only, figures=[Figure("surface", "alt", "caption", slot="surfaces")])
    assert outline(blocks) == [
        answer.headline(begun_only),
        "figure surface",
        "fold The searches",
        "fold All numbers",
        "  On digits-rgb",
        "  On digits",
        "fold Provenance",
    ]
    text = report(begun_only)
    assert "`native`, tuned on digits-rgb: not confirmed yet" in text
    assert "0 of 4 done" in text
    assert "answer hash" not in text


def test_importing_the_package_report_does_not_hide_the_function_report() -> None:
    assert "sweeps.report.page" in sys.modules
    assert callable(sweeps.report)
