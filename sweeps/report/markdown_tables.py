"""Tables of Markdown: what every section of a report is written with."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table, line by line. A bar inside a cell, as the path of a dataset may have, becomes a slash."""
    return [
        "| " + " | ".join(head) + " |",
        "|" + " --- |" * len(head),
        *("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows),
    ]


def number(value: float | None, form: str, scale: float = 1) -> str:
    """`scale` times the value in that format; nothing where there is no value."""
    return "" if value is None else f"{scale * value:{form}}"
