"""The page of a sweep in a notebook: complete, isolated from the notebook, available before anything has run."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from storage.url import resolve
from sweeps import Sweep
from sweeps.python.sweep import framed
from sweeps.report import folder
from sweeps.usecases import steering
from tests.support.sweeps.answered_sweeps import accuracies, answered
from tests.support.sweeps.planted_sweeps import analysed
from tests.support.sweeps.small_sweeps import created
from tests.support.sweeps.trials_in_memory import trials_in_memory


class _Frames(HTMLParser):
    """Collect the attributes of every iframe, and all other tags."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[dict[str, str | None]] = []
        self.others: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.frames.append(dict(attrs)) if tag == "iframe" else self.others.append(tag)


def _inside(element: str) -> str:
    """Return the page in the only iframe of an element."""
    parser = _Frames()
    parser.feed(element)
    (frame,) = parser.frames
    assert parser.others == []
    assert frame["sandbox"] in ("", None), "the frame runs no script and has no origin"
    assert "sandbox" in frame
    return frame["srcdoc"] or ""


@pytest.mark.parametrize("page", ['<p title="a">it\'s & &amp; <b>', "'\"&#39;&quot;", "</iframe>"])
def test_a_framed_page_is_unchanged(page: str) -> None:
    assert _inside(framed(page, height=100)) == page


def test_a_finished_sweep_shows_the_page_of_its_report(tmp_path: Path) -> None:
    with trials_in_memory():
        url = answered(tmp_path, accuracies())
    markup = Sweep.open("s", storage=str(url))._repr_html_()
    files = folder.files(analysed(url))

    def plain(page: str) -> str:  # matplotlib renumbers its clip paths
        return re.sub(r"\b[a-z]+[0-9a-f]{10}\b", "id", page)

    assert plain(_inside(markup)) == plain(files[folder.PAGE])


def test_before_the_first_run_the_page_shows_the_plan_and_the_next_command(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/a.db")
    sweep = Sweep.open("s", storage=str(url))
    page = _inside(sweep._repr_html_())
    assert "<code>sweep.run()\n</code>" in page
    assert "Nothing has run yet." in page
    assert "trainings, about" in page
    steering.pause(url, "s")
    assert "<code>sweep.resume()\nsweep.run()\n</code>" in _inside(sweep._repr_html_())


def test_a_missing_sweep_shows_an_error_and_no_traceback(tmp_path: Path) -> None:
    created(f"sqlite:///{tmp_path}/a.db")
    page = _inside(Sweep("other", storage=f"sqlite:///{tmp_path}/a.db")._repr_html_())
    assert "no sweep" in page
    assert resolve(f"sqlite:///{tmp_path}/a.db").database in page
    missing = _inside(Sweep("s", storage=f"sqlite:///{tmp_path}/none.db")._repr_html_())
    assert "kd-sweeps create NAME" in missing
    assert not (tmp_path / "none.db").exists()
