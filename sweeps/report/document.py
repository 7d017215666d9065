"""Parts of a page as typed values.

Text may hold `code` between backticks and **bold** between pairs of stars; everything else in it is plain text.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Tone: TypeAlias = Literal["good", "bad", "open"]

_CODE = re.compile(r"(`[^`]+`)")
_HYPHENS = re.compile(r"(?<![\w-])-(?=\d)|(?<= )-(?= )")  # before a number, and between two words


def typeset(text: str) -> str:
    """Return a text with minus signs where a keyboard has hyphens; what stands between backticks stays."""
    parts = _CODE.split(text)
    return "".join(part if part.startswith("`") else _HYPHENS.sub("−", part) for part in parts)


@dataclass(frozen=True)
class Heading:
    """A heading. level: 1 is the answer that the page opens with, 2 a section, 3 a part of one."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph. small: a remark, such as what a table shows. lead: the reason for the answer, below it."""

    text: str
    small: bool = False
    lead: bool = False


@dataclass(frozen=True)
class Badge:
    text: str
    tone: Tone


@dataclass(frozen=True)
class Card:
    """One number that answers one question. word: the answer in a word or two."""

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
    """What to do. commands: what to type. code: the same as code to copy, by library; the first is open."""

    text: str
    commands: tuple[str, ...] = ()
    code: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Bullets:
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
    """A figure. alt: what it is, for who cannot see it. wide: it needs the whole width. slot: its part of the page.

    narrow: the name of the same, drawn for a phone; "": it is narrow enough.
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
    """A section that opens when asked for. printed: it is evidence, so it is open on paper."""

    title: str
    summary: str
    blocks: "tuple[Block, ...]"
    printed: bool = False


Block: TypeAlias = Heading | Paragraph | Badge | Cards | Advice | Bullets | Table | Figure | Code | Fold


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> Table:
    return Table(tuple(columns), tuple(map(tuple, rows)))


def columns(*titles: str, text: int) -> tuple[Column, ...]:
    """Return the heads of a table whose first `text` columns hold text and whose others hold numbers."""
    return tuple(Column(title, number=index >= text) for index, title in enumerate(titles))
