"""Parts of a page as typed values.

Text may contain `code` between backticks and **bold** between pairs of stars; the rest is plain text.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Tone: TypeAlias = Literal["good", "bad", "open"]

_CODE = re.compile(r"(`[^`]+`)")
_HYPHENS = re.compile(r"(?<![\w-])-(?=\d)|(?<= )-(?= )")  # before a number, or between two words


def typeset(text: str) -> str:
    """Replace hyphens that mean minus by minus signs, except in code."""
    parts = _CODE.split(text)
    return "".join(part if part.startswith("`") else _HYPHENS.sub("−", part) for part in parts)


@dataclass(frozen=True)
class Heading:
    """A heading. level: 1 for the answer at the top, 2 for a section, 3 for a subsection."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph. small: a remark, such as a table's legend. lead: the reason below the answer."""

    text: str
    small: bool = False
    lead: bool = False


@dataclass(frozen=True)
class Badge:
    text: str
    tone: Tone


@dataclass(frozen=True)
class Card:
    """A number that answers a question. word: the answer in a word or two."""

    question: str
    value: str
    interval: str
    word: str
    tone: Tone


@dataclass(frozen=True)
class Cards:
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Advice:
    """What to do. commands: to type. code: to copy, by library; the first one is shown, the others are folded."""

    text: str
    commands: tuple[str, ...] = ()
    code: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Bullets:
    items: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """The header of a table column. number: right-align its cells."""

    title: str
    number: bool = False


@dataclass(frozen=True)
class Table:
    """A table of text, with one cell per column in every row."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A figure. alt: text for readers who cannot see it. wide: whether to use the whole width. slot: part of the page.

    narrow: name of the version for phones; "" if the figure is narrow enough.
    """

    name: str
    alt: str
    caption: str
    wide: bool = False
    heading: str = ""
    slot: str = ""
    narrow: str = ""


@dataclass(frozen=True)
class Code:
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Fold:
    """A section that unfolds. printed: it is evidence, so it is open on paper."""

    title: str
    summary: str
    blocks: "tuple[Block, ...]"
    printed: bool = False


Block: TypeAlias = Heading | Paragraph | Badge | Cards | Advice | Bullets | Table | Figure | Code | Fold


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> Table:
    return Table(tuple(columns), tuple(map(tuple, rows)))


def columns(*titles: str, text: int) -> tuple[Column, ...]:
    """Return the headers of a table with `text` columns of text followed by columns of numbers."""
    return tuple(Column(title, number=index >= text) for index, title in enumerate(titles))
