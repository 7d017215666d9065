"""The parts of a page, as typed values: `markdown` and `html_page` write the same parts in their own way.

Text may hold `code` between backticks and **bold** between pairs of stars; everything else in it is plain text.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Heading:
    """A heading. level: 1 is the title of the page, 2 a section."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Answer:
    """The answer to the primary question, or a warning that stands before it: a paragraph that stands out."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of short statements."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """The head of a column of a table. number: its cells are numbers, which are right-aligned."""

    title: str
    number: bool = False


@dataclass(frozen=True)
class Table:
    """A table of text cells; every row has one cell for each column."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A figure with its caption. name: one of `figures.svg.NAMES`; alt: what it is, for who cannot see it."""

    name: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Code:
    """Lines to type, as they stand."""

    lines: tuple[str, ...]


Block: TypeAlias = Heading | Paragraph | Answer | Bullets | Table | Figure | Code


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table of those rows."""
    return Table(tuple(columns), tuple(map(tuple, rows)))


def columns(*titles: str, text: int) -> tuple[Column, ...]:
    """Return the heads of a table whose first `text` columns hold text and whose others hold numbers."""
    return tuple(Column(title, number=index >= text) for index, title in enumerate(titles))
