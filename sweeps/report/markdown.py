"""Write the parts of a page as Markdown."""

from collections.abc import Iterable

from sweeps.report.document import (
    Advice,
    Badge,
    Block,
    Bullets,
    Card,
    Cards,
    Code,
    Figure,
    Fold,
    Heading,
    Paragraph,
    Table,
)


def text(blocks: Iterable[Block]) -> str:
    """Return the page as Markdown, without a newline at its end."""
    return "\n\n".join(map(_block, blocks))


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {block.text}"
        case Paragraph():
            return block.text
        case Badge():
            return f"**{block.text}**"
        case Cards():
            return "\n".join(map(_card, block.cards))
        case Advice():
            commands = [Code(block.commands)] if block.commands else []
            return text([Paragraph(f"**What to do.** {block.text}"), *commands])
        case Bullets():
            return "\n".join(f"- {item}" for item in block.items)
        case Table():
            return _table(block)
        case Figure():
            return f"![{block.alt}](figures/{block.name}.svg)\n{block.caption}"
        case Code():
            return "\n".join(["```", *block.lines, "```"])
        case Fold():
            summary = [Paragraph(block.summary)] if block.summary else []
            return text([Heading(block.title), *summary, *block.blocks])


def _card(card: Card) -> str:
    interval = f" ({card.interval})" if card.interval else ""
    return f"- {card.question} **{card.value}**{interval}. {card.word}."


def _table(table: Table) -> str:
    """Return a table. A bar inside a cell, as the path of a dataset may have, becomes a slash."""
    head = [column.title for column in table.columns]
    rows = [[cell.replace("|", "/") for cell in row] for row in table.rows]
    return "\n".join([_row(head), "|" + " --- |" * len(head), *map(_row, rows)])


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
