"""The written report: complete, safe against markup of users, and readable in a browser."""

import html
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kd.errors import Unavailable
from sweeps.distill.presets import on
from sweeps.errors import SpecError
from sweeps.findings.findings import Findings
from sweeps.plan.jobs import AnyJob
from sweeps.report import folder as pages
from sweeps.report.answer import headline
from sweeps.report.figures.data import BLUE, VERMILLION
from sweeps.report.figures.svg import names
from sweeps.spec.model import override
from sweeps.spec.stored import read
from sweeps.workers.runner import Outcome
from tests.support.sweeps.answered_sweeps import OVER_SEEDS, accuracies
from tests.support.sweeps.builders import make_findings
from tests.support.sweeps.planted_sweeps import planted
from tests.support.sweeps.reported_sweeps import REPORTED, run
from tests.support.web.browser import Browser

HOSTILE = "<script>alert(1)</script> ![x](http://x.test/x.png) <img src=http://x.test/y.png onerror=alert(1)>"


@pytest.fixture(scope="module")
def finished() -> Findings:
    return make_findings(override(REPORTED, {"note": HOSTILE}), run)


@pytest.fixture(scope="module")
def folder(finished: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "report"
    assert pages.write(finished, folder) == folder / "report.html"
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Loaded(HTMLParser):
    """Collect the tags of a page, its ids, and every attribute that makes a browser fetch or run something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.used: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action") or name.startswith("on"):
                self.fetched.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            self.used |= set(re.findall(r"url\(#([^)]*)\)", value or ""))


def test_a_report_has_the_page_its_markdown_figures_numbers_and_spec(folder: Path, finished: Findings) -> None:
    lacking = "break-even", "strategies"  # AutoKeras did not run; rule 1 has no strategies
    missing = {f"{name}{suffix}" for name in lacking for suffix in ("", "-narrow")}
    figures = {f"figures/{name}.svg" for name in {*names(finished.spec.kind)} - missing}
    assert set(content(folder)) == figures | {"report.html", "report.md", "results.csv", "table.tex", "spec.toml"}
    assert read(folder / "spec.toml") == finished.spec


def test_the_page_loads_and_runs_nothing_even_with_markup_in_its_note(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    loaded = Loaded(page)
    assert not loaded.tags & {"script", "img", "link", "iframe", "object", "embed", "base", "form", "image"}
    assert loaded.fetched, "figures reuse their marks by reference"
    assert all(value.startswith("#") for value in loaded.fetched)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "url(http" not in page
    assert "@import" not in page


def test_ids_on_the_page_are_unique_and_every_referenced_id_exists(folder: Path) -> None:
    loaded = Loaded((folder / "report.html").read_text())
    assert len(loaded.ids) > 100
    assert len(loaded.ids) == len(set(loaded.ids))
    assert loaded.used
    assert {value.removeprefix("#") for value in loaded.fetched} | loaded.used <= set(loaded.ids)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report before transfer with markup in the path of a dataset, the note and the reason of a failure."""
    path = "<script>alert(2)</<img src=x onerror=alert(3)>|`b`.npz"
    spec = override(
        on(OVER_SEEDS, targets=["mine.npz"]), {"target.images": 180, "note": HOSTILE, "target.dataset": path}
    )

    def failing(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.row.stage == "baselines":
            raise Unavailable("no weights <script>alert(4)</script> & <b>more</b>")
        return planted(accuracies(0.5))(claim, params, on_step)

    folder = tmp_path_factory.mktemp("hostile") / "report"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "gains.svg").write_text("of an earlier sweep")
    (folder / "figures" / "mine.svg").write_text("<svg/>")
    return pages.write(make_findings(spec, failing, until="transfer"), folder)


def test_markup_in_paths_and_reasons_is_escaped(hostile: Path) -> None:
    page = hostile.read_text()
    loaded = Loaded(page)
    assert not loaded.tags & {"script", "img", "b"}
    assert all(value.startswith("#") for value in loaded.fetched)
    assert "&lt;img src=x onerror=alert(3)&gt;" in page
    assert "alert(4)&lt;/script&gt; &amp; &lt;b&gt;more&lt;/b&gt;" in page
    assert "&lt;script&gt;alert(1)" in page
    assert len(loaded.ids) == len(set(loaded.ids))
    for figure in (hostile.parent / "figures").iterdir():
        drawn = Loaded(figure.read_text())
        assert not drawn.tags & {"script", "img"}


def test_a_browser_runs_no_markup_of_users(hostile: Path, browser: Browser) -> None:
    dom = browser.dom(f"file://{hostile}")
    assert not Loaded(dom).tags & {"script", "img", "b"}
    assert "&lt;img src=x onerror=alert(3)&gt;" in dom


def test_the_page_of_an_unfinished_sweep_says_not_yet_and_loses_figures_of_an_earlier_one(hostile: Path) -> None:
    assert "NOT YET: 0 of 20 transfer trainings are done" in hostile.read_text()
    figures = hostile.parent / "figures"
    assert {path.name for path in figures.iterdir()} == {"surface.svg", "surface-narrow.svg", "mine.svg"}, (
        "a file of the user stays"
    )


def test_a_report_that_cannot_be_written_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("a file where the folder of the figures should be")
    (tmp_path / "report.html").write_text("an earlier page")
    before = content(tmp_path)
    with pytest.raises(SpecError, match=r"cannot write a report into .*; give a folder"):
        pages.write(make_findings(REPORTED, run, until="search#1"), tmp_path)
    assert content(tmp_path) == before


def test_a_browser_shows_the_answer_and_the_figures(
    folder: Path, finished: Findings, tmp_path: Path, browser: Browser
) -> None:
    page = f"file://{folder}/report.html"
    dom = browser.dom(page)
    assert html.escape(headline(finished), quote=False) in " ".join(dom.split())
    assert "tuned on digits-rgb" in dom
    browser.screenshot(page, tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as image:
        counts = {colour: count for count, colour in image.convert("RGB").getcolors(2**24) or []}
    # The bar of the advice and the mark of native are blue, the mark of best is vermillion: both are visible.
    assert min(counts.get(_rgb(colour), 0) for colour in (BLUE, VERMILLION)) > 200


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def test_a_printed_page_has_the_evidence_open_on_few_sheets(folder: Path, tmp_path: Path, browser: Browser) -> None:
    sheets = [" ".join(sheet.split()) for sheet in browser.printed(f"file://{folder}/report.html", tmp_path)]
    text = " ".join(sheets)
    for evidence in (
        "best, tuned on digits: T = ",
        "Class means of the logits (class-mean)",
        "Secondary questions",
        "Throughput (images/s) is measured",
        "tasks done; ",
    ):
        assert evidence in text
    assert "to cite and to rerun" not in text, "methods stay folded"
    assert "Batches of 32." not in text
    assert len(sheets) <= 4
    assert "What to do. " in sheets[0]
    assert "the whole line must stay left of the margin." in sheets[0], "the answer is on the first sheet"
