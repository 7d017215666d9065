"""A page as HTML: figures with their captions, numbers to the right, markup of users as text."""

from sweeps.report.document import Answer, Block, Bullets, Code, Column, Figure, Heading, Paragraph, columns, table
from sweeps.report.html_page import html

SVG = (
    '<?xml version="1.0"?>\n'
    '<svg xmlns="http://www.w3.org/2000/svg"><g id="a"/><use href="#a" clip-path="url(#a)"/></svg>'
)


def rendered(*blocks: Block, title: str = "t", **figures: str) -> str:
    page = html(blocks, title=title, figures=figures)
    return page[page.index("<main>") : page.index("</main>")]


def test_a_figure_is_its_svg_with_its_caption() -> None:
    page = rendered(Figure("one", "alt & more", "**Figure 1.** said"), one=SVG)
    assert '<svg role="img" aria-label="alt &amp; more" xmlns=' in page
    assert "<figcaption><strong>Figure 1.</strong> said</figcaption></figure>" in page
    assert "<?xml" not in page


def test_the_ids_of_two_figures_stay_apart() -> None:
    page = rendered(Figure("one", "a", ""), Figure("two", "b", ""), one=SVG, two=SVG)
    for name in ("one", "two"):
        assert f'id="{name}-a"' in page
        assert f'href="#{name}-a" clip-path="url(#{name}-a)"' in page


def test_an_image_or_a_link_in_a_text_is_text() -> None:
    page = rendered(Paragraph("see ![x & y](http://x.test/a.png) and [c](javascript:alert(1))"))
    assert "<p>see ![x &amp; y](http://x.test/a.png) and [c](javascript:alert(1))</p>" in page
    assert "<img" not in page
    assert "href" not in page


def test_markup_is_text_wherever_it_stands() -> None:
    evil = "<b onclick=x>b</b> `<i>` **<u>**"
    page = rendered(
        Heading(evil),
        Paragraph(evil),
        Answer(evil),
        Bullets((evil,)),
        table([Column(evil)], [[evil]]),
        Code((evil,)),
        Figure("one", f'"{evil}', evil),
        one=SVG,
    )
    assert page.count("&lt;b onclick=x&gt;b&lt;/b&gt;") == 9
    for tag in ("<b>", "<b ", "<i>", "<u>"):
        assert tag not in page
    assert 'aria-label="&quot;&lt;b onclick=x&gt;' in page
    assert "<title>&lt;i&gt;</title>" in html([], title="<i>", figures={})


def test_code_and_bold_are_the_only_marks() -> None:
    page = rendered(Paragraph("**all `a*b` of it** _is_ *plain* `**code**` but ** this"))
    assert "<p><strong>all <code>a*b</code> of it</strong> _is_ *plain* <code>**code**</code> but ** this</p>" in page


def test_columns_of_numbers_are_aligned_with_their_heads() -> None:
    rows = [("x1", "+1.2 [0, 2]", "< 0.001"), ("2y", "", "0.5"), ("z", "not yet", "1 of 2")]
    page = rendered(table(columns("a", "b", "c", text=1), rows))
    assert page.count("<th>") == 1
    assert page.count('<th class="number">') == 2
    assert page.count('<td class="number">') == 6
    assert '<td class="number">&lt; 0.001</td>' in page


def test_the_answer_stands_out() -> None:
    page = rendered(Heading("t", level=1), Answer("**FLAT: so.**"), Paragraph("**Data.** x"))
    assert page.count('<p class="answer">') == 1
    assert '<p class="answer"><strong>FLAT: so.</strong></p>' in page
    assert "<h1>t</h1>" in page


def test_lines_to_type_stay_lines() -> None:
    assert "<pre><code>kd-sweeps a\nkd-sweeps b &lt; c\n</code></pre>" in rendered(
        Code(("kd-sweeps a", "kd-sweeps b < c"))
    )
