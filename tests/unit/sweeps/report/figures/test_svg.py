"""The figures of a page: every figure with data, as SVG with text and escaped names."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from sweeps.findings.findings import Findings
from sweeps.report.document import Figure
from sweeps.report.figures.svg import blocks, draw, names, with_data
from sweeps.report.html_page import html
from tests.support.sweeps.builders import make_findings
from tests.support.sweeps.pictured_sweeps import PLANE, SEARCH, WITH_EVEN, figures, gain, texts
from tests.support.sweeps.reported_sweeps import REPORTED, run


@pytest.fixture(scope="module")
def findings() -> Findings:
    return replace(make_findings(REPORTED, run), own=WITH_EVEN)


@pytest.fixture(scope="module")
def drawn(findings: Findings) -> dict[str, str]:
    return draw(with_data(findings))


def test_every_figure_with_data_is_drawn_in_the_order_of_the_page(findings: Findings, drawn: dict[str, str]) -> None:
    of_page = [figure.name for figure in blocks(findings.spec, with_data(findings))]
    assert of_page == ["gains", "regret", "surface", "methods", "break-even"]
    assert [name for name in drawn if not name.endswith("-narrow")] == of_page
    assert [name for name in drawn if name.endswith("-narrow")] == [
        *("gains-narrow", "regret-narrow", "surface-narrow", "methods-narrow", "break-even-narrow"),
    ]
    assert set(drawn) | {"strategies", "strategies-narrow"} == set(names(findings.spec.kind))
    assert not any(name.endswith("-narrow") for name in draw(with_data(findings), narrow=False))
    for svg in drawn.values():
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert with_data(make_findings(REPORTED, run, until="search")) == []


def test_text_stays_text_and_the_white_background_is_hidden_on_a_dark_page(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        assert len(texts(svg)) > 3
        white = re.findall(r'<g id="(\w+)">\s*<path[^>]*style="fill: #ffffff"', svg)
        assert white == ["patch_1"]
    page = html([Figure("gains", "alt", "caption")], title="t", figures={"gains": drawn["gains"]})
    assert 'id="gains-patch_1"' in page
    assert 'figure svg g[id$="-patch_1"] > path { fill: none !important; }' in page


def test_the_name_of_a_dataset_is_not_read_as_mathematics_or_markup() -> None:
    evil = replace(SEARCH, dataset="<script>&x.npz")
    svgs = draw(figures(surface=replace(PLANE, surfaces=(SEARCH, evil)), gains=(gain("best", 1.0, dataset="<b>"),)))
    assert list(svgs) == ["gains", "gains-narrow", "surface", "surface-narrow"]
    assert {"a$b$.npz", "<script>&x.npz"} <= set(texts(svgs["surface"]))
    assert "<script>" not in svgs["surface"]
    assert "<b>" not in svgs["gains"]
