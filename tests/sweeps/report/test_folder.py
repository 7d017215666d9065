"""The written report: complete, the same twice, safe against what users write into it, and readable in a browser."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from sweeps.errors import SpecError
from sweeps.report import folder as pages
from sweeps.report.figures.data import BLUE, VERMILLION
from sweeps.report.figures.svg import NAMES
from sweeps.report.sentences import headline
from sweeps.spec.toml import read
from tests.support.browser import Browser
from tests.support.sweeps.reported_sweeps import analysed, worked

HOSTILE = "<script>alert(1)</script> ![x](http://x.test/x.png) <img src=http://x.test/y.png onerror=alert(1)>"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return worked(tmp_path_factory.mktemp("finished"), note=HOSTILE)


@pytest.fixture(scope="module")
def folder(url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "report"
    found = analysed(url)
    assert pages.write(found, folder) == folder / "report.html"
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Loaded(HTMLParser):
    """Every tag of a page, and every value of an attribute that makes a browser fetch or run something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action") or name.startswith("on"):
                self.fetched.append(value or "")
            if name == "id":
                self.ids.append(value or "")


def test_a_report_is_the_page_its_markdown_figures_numbers_and_spec(folder: Path, url: str) -> None:
    figures = {f"figures/{name}.svg" for name in NAMES[:-1]}  # AutoKeras did not run
    assert set(content(folder)) == figures | {"report.html", "report.md", "results.csv", "table.tex", "spec.toml"}
    found = analysed(url)
    assert read(folder / "spec.toml") == found.spec


def test_the_page_goes_from_the_verdict_to_where_it_comes_from(folder: Path, url: str) -> None:
    page = (folder / "report.html").read_text()
    found = analysed(url)
    verdict = headline(found)
    parts = [verdict.partition(":")[0] + ":", "<table>", "<svg", ">Secondary questions<", ">Methods<", ">Provenance<"]
    places = [page.index(part, page.index("<h1>")) for part in parts]
    assert places == sorted(places)
    assert page.count("<figcaption>") == page.count("<svg") == len(NAMES) - 1


def test_the_page_loads_and_runs_nothing_whatever_its_note_says(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    loaded = Loaded(page)
    assert not loaded.tags & {"script", "img", "link", "iframe", "object", "embed", "base"}
    assert all(value.startswith("#") for value in loaded.fetched)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "url(http" not in page
    assert "@import" not in page


def test_no_two_things_on_the_page_share_an_id(folder: Path) -> None:
    ids = Loaded((folder / "report.html").read_text()).ids
    assert ids
    assert len(ids) == len(set(ids))


def test_the_same_sweep_gives_the_same_bytes(folder: Path, url: str, tmp_path: Path) -> None:
    found = analysed(url)
    pages.write(found, tmp_path)
    assert content(tmp_path) == content(folder)


def test_an_unfinished_sweep_has_a_page_that_says_so(tmp_path: Path) -> None:
    figures = tmp_path / "report" / "figures"
    figures.mkdir(parents=True)
    (figures / "arms.svg").write_text("of an earlier sweep")
    (figures / "mine.svg").write_text("of the user")
    found = analysed(worked(tmp_path, stop_at="native.search#2"))
    page = pages.write(found, tmp_path / "report").read_text()
    assert "NO VERDICT YET on digits -&gt; digits-rgb: 0 of 15 transfer trainings" in page
    assert {path.name for path in figures.iterdir()} == {"surface.svg", "history.svg", "mine.svg"}


def test_what_cannot_be_written_leaves_the_folder_as_it_was(url: str, tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("a file where the folder of the figures should be")
    (tmp_path / "report.html").write_text("an earlier page")
    before = content(tmp_path)
    found = analysed(url)
    with pytest.raises(SpecError, match=r"cannot write a report into .*; give a folder"):
        pages.write(found, tmp_path)
    assert content(tmp_path) == before


@pytest.mark.parametrize("wrong", ["a-file", "a-file/inside", "/proc/report"])
def test_a_folder_that_cannot_be_is_one_line(
    wrong: str, url: str, kd_sweeps: Callable[..., tuple[int, str, str]]
) -> None:
    Path("a-file").touch()
    code, out, err = kd_sweeps("report", "s", "-o", wrong, "--storage", url)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"kd-sweeps: --output: cannot write a report into {wrong}: ")


def test_the_command_prints_the_verdict_and_says_where_the_page_is(
    url: str, kd_sweeps: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = kd_sweeps("report", "s", "-o", "new/folder", "--storage", url)
    found = analysed(url)
    assert (code, out) == (0, headline(found) + "\n")
    assert err.splitlines()[-1] == "report   new/folder/report.html"
    assert Path("new/folder/report.html").is_file()
    assert kd_sweeps("report", "s", "-o", "x", "-f", "json", "--storage", url)[0] == 2


def test_a_browser_shows_the_verdict_and_the_figures(folder: Path, url: str, tmp_path: Path, browser: Browser) -> None:
    page = f"file://{folder}/report.html"
    dom = browser.dom(page)
    found = analysed(url)
    assert headline(found).replace(">", "&gt;") in " ".join(dom.split())
    assert "native search on digits-rgb" in dom
    browser.screenshot(page, tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as image:
        shown = {colour: count for count, colour in image.convert("RGB").getcolors(2**24) or []}
    # The bar beside the verdict is blue, the stars of the figures are vermillion: both are really on the screen.
    assert min(shown.get(_rgb(colour), 0) for colour in (BLUE, VERMILLION)) > 200


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
