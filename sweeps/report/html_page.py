"""A page as HTML that needs nothing else: no network, no script, figures and style inside.

Notes, paths and reasons come from users. They cannot become markup: all text is escaped, and the page forbids itself
to load or run anything, should that ever fail.
"""

import re
from collections.abc import Iterable, Mapping
from html import escape
from string import Template

from sweeps.report.document import Answer, Block, Bullets, Code, Column, Figure, Heading, Paragraph, Table

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
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

_STYLE = """
html { font: 100%/1.55 -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: #1a1a1a; }
body { margin: 0; background: #fff; }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
p, ul, figcaption { max-width: 46rem; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 1.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 3rem 0 .75rem; border-bottom: 1px solid #ccc; padding-bottom: .3rem; }
p, ul { margin: 0 0 1rem; }
ul { padding-left: 1.25rem; }
li { margin: .35rem 0; }
li p { margin: 0; }
p, li, td { overflow-wrap: break-word; }
p.answer { font-size: 1.125rem; line-height: 1.5; border-left: 4px solid #0072b2; padding: .25rem 0 .25rem 1rem; }
p.answer strong { font-weight: 600; }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
pre { background: #f5f5f5; padding: .75rem 1rem; overflow-x: auto; }
.scroll { overflow-x: auto; margin: 0 0 1rem; }
table { border-collapse: collapse; font-size: .875rem; line-height: 1.35; }
th, td { text-align: left; vertical-align: top; padding: .4rem .7rem; border-bottom: 1px solid #ddd; }
th { vertical-align: bottom; border-bottom: 2px solid #1a1a1a; font-weight: 600; }
td:first-child { min-width: 11rem; }
td:nth-child(2) { min-width: 5rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
figure { margin: 1.5rem 0 2.25rem; }
figure .scroll { margin: 0; }
figure svg { display: block; width: 100%; min-width: 40rem; max-width: 60rem; height: auto; }
figcaption { font-size: .9rem; color: #333; }
@page { size: A4; margin: 16mm 14mm; }
@media print {
  html { font-size: 9.5pt; }
  main { max-width: none; padding: 0; }
  p, ul, figcaption { max-width: none; }
  h2 { break-after: avoid; margin-top: 1.5rem; }
  .scroll { overflow: visible; }
  table { font-size: 7pt; }
  th, td { padding: .25rem .35rem; }
  td:first-child, td:nth-child(2) { min-width: 0; }
  thead { display: table-header-group; }
  tr, figure, pre { break-inside: avoid; }
  figure svg { min-width: 0; }
}
""".strip()

_INLINE = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*")


def html(blocks: Iterable[Block], *, title: str, figures: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        figures: SVG by the name of the figure; raises KeyError where that of a `Figure` is missing.
    """
    body = "\n".join(_block(block, figures) for block in blocks)
    return _PAGE.substitute(title=escape(title), style=_STYLE, body=body + "\n")


def _block(block: Block, figures: Mapping[str, str]) -> str:
    match block:
        case Heading():
            return f"<h{block.level}>{_inline(block.text)}</h{block.level}>"
        case Paragraph():
            return f"<p>{_inline(block.text)}</p>"
        case Answer():
            return f'<p class="answer">{_inline(block.text)}</p>'
        case Bullets():
            return "\n".join(["<ul>", *(f"<li>{_inline(item)}</li>" for item in block.items), "</ul>"])
        case Table():
            return _table(block)
        case Figure():
            caption = f"<figcaption>{_inline(block.caption)}</figcaption>"
            return f"<figure>{_svg(block, figures[block.name])}\n{caption}</figure>"
        case Code():
            lines = "".join(f"{escape(line)}\n" for line in block.lines)
            return f"<pre><code>{lines}</code></pre>"


def _inline(text: str) -> str:
    """Return text as HTML: `code` and **bold** become elements, everything else is escaped."""

    def marked(escaped: str) -> str:
        return _INLINE.sub(element, escaped)

    def element(found: re.Match[str]) -> str:
        return f"<code>{found[1]}</code>" if found[1] else f"<strong>{marked(found[2])}</strong>"

    return marked(escape(text))


def _table(table: Table) -> str:
    head = _row("th", [escape(column.title) for column in table.columns], table.columns)
    body = [_row("td", map(_inline, row), table.columns) for row in table.rows]
    lines = ["<table>", "<thead>", head, "</thead>", "<tbody>", *body, "</tbody>", "</table>"]
    return "\n".join(['<div class="scroll" tabindex="0">', *lines, "</div>"])


def _row(tag: str, cells: Iterable[str], columns: Iterable[Column]) -> str:
    texts = [
        f'<{tag} class="number">{cell}</{tag}>' if column.number else f"<{tag}>{cell}</{tag}>"
        for cell, column in zip(cells, columns, strict=True)
    ]
    return "\n".join(["<tr>", *texts, "</tr>"])


def _svg(figure: Figure, svg: str) -> str:
    """Return an SVG to stand in the page."""
    # Two figures of one page may not share an id, and matplotlib numbers those of each from 1.
    prefix = re.sub(r"\W+", "-", figure.name)
    svg = re.sub(r'\bid="|href="#|url\(#', lambda found: f"{found[0]}{prefix}-", svg[svg.index("<svg") :])
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(figure.alt)}"', 1)
    return f'<div class="scroll" tabindex="0">\n{svg}</div>'
