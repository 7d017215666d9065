"""A page as Markdown, in cases outside the golden pages."""

from sweeps.report.document import Advice, Bullets, Card, Cards, Fold, Heading, columns, table
from sweeps.report.markdown import text


def test_a_bar_in_a_cell_is_replaced() -> None:
    lines = text([table(columns("name", "value", text=1), [("x|y", "1")])]).split("\n")
    assert lines == ["| name | value |", "| --- | --- |", "| x/y | 1 |"]


def test_a_card_without_an_interval_has_no_brackets() -> None:
    assert text([Cards((Card("b?", "not yet", "", "Open", "open"),))]) == "- b? **not yet**. Open."


def test_a_fold_in_a_fold_is_a_section() -> None:
    inside = (Heading("part", level=3), Fold("deeper", "", (Bullets(("x",)),)))
    assert text([Fold("title", "in short", inside)]) == "## title\n\nin short\n\n### part\n\n## deeper\n\n- x"


def test_advice_without_a_command_has_no_code_and_a_page_without_parts_is_empty() -> None:
    assert text([Advice("Wait.")]) == "**What to do.** Wait."
    assert text([]) == ""
