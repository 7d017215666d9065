"""The section of secondary questions: a row for each, with p values, intervals and units."""

from sweeps.findings.secondary import Question, Share
from sweeps.report import markdown
from sweeps.report.page import answer_text, secondary_blocks
from sweeps.stats.estimates import Estimate
from sweeps.trainers.score import ACCURACY
from tests.support.sweeps.presets import before

GAIN = Question(
    name="gain on the target",
    dataset="digits-rgb",
    rival="scratch",
    answer=Estimate(0.6, 0.4, 0.8, 20),
    p=0.0004,
    p_holm=0.002,
    bca=(0.41, 0.79),
    sign_flip=0.0125,
)
SHARE = Question(
    name="retained share",
    dataset="digits-rgb",
    rival="",
    answer=Share(None),
    p=0.42,
    p_holm=0.42,
    bca=None,
    sign_flip=None,
)


def test_there_is_a_row_for_each_question() -> None:
    page = markdown.text(secondary_blocks(before("tiny"), [GAIN, SHARE])).splitlines()
    assert page[0] == "### Secondary questions"
    rows = [line for line in page if line.startswith("| ")][1:]
    assert rows[1:] == [
        "| gain on the target: best − No distillation | digits-rgb | +0.60 [+0.40, +0.80] (n=20) | 0.0004"
        " | 0.002 | [+0.41, +0.79] | 0.013 |",
        "| retained share | digits-rgb | no share: native does not measurably gain | 0.42 | 0.42 |  |  |",
    ]
    assert any("Holm's p adjusts for all 2 questions." in line for line in page)


def test_without_questions_there_is_no_section() -> None:
    assert secondary_blocks(before("tiny"), ()) == []


def test_a_share_is_in_percent_and_a_difference_of_two_seeds_has_no_interval() -> None:
    assert answer_text(ACCURACY, Share(Estimate(0.85, 0.43, 1.6, 10))) == "85 % [43, 160] (n=10)"
    assert answer_text(ACCURACY, Estimate(-0.5, -7.0, 6.0, 2)) == "-0.50 (n=2, no interval)"
