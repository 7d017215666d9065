"""A page as HTML: figures, folds, tables, and escaped markup of users."""

import re
from html import unescape
from itertools import accumulate
from typing import get_args

import pytest
from jinja2 import UndefinedError

from sweeps.report import document
from sweeps.report.html_page import environment, html

SVG = (
    '<?xml version="1.0"?>\n'
    '<svg xmlns="http://www.w3.org/2000/svg"><g id="a"/><use href="#a" clip-path="url(#a)"/></svg>'
)


def rendered(*blocks: document.Block, title: str = "t", **figures: str) -> str:
    page = html(blocks, title=title, figures=figures)
    return page[page.index("<main>") : page.index("</main>")]


def style() -> str:
    page = html([], title="t", figures={})
    return page[page.index("<style>") : page.index("</style>")]


def rule(name: str) -> str:
    """Return the body of an at-rule of the style."""
    text = style()
    inside = text[text.index("{", text.index(name)) + 1 :]
    depths = accumulate({"{": 1, "}": -1}.get(sign, 0) for sign in inside)
    return inside[: next(place for place, depth in enumerate(depths) if depth < 0)]


def test_a_figure_without_a_drawing_is_an_error() -> None:
    with pytest.raises(KeyError):
        rendered(document.Figure("one", "a", ""), two=SVG)


def test_the_ids_of_two_figures_differ() -> None:
    page = rendered(
        document.Figure("gains", "a", ""),
        document.Fold("f", "", (document.Figure("break-even", "b", ""),)),
        gains=SVG,
        **{"break-even": SVG},
    )
    for name in ("gains", "break-even"):
        assert f'id="{name}-a"' in page
        assert f'href="#{name}-a" clip-path="url(#{name}-a)"' in page


def test_images_and_links_in_text_stay_text() -> None:
    page = rendered(document.Paragraph("see ![x & y](http://x.test/a.png) and [c](javascript:alert(1))"))
    assert "<p>see ![x &amp; y](http://x.test/a.png) and [c](javascript:alert(1))</p>" in page
    assert "<img" not in page
    assert "href" not in page


def test_markup_is_escaped_in_every_block() -> None:
    evil = "<b onclick=x>b</b> `<i>` **<u>**"
    page = rendered(
        document.Heading(evil),
        document.Paragraph(evil),
        document.Badge(evil, "good"),
        document.Cards((document.Card(evil, evil, evil, evil, "bad"),)),
        document.Advice(evil, (evil,)),
        document.Bullets((evil,)),
        document.table([document.Column(evil)], [[evil]]),
        document.Code((evil,)),
        document.Figure("gains", f'"{evil}', evil),
        document.Fold(evil, evil, (document.Paragraph(evil),)),
        gains=SVG,
    )
    assert page.count("&lt;b onclick=x&gt;b&lt;/b&gt;") == 18
    for tag in ("<b>", "<b ", "<i>", "<u>"):
        assert tag not in page
    assert 'aria-label="&quot;&lt;b onclick=x&gt;' in page
    assert "<title>&lt;i&gt;</title>" in html([], title="<i>", figures={})


def test_code_and_bold_are_the_only_markup() -> None:
    page = rendered(document.Paragraph("**all `a*b` of it** _is_ *plain* `**code**` but ** this"))
    assert "<p><strong>all <code>a*b</code> of it</strong> _is_ *plain* <code>**code**</code> but ** this</p>" in page


def test_a_row_of_an_unavailable_method_is_grey() -> None:
    heads = (document.Column("method"), document.Column("status"))
    rows = [("scratch", ""), ("mobilenet", "unavailable: no weights"), ("best", "failed: unavailable")]
    page = rendered(document.table(heads, rows))
    assert page.count('<tr class="unavailable">\n<td>mobilenet</td>') == 1
    assert page.count("<tr class=") == 1
    assert "tr.unavailable { color: var(--soft); }" in style()


def test_a_number_can_break_only_before_its_interval() -> None:
    rows = [["a, b ± c", "+5.00 [+3.41, +6.59] (n=4)"], ["", "97.41 ± 0.12 (n=10)"]]
    page = rendered(document.table(document.columns("text", "number", text=1), rows))
    for cell in ("a, b ± c", "+5.00 [+3.41,\xa0+6.59] (n=4)", "97.41\xa0±\xa00.12 (n=10)"):
        assert f">{cell}</td>" in page


def test_no_cell_of_a_table_is_lost() -> None:
    rows = [["a|b", "< 1 & 2", ""], ["", "", ""], ["`x`", "**y**", "5 > 4"]]
    page = rendered(document.Fold("f", "", (document.table(document.columns("1", "2", "3", text=1), rows),)))
    cells = [re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row) for row in page.split("<tr")[1:]]
    texts = [[unescape(re.sub("<[^>]+>", "", cell)) for cell in row] for row in cells]
    assert texts == [["1", "2", "3"], ["a|b", "<\xa01 & 2", ""], ["", "", ""], ["x", "y", "5 > 4"]]
    with pytest.raises(ValueError, match="zip"):
        rendered(document.table(document.columns("1", "2", text=1), [["too", "many", "cells"]]))


def test_dark_mode_changes_every_colour_and_paper_is_white() -> None:
    colours = set(re.findall(r"--[\w-]+(?=:)", style()))
    dark = rule("@media (prefers-color-scheme: dark)")
    assert set(re.findall(r"--[\w-]+(?=:)", dark)) == colours >= {"--text", "--page", "--good", "--bad", "--open"}
    assert "@media (prefers-color-scheme: dark) {\n  figure svg { filter: invert" in style()
    paper = rule("@media print")
    assert "--page: #fff" in paper
    assert "figure svg { filter: none; }" in paper
    used = set(re.findall(r"var\((--[\w-]+)\)", style()))
    assert used == colours
    page = html([], title="t", figures={})
    assert '<meta name="color-scheme" content="light dark">' in page


def test_every_type_of_block_has_its_macro() -> None:
    module = environment().get_template("blocks.html").module
    assert set(module.macros) == {kind.__name__ for kind in get_args(document.Block)}


def test_a_missing_value_of_a_template_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'title' is undefined"):
        environment().get_template("page.html").render(blocks=[], figures={})
