"""The parts of a page: they cannot change, and Markdown writes each of them."""

import dataclasses

import pytest

from sweeps.report.document import Answer, Bullets, Code, Column, Figure, Heading, Paragraph, columns, table
from sweeps.report.markdown import text


def test_a_part_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Paragraph("a").text = "b"  # type: ignore[misc]


def test_columns_hold_text_first_and_numbers_then() -> None:
    assert columns("a", "b", "c", text=2) == (Column("a"), Column("b"), Column("c", number=True))


def test_a_table_keeps_its_rows_as_they_were_given() -> None:
    rows = [["x", "1"]]
    made = table(columns("a", "b", text=1), rows)
    rows[0][0] = "changed"
    assert made.rows == (("x", "1"),)


def test_markdown_of_every_part() -> None:
    page = [
        Heading("title", level=1),
        Answer("**FLAT: so.**"),
        Paragraph("p `code`"),
        Bullets(("a", "b")),
        Heading("section"),
        table(columns("name", "value", text=1), [("x|y", "1")]),
        Figure("arms", "Arms", "**Figure 1.** said"),
        Code(("one", "two")),
    ]
    assert text(page).split("\n") == [
        "# title",
        "",
        "**FLAT: so.**",
        "",
        "p `code`",
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
        "![Arms](figures/arms.svg)",
        "**Figure 1.** said",
        "",
        "```",
        "one",
        "two",
        "```",
    ]


def test_a_page_without_parts_is_empty() -> None:
    assert text([]) == ""
