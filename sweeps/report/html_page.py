"""Write the parts of a page as one HTML file that needs no other.

Notes, paths and reasons come from users. They cannot become markup: all text is escaped, and the page forbids itself
to load or run anything, should that ever fail.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from string import Template

from sweeps.plan.phases import UNAVAILABLE
from sweeps.report import document

# The colours of every page, by what they are for, so that dark mode changes them in one place.
COLOURS = """
:root {
  --text: #1a1a1a; --soft: #5a5a5a; --page: #fff; --panel: #f5f6f8; --line: #d9dce1; --mark: #0072b2;
  --good: #00553c; --good-panel: #dcf1e9; --bad: #8a3000; --bad-panel: #fbe3d7; --open: #6b4e00; --open-panel: #fdf1cf;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e8e8e8; --soft: #a9adb3; --page: #16181b; --panel: #212429; --line: #3a3f46; --mark: #56b4e9;
    --good: #8fdcc0; --good-panel: #143a2d; --bad: #ffb08a; --bad-panel: #45210f;
    --open: #f3d37a; --open-panel: #3d3110;
  }
}
html { font: 100%/1.55 -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: var(--text); }
""".strip()


_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>$title</title>
<style>
$style
</style>
</head>
<body>
<main>
$body</main>
</body>
</html>
""")

# Figures are drawn on white: in dark mode they are inverted, and their hues turned back.
_STYLE = (
    COLOURS
    + """
@media (prefers-color-scheme: dark) {
  figure svg { filter: invert(.92) hue-rotate(180deg); }
}
body { margin: 0; background: var(--page); }
main { max-width: 46rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .25rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
p, ul { margin: 0 0 1rem; }
ul { padding-left: 1.25rem; }
li { margin: .35rem 0; }
p, li, td { overflow-wrap: break-word; }
p.small, figcaption { font-size: .9rem; color: var(--soft); }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
pre { background: var(--panel); padding: .6rem .9rem; margin: .6rem 0 0; white-space: pre-wrap; border-radius: 6px; }
.badge { display: inline-block; font-size: .9rem; font-weight: 600; padding: .2rem .6rem; border-radius: 4px; }
.good { color: var(--good); } .bad { color: var(--bad); } .open { color: var(--open); }
.badge.good { background: var(--good-panel); }
.badge.bad { background: var(--bad-panel); }
.badge.open { background: var(--open-panel); }
.cards { display: grid; grid-template-columns: repeat(3, 1fr); gap: .75rem; margin: 1.25rem 0; }
.card { background: var(--panel); border-radius: 8px; padding: .9rem; }
.card p { margin: 0; }
.card .question { min-height: 3.1em; }
.card .value { font-size: 1.5rem; font-weight: 650; line-height: 1.3; }
.card .interval { font-size: .85rem; color: var(--soft); }
.card .word { font-weight: 650; margin-top: .25rem; }
.advice { border-left: 4px solid var(--mark); padding: .1rem 0 .1rem 1rem; margin: 1.5rem 0; }
.advice p { margin: 0; font-size: 1.05rem; }
figure { margin: .75rem 0 1.5rem; }
figure svg { display: block; width: 100%; height: auto; }
figure svg g[id$="-patch_1"] > path { fill: none !important; }
details { border-top: 1px solid var(--line); padding: .7rem 0; }
summary { cursor: pointer; }
summary h2 { display: inline; font-size: 1.05rem; margin: 0; }
summary span { color: var(--soft); }
details > :nth-child(2) { margin-top: 1rem; }
.scroll { overflow-x: auto; margin: 0 0 1rem; }
table { border-collapse: collapse; font-size: .85rem; line-height: 1.35; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .5rem; border-bottom: 1px solid var(--line); }
th { vertical-align: bottom; border-bottom: 2px solid var(--text); font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
tr.unavailable { color: var(--soft); }
@media (max-width: 40rem) {
  main { padding: 1.25rem 1rem 3rem; }
  h1 { font-size: 1.35rem; }
  .cards { grid-template-columns: 1fr; }
  .card .question { min-height: 0; }
}
@page { size: A4; margin: 16mm 14mm; }
@media print {
  :root { --text: #000; --soft: #444; --page: #fff; --panel: #f5f6f8; --line: #ccc; }
  html { font-size: 8.5pt; line-height: 1.4; }
  main { max-width: none; padding: 0; }
  figure svg { filter: none; }
  figure.narrow svg { max-width: 29rem; }
  figure.wide svg { max-width: 30rem; }
  h2, h3 { break-after: avoid; margin: .8rem 0 .3rem; }
  p, ul { margin-bottom: .5rem; }
  li { margin: .1rem 0; }
  details { padding: .3rem 0; }
  .scroll { overflow: visible; }
  table { font-size: 7pt; }
  th, td { padding: .15rem .3rem; }
  tr, figure, pre, .cards { break-inside: avoid; }
  details.printed::details-content { content-visibility: visible; display: block; height: auto; }
  details:not(.printed) { display: none; }
  summary { list-style: none; }
}
""".rstrip()
)

_INLINE = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*")


def html(blocks: Iterable[document.Block], *, title: str, figures: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        figures: SVG by the name of the figure; raises KeyError where that of a `Figure` is missing.
    """
    body = "\n".join(_block(block, figures) for block in blocks)
    return _PAGE.substitute(title=escape(title), style=_STYLE, body=body + "\n")


def _block(block: document.Block, figures: Mapping[str, str]) -> str:
    match block:
        case document.Heading():
            return f"<h{block.level}>{_inline(block.text)}</h{block.level}>"
        case document.Paragraph():
            return f'<p class="small">{_inline(block.text)}</p>' if block.small else f"<p>{_inline(block.text)}</p>"
        case document.Badge():
            return f'<p><span class="badge {block.tone}">{_inline(block.text)}</span></p>'
        case document.Cards():
            return "\n".join(['<div class="cards">', *map(_card, block.cards), "</div>"])
        case document.Advice():
            commands = _code(document.Code(block.commands)) if block.commands else ""
            return f'<div class="advice"><p><strong>What to do.</strong> {_inline(block.text)}</p>{commands}</div>'
        case document.Bullets():
            return "\n".join(["<ul>", *(f"<li>{_inline(item)}</li>" for item in block.items), "</ul>"])
        case document.Table():
            return _table(block)
        case document.Figure():
            caption = f"<figcaption>{_inline(block.caption)}</figcaption>"
            width = "wide" if block.wide else "narrow"
            return f'<figure class="{width}">{_svg(block, figures[block.name])}\n{caption}</figure>'
        case document.Code():
            return _code(block)
        case document.Fold():
            return _fold(block, figures)


def _fold(block: document.Fold, figures: Mapping[str, str]) -> str:
    state = ' class="printed"' if block.printed else ""
    summary = f"<h2>{_inline(block.title)}</h2>"
    if block.summary:
        summary += f" <span>· {_inline(block.summary)}</span>"
    inside = "\n".join(_block(inner, figures) for inner in block.blocks)
    return f"<details{state}>\n<summary>{summary}</summary>\n{inside}\n</details>"


def _card(card: document.Card) -> str:
    lines = [
        f'<p class="question">{_inline(card.question)}</p>',
        f'<p class="value">{_inline(card.value)}</p>',
        f'<p class="interval">{_inline(card.interval)}</p>',
        f'<p class="word {card.tone}">{_inline(card.word)}</p>',
    ]
    return "\n".join(['<div class="card">', *lines, "</div>"])


def _code(block: document.Code) -> str:
    lines = "".join(f"{escape(line)}\n" for line in block.lines)
    return f"<pre><code>{lines}</code></pre>"


def _inline(text: str) -> str:
    """Return text as HTML: `code` and **bold** become elements, everything else is escaped."""

    def marked(escaped: str) -> str:
        return _INLINE.sub(element, escaped)

    def element(match: re.Match[str]) -> str:
        return f"<code>{match[1]}</code>" if match[1] else f"<strong>{marked(match[2])}</strong>"

    return marked(escape(text))


def _table(table: document.Table) -> str:
    head = _row("th", [escape(column.title) for column in table.columns], table.columns)
    body = [_row("td", map(_inline, row), table.columns, grey=_is_unavailable(row)) for row in table.rows]
    lines = ["<table>", "<thead>", head, "</thead>", "<tbody>", *body, "</tbody>", "</table>"]
    return "\n".join(['<div class="scroll" tabindex="0">', *lines, "</div>"])


def _is_unavailable(row: Sequence[str]) -> bool:
    """Return whether a row is about what cannot run here: its status, which comes last, begins with that word."""
    return row[-1].startswith(UNAVAILABLE)


def _row(tag: str, cells: Iterable[str], columns: Iterable[document.Column], *, grey: bool = False) -> str:
    texts = [
        f'<{tag} class="number">{cell}</{tag}>' if column.number else f"<{tag}>{cell}</{tag}>"
        for cell, column in zip(cells, columns, strict=True)
    ]
    return "\n".join([f'<tr class="{UNAVAILABLE}">' if grey else "<tr>", *texts, "</tr>"])


def _svg(figure: document.Figure, svg: str) -> str:
    """Return an SVG to stand in the page."""
    # Two figures of one page may not share an id, and matplotlib numbers those of each from 1.
    prefix = re.sub(r"\W+", "-", figure.name)
    svg = re.sub(r'\bid="|href="#|url\(#', lambda match: f"{match[0]}{prefix}-", svg[svg.index("<svg") :])
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(figure.alt)}"', 1)
