"""The answer inside optuna-dashboard: read back with its own library, and seen in a browser on a running one."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import optuna_dashboard
import pytest
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

from storage.records import queries
from storage.studies.ownership import Owner, owner_of
from storage.studies.studies import Studies, open_studies
from storage.url import resolve
from sweeps.distill.session import Outcome
from sweeps.report.answer import headline
from sweeps.usecases.run import publish
from sweeps.workers.worker import Worker
from tests.support.sweeps.audited_sweeps import finish_sweep
from tests.support.sweeps.planted_sweeps import analysed
from tests.support.sweeps.small_sweeps import FORK, created
from tests.support.web.browser import Browser


def finished(folder: Path) -> str:
    finish_sweep(f"sqlite:///{folder}/s.db")
    return f"sqlite:///{folder}/s.db"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A storage with a finished sweep "s" whose answer is published."""
    url = finished(tmp_path_factory.mktemp("published"))
    publish(resolve(url), "s")
    return url


def test_the_note_begins_with_the_verdict_and_links_to_the_siblings(url: str) -> None:
    study = optuna.load_study(study_name="s", storage=url)
    note = optuna_dashboard.get_note(study)
    found = analysed(resolve(url))
    assert headline(found) in note
    ids = _ids(url)
    assert f"[native](/dashboard/studies/{ids['s.native']})" in note
    assert f"/dashboard/compare-studies?ids={ids['s']},{ids['s.native']})" in note


def test_every_figure_is_a_plot_that_plotly_can_read(url: str) -> None:
    plotly_io = pytest.importorskip("plotly.io")
    plots = get_plotly_graph_objects(_published(url))
    assert list(plots) == ["answer-0"], "the key figure alone"
    for text in plots.values():
        assert len(plotly_io.from_json(text).data) > 0


def test_where_everything_has_failed_nothing_is_published_and_nothing_is_said(
    tmp_path: Path, in_memory: None, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> Outcome:
        raise RuntimeError("no teacher")

    url = created(f"sqlite:///{tmp_path}/s.db")
    with Worker(url, "s", run=broken) as worker:
        assert worker.work() == 0
    publish(url, "s")
    assert capsys.readouterr().err == ""


def _owner(opened: Studies) -> Owner:
    return owner_of(opened.engine, queries.find_sweep(opened.engine, "s").id)


def test_publishing_again_replaces_and_leaves_nothing_of_a_longer_text(tmp_path: Path) -> None:
    url = finished(tmp_path)
    opened = open_studies(resolve(url))
    owner = _owner(opened)
    opened.publish("s", owner=owner, note="x" * 5000, plots={"surface": "y" * 9000})
    opened.publish("s", owner=owner, note="short", plots={"surface": "{}"})
    study = optuna.load_study(study_name="s", storage=url)
    assert optuna_dashboard.get_note(study) == "short"
    assert get_plotly_graph_objects(_published(url)) == {"surface": "{}"}
    opened.close()


def test_a_study_that_was_deleted_is_one_line_and_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = finished(tmp_path)
    optuna.delete_study(study_name="s", storage=url)
    publish(resolve(url), "s")
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("the answer could not be published to the dashboard: study 's' in ")
    assert "kd-sweeps create s" in line


def _published(url: str) -> dict[str, Any]:
    """Everything that the search study has for the dashboard."""
    with contextlib.closing(open_studies(resolve(url))) as opened:
        return dict(opened.storage.get_study_system_attrs(opened.ids()["s"]))


def _ids(url: str) -> dict[str, int]:
    """The number of each study's page in the dashboard."""
    with contextlib.closing(open_studies(resolve(url))) as opened:
        return opened.ids()


@pytest.mark.processes
@pytest.mark.slow_on("sqlite")
def test_two_that_finish_together_publish_once(storage_url: str) -> None:
    url = str(resolve(storage_url).render_as_string(hide_password=False))
    finish_sweep(url)
    before = _published(url)
    both = [FORK.Process(target=publish, args=(resolve(url), "s")) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    after = _published(url)
    assert after["dashboard:note_ver"] == int(str(before["dashboard:note_ver"])) + 1, "the second one wrote nothing"
    assert headline(analysed(resolve(url))) in "".join(str(after[key]) for key in sorted(after) if "note_str" in key)


def test_publishing_the_same_again_writes_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[str] = []
    write = optuna.storages.RDBStorage.set_study_system_attr

    def counting(storage: optuna.storages.RDBStorage, study_id: int, key: str, value: object) -> None:
        written.append(key)
        write(storage, study_id, key, value)

    monkeypatch.setattr(optuna.storages.RDBStorage, "set_study_system_attr", counting)
    before = _published(url)
    publish(resolve(url), "s")
    assert written == []
    assert _published(url) == before
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("writes", [0, 2])
def test_who_publishes_after_one_that_was_killed_midway_leaves_the_whole_answer(
    url: str, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    publish(resolve(url), "s")
    whole = _published(url)
    with contextlib.closing(open_studies(resolve(url))) as studies:
        names = {key.split(":")[2] for key in whole if key.startswith("dashboard:plot_data:")}
        studies.publish("s", owner=_owner(studies), note="x" * 9000, plots=dict.fromkeys(names, "x" * 9000))
    left, write = [writes], optuna.storages.RDBStorage.set_study_system_attr

    def dying(storage: optuna.storages.RDBStorage, study_id: int, key: str, value: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write(storage, study_id, key, value)

    with monkeypatch.context() as killed:
        killed.setattr(optuna.storages.RDBStorage, "set_study_system_attr", dying)
        with pytest.raises(KeyboardInterrupt):
            publish(resolve(url), "s")
    assert _told(_published(url)) != _told(whole)
    publish(resolve(url), "s")
    assert _told(_published(url)) == _told(whole)


def _told(attrs: dict[str, object]) -> dict[str, object]:
    """What the dashboard shows: without the number of the edition, and without parts that were emptied."""
    return {key: value for key, value in attrs.items() if key != "dashboard:note_ver" and value}


@pytest.fixture
def dashboard(url: str, tmp_path: Path) -> Iterator[str]:
    """The address of a running dashboard on that storage."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sweeps.cli", "dashboard", "s", "--port", str(port)]
    environment = os.environ | {"KD_SWEEPS_STORAGE": url}
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, env=environment, stderr=log) as process:
        try:
            address, deadline = f"http://127.0.0.1:{port}/dashboard", time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(f"{address}/", timeout=5).close()
                    break
                except OSError:
                    assert process.poll() is None, (tmp_path / "log").read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.2)
            yield address
        finally:
            process.terminate()


@pytest.mark.processes
def test_who_watches_the_dashboard_sees_the_verdict_and_the_figures(url: str, dashboard: str, tmp_path: Path) -> None:
    browser = Browser(tmp_path / "profile")
    number = _ids(url)["s"]
    found = analysed(resolve(url))
    verdict = headline(found).replace(">", "&gt;")
    assert verdict in browser.dom(f"{dashboard}/studies/{number}/note")
    assert "What T and α gain and lose on digits-rgb" in browser.dom(f"{dashboard}/studies/{number}")


MARKUP = """<script>document.title = "owned"</script><img src="x" onerror="document.title = 'owned'">
[a](javascript:alert(1)) <b>bold</b> plain words
"""


@pytest.mark.processes
def test_markup_in_a_note_is_text_in_the_dashboard(url: str, dashboard: str, tmp_path: Path) -> None:
    with contextlib.closing(open_studies(resolve(url))) as studies:
        studies.publish("s", owner=_owner(studies), note=MARKUP, plots={})
    shown = Browser(tmp_path / "profile").dom(f"{dashboard}/studies/{_ids(url)['s']}/note")
    assert "plain words" in shown
    assert "<title>owned" not in shown
    for live in ("<img src", "<script>document", 'href="javascript', "<b>bold"):
        assert live not in shown
