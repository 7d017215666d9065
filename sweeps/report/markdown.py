"""Write the parts of a page as Markdown; `html_page` writes them for browsers."""

from collections.abc import Iterable

from sweeps.report import document


def text(blocks: Iterable[document.Block]) -> str:
    return "\n\n".join(map(_block, blocks))


def _block(block: document.Block) -> str:
    match block:
        case document.Heading():
            return f"{'#' * block.level} {document.typeset(block.text)}"
        case document.Paragraph():
            return document.typeset(block.text)
        case document.Badge():
            return f"**{document.typeset(block.text)}**"
        case document.Cards():
            return "\n".join(map(_card, block.cards))
        case document.Advice():
            commands = [document.Code(block.commands)] if block.commands else []
            code = [document.Code(tuple(source.splitlines())) for _, source in block.code[:1]]
            return text([document.Paragraph(f"**What to do.** {block.text}"), *commands, *code])
        case document.Bullets():
            return "\n".join(f"- {document.typeset(item)}" for item in block.items)
        case document.Table():
            return _table(block)
        case document.Figure():
            return f"![{block.alt}](figures/{block.name}.svg)\n{block.caption}"
        case document.Code():
            return "\n".join(["```", *block.lines, "```"])
        case document.Fold():
            summary = [document.Paragraph(block.summary)] if block.summary else []
            return text([document.Heading(block.title), *summary, *block.blocks])


def _card(card: document.Card) -> str:
    interval = f" ({card.interval})" if card.interval else ""
    return f"- {card.question} **{card.value}**{interval}. {card.word}."


def _table(table: document.Table) -> str:
    # A bar inside a cell, such as in a dataset's path, becomes a slash.
    head = [document.typeset(column.title) for column in table.columns]
    rows = [[document.typeset(cell).replace("|", "/") for cell in row] for row in table.rows]
    return "\n".join([_row(head), "|" + " --- |" * len(head), *map(_row, rows)])


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
