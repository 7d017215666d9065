"""Markdown as a page: figures in place of images, numbers to the right, markup of users as text."""

from sweeps.report.html_page import page

SVG = (
    '<?xml version="1.0"?>\n'
    '<svg xmlns="http://www.w3.org/2000/svg"><g id="a"/><use href="#a" clip-path="url(#a)"/></svg>'
)


def rendered(*lines: str, title: str = "t", **figures: str) -> str:
    html = page(lines, title=title, figures=figures)
    return html[html.index("<main>") : html.index("</main>")]


def test_an_image_that_is_one_of_ours_becomes_a_figure_with_its_caption() -> None:
    html = rendered("![alt](one)", "**Figure 1.** said", one=SVG)
    assert '<svg role="img" aria-label="alt" xmlns=' in html
    assert "<figcaption><strong>Figure 1.</strong> said</figcaption></figure>" in html
    assert "<?xml" not in html


def test_the_ids_of_two_figures_stay_apart() -> None:
    html = rendered("![a](one)", "", "![b](two)", one=SVG, two=SVG)
    for name in ("one", "two"):
        assert f'id="{name}-a"' in html
        assert f'href="#{name}-a" clip-path="url(#{name}-a)"' in html


def test_any_other_image_is_its_text() -> None:
    assert "<p>see x &amp; y</p>" in rendered("see ![x & y](http://x.test/a.png)")


def test_markup_and_dangerous_links_are_text() -> None:
    html = rendered("a <b onclick=x>b</b> [c](javascript:alert(1))", "", "<style>p { display: none }</style>")
    assert "&lt;b onclick=x&gt;" in html
    assert "&lt;style&gt;" in html
    assert "href" not in html
    assert "<title>&lt;i&gt;</title>" in page([], title="<i>", figures={})


def test_columns_of_numbers_are_aligned_with_their_heads() -> None:
    html = rendered(
        "| a | b | c |",
        "| --- | --- | --- |",
        "| x1 | +1.2 [0, 2] | < 0.001 |",
        "| 2y | | 0.5 |",
        "| z | not yet | 1 |",
    )
    assert html.count("<th>") == 2
    assert html.count('<th class="number">') == 1
    assert html.count('<td class="number">') == 3


def test_what_is_bold_above_the_first_section_is_the_answer() -> None:
    html = rendered("# t", "", "**FLAT: so.**", "", "more", "", "## Methods", "", "**Data.** x")
    assert html.count('<p class="answer">') == 1
    assert '<p class="answer"><strong>FLAT: so.</strong></p>' in html
