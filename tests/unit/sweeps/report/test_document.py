"""The parts of a page: they cannot change, and a table keeps what it was given."""

import dataclasses

import pytest

from sweeps.report.document import Column, Paragraph, columns, table


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
