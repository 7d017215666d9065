"""The page: the answer first, figures that carry it, the rest folded; what is missing is said in its place."""

import subprocess
import sys
from pathlib import Path

import pytest

from storage.url import resolve
from sweeps.distill.presets import on
from sweeps.findings.findings import Findings
from sweeps.report import answer, methods
from sweeps.report.document import Block, Figure, Fold, Heading, Paragraph
from sweeps.report.figures.svg import NAMES
from sweeps.report.page import page, report, title
from sweeps.report.sentences import regret, sentence
from sweeps.spec.model import override
from sweeps.usecases.create import create_sweep
from tests.support.paths import REPOSITORY
from tests.support.sweeps.answered_sweeps import OVER_SEEDS, accuracies, begun, found, work_until
from tests.support.sweeps.planted_sweeps import analysed, planted, work
from tests.support.sweeps.reported_sweeps import analysed as reported
from tests.support.sweeps.reported_sweeps import worked
from tests.support.sweeps.typed_commands import write_npz

FIGURES = {name: Figure(name, f"alt of {name}", f"caption of {name}") for name in NAMES}


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return reported(worked(tmp_path_factory.mktemp("page")))


def outline(blocks: list[Block]) -> list[str]:
    """Headings, figures and folds of a page, and what is in a fold."""
    lines = []
    for block in blocks:
        if isinstance(block, Heading):
            lines.append(block.text)
        elif isinstance(block, Figure):
            lines.append(f"figure {block.name}")
        elif isinstance(block, Fold):
            lines += [f"fold {block.title}", *(f"  {line}" for line in outline(list(block.blocks)))]
    return lines


def test_the_answer_comes_first_then_three_figures_then_the_rest_folded(findings: Findings) -> None:
    made = page(
        findings, figures=FIGURES, secondary=[Heading("Secondary questions")], methods=[methods.section(findings)]
    )
    assert made[:5] == answer.blocks(findings)
    assert outline(made) == [
        answer.headline(findings),
        "What each choice of T and α gains",
        "figure gains",
        "What is lost by not tuning on digits-rgb",
        "figure regret",
        "What other methods reach",
        "figure methods",
        "fold Where the searches looked",
        "  figure surface",
        "fold All numbers",
        "  On digits-rgb",
        "  On digits",
        "  Controls",
        "  Secondary questions",
        "fold Cost, and when to use what",
        "  On digits-rgb",
        "  On digits",
        "  figure break-even",
        "fold Methods",
        "fold Provenance",
    ]
    assert made[-1] == Paragraph(f"answer hash {findings.answer_hash}")


def test_without_figures_there_is_no_heading_for_them_and_the_regret_is_said(findings: Findings) -> None:
    made = page(findings)
    assert outline(made)[:3] == [
        answer.headline(findings),
        "What is lost by not tuning on digits-rgb",
        "fold Where the searches looked",
    ]
    assert Paragraph(regret(findings.verdicts[0])) in made
    assert not any("Methods" in line or "figure" in line for line in outline(made))


def test_as_markdown_it_opens_with_the_question_and_the_headline(findings: Findings) -> None:
    lines = report(findings).splitlines()
    assert lines[0] == answer.question(findings)
    assert lines[2] == f"# {answer.headline(findings)}"
    assert lines[-1] == f"answer hash {findings.answer_hash}"


def test_a_note_is_on_one_line_above_everything(tmp_path: Path) -> None:
    noted = reported(worked(tmp_path, note="only\n\n two  lines"))
    assert page(noted)[0] == Paragraph("Note: only two lines")
    assert page(noted)[1:6] == answer.blocks(noted)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Two targets: one transfers, one fails."""
    folder = tmp_path_factory.mktemp("several")
    path = write_npz(folder / "mine.npz")
    spec = override(
        on(OVER_SEEDS, targets=["digits-rgb", "mine.npz"]), {"target2.dataset": str(path), "target2.images": 180}
    )
    run = planted(
        accuracies(0.5)
        | {
            key.replace("#target.", "#target2."): points
            for key, points in accuracies(3.5).items()
            if key.startswith("transfer#target.")
        }
    )
    url = begun(folder, spec)
    work(url, run)
    return analysed(url)


def test_further_targets_have_their_verdict_in_full_below_the_answer(several: Findings) -> None:
    first, second = several.verdicts
    made = page(several)
    assert "on digits-rgb" in answer.headline(several)
    assert made[:5] == answer.blocks(several)
    assert made[5] == Paragraph(sentence(several, second))
    assert " FAILS: " in sentence(several, second)
    assert " TRANSFERS: " in sentence(several, first)
    fold = next(block for block in made if isinstance(block, Fold) and block.title == "All numbers")
    assert fold.blocks[:2] == (Paragraph(sentence(several, first)), Paragraph(sentence(several, second)))
    headings = [block.text for block in fold.blocks if isinstance(block, Heading)]
    assert headings == ["On digits-rgb", "On mine.npz", "On digits"]
    assert title(several) == "s: digits -> digits-rgb, mine.npz"


def test_before_the_first_training_of_transfer_the_searches_are_there(tmp_path: Path) -> None:
    url = resolve(f"sqlite:///{tmp_path}/s.db")
    create_sweep(url, "s", OVER_SEEDS)
    work_until(url, key="native.search")
    begun_only = analysed(url)
    made = page(begun_only, figures={"surface": FIGURES["surface"]})
    assert outline(made) == [
        answer.headline(begun_only),
        "fold Where the searches looked",
        "  figure surface",
        "fold All numbers",
        "  On digits-rgb",
        "  On digits",
        "fold Provenance",
    ]
    text = report(begun_only)
    assert "`native`, tuned on digits-rgb: not confirmed yet" in text
    assert "0 of 4 done" in text
    assert "answer hash" not in text


def test_a_sweep_of_which_nothing_was_measured_has_no_cost(tmp_path: Path) -> None:
    assert "fold Cost, and when to use what" not in outline(page(found(tmp_path, accuracies(0.5))))


def test_the_function_report_stays_when_the_room_report_is_loaded() -> None:
    program = "import sweeps; from sweeps.report import page; from sweeps import report; assert callable(report)"
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)
