"""A page as Markdown: every part of it, folds as sections."""

from sweeps.report.document import (
    Advice,
    Badge,
    Bullets,
    Card,
    Cards,
    Code,
    Figure,
    Fold,
    Heading,
    Paragraph,
    columns,
    table,
)
from sweeps.report.markdown import text


def test_markdown_of_every_part() -> None:
    cards = (Card("a?", "+1.0 points", "95 % interval", "Yes", "good"), Card("b?", "not yet", "", "Open", "open"))
    page = [
        Paragraph("what it is about", small=True),
        Heading("answer", level=1),
        Badge("FLAT: so", "open"),
        Cards(cards),
        Advice("Do `this`:", ("kd-sweeps one", "kd-sweeps two")),
        Bullets(("a", "b")),
        Heading("section"),
        table(columns("name", "value", text=1), [("x|y", "1")]),
        Figure("gains", "Gains", "said"),
        Code(("one", "two")),
    ]
    assert text(page).split("\n") == [
        "what it is about",
        "",
        "# answer",
        "",
        "**FLAT: so**",
        "",
        "- a? **+1.0 points** (95 % interval). Yes.",
        "- b? **not yet**. Open.",
        "",
        "**What to do.** Do `this`:",
        "",
        "```",
        "kd-sweeps one",
        "kd-sweeps two",
        "```",
        "",
        "- a",
        "- b",
        "",
        "## section",
        "",
        "| name | value |",
        "| --- | --- |",
        "| x/y | 1 |",
        "",
        "![Gains](figures/gains.svg)",
        "said",
        "",
        "```",
        "one",
        "two",
        "```",
    ]


def test_a_fold_is_a_section_with_its_summary_and_all_that_is_in_it() -> None:
    inside = (Heading("part", level=3), Fold("deeper", "", (Bullets(("x",)),)))
    assert text([Fold("title", "in short", inside)]) == "## title\n\nin short\n\n### part\n\n## deeper\n\n- x"


def test_advice_without_a_command_has_no_code() -> None:
    assert text([Advice("Wait.")]) == "**What to do.** Wait."


def test_a_page_without_parts_is_empty() -> None:
    assert text([]) == ""
