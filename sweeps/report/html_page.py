"""A report's Markdown as one HTML page that needs nothing else: no network, no script, figures and style inside.

Notes, paths and reasons come from users. They cannot become markup: raw HTML is text, an image is one of our own
figures or its caption alone, and the page forbids itself to load or run anything, should that ever fail.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from string import Template

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

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

_NUMBER = re.compile(r"[+-]?\d|< \d")


def page(lines: Sequence[str], *, title: str, figures: Mapping[str, str]) -> str:
    """The page, from the lines of a report in Markdown.

    Args:
        figures: SVG by the address that Markdown gives it. A paragraph that begins with such an image becomes a figure,
            the rest of the paragraph its caption. No other image is shown.
    """
    markdown = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")
    tokens = markdown.parse("\n".join(lines))
    _mark_paragraphs(tokens, figures)
    _align_numbers(tokens)
    body = markdown.renderer.render(tokens, markdown.options, {"figures": figures})
    return _PAGE.substitute(title=escape(title), style=_STYLE, body=body)


class _Renderer(RendererHTML):
    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        token = tokens[idx]
        text, address = escape(token.content), str(token.attrs["src"])
        svg = env["figures"].get(address)
        if svg is None:
            return text
        # Two figures of one page may not share an id, and matplotlib numbers those of each from 1.
        prefix = re.sub(r"\W+", "-", address)
        svg = re.sub(r'\bid="|href="#|url\(#', lambda found: f"{found[0]}{prefix}-", svg[svg.index("<svg") :])
        svg = svg.replace("<svg", f'<svg role="img" aria-label="{text}"', 1)
        return f'<div class="scroll" tabindex="0">\n{svg}</div>\n'

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return '<div class="scroll" tabindex="0">\n<table>\n'

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return "</table>\n</div>\n"


def _mark_paragraphs(tokens: Sequence[Token], figures: Mapping[str, str]) -> None:
    """Figures become figures; what is bold above the first section is the answer."""
    sections = 0
    for opening, inline, closing in zip(tokens, tokens[1:], tokens[2:], strict=False):
        sections += opening.tag == "h2"
        children = inline.children or []
        if opening.type != "paragraph_open" or not children:
            continue
        if children[0].type == "image" and children[0].attrs["src"] in figures:
            opening.tag = closing.tag = "figure"
            children[1:2] = [Token("figcaption_open", "figcaption", 1)]
            children.append(Token("figcaption_close", "figcaption", -1))
        elif inline.content.startswith("**") and not sections:
            opening.attrJoin("class", "answer")


def _align_numbers(tokens: Sequence[Token]) -> None:
    """Right-align each column of a table that holds more numbers than other text."""
    columns: dict[int, list[tuple[Token, str]]] = defaultdict(list)
    column = 0
    for index, token in enumerate(tokens):
        if token.type == "tr_open":
            column = 0
        elif token.type in ("th_open", "td_open"):
            columns[column].append((token, tokens[index + 1].content))
            column += 1
        elif token.type == "table_close":
            for cells in columns.values():
                texts = [text for cell, text in cells if cell.tag == "td" and text]
                if sum(_NUMBER.match(text) is not None for text in texts) > len(texts) / 2:
                    for cell, _ in cells:
                        cell.attrJoin("class", "number")
            columns.clear()
