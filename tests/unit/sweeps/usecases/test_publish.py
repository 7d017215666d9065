"""The answer inside optuna-dashboard, read with its library and in a browser."""

import contextlib
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest

from storage.records import queries
from storage.studies.ownership import Owner, owner_of
from storage.studies.studies import Studies, open_studies
from storage.url import resolve
from sweeps.report.answer import headline
from sweeps.spec.model import override
from sweeps.usecases.run import plots, publish, study_note
from tests.support.sweeps.audited_sweeps import finish_sweep
from tests.support.sweeps.planted_sweeps import analysed, failing, work
from tests.support.sweeps.small_sweeps import SMALL, created
from tests.support.web.browser import Browser


def finished(folder: Path) -> str:
    finish_sweep(f"sqlite:///{folder}/s.db")
    return f"sqlite:///{folder}/s.db"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a storage with a finished, published sweep "s"."""
    url = finished(tmp_path_factory.mktemp("published"))
    publish(resolve(url), "s")
    return url


def test_every_figure_is_a_plot_that_plotly_can_read(url: str) -> None:
    from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

    plotly_io = pytest.importorskip("plotly.io")
    plots = get_plotly_graph_objects(_published(url))
    assert list(plots) == ["answer-0"], "only the key figure is published"
    for text in plots.values():
        assert len(plotly_io.from_json(text).data) > 0


def test_if_everything_has_failed_nothing_is_published_or_printed(
    tmp_path: Path, in_memory: None, capsys: pytest.CaptureFixture[str]
) -> None:
    url = created(f"sqlite:///{tmp_path}/s.db", override(SMALL, {"retry.error": 1}))
    work(url, failing("no teacher"))
    publish(url, "s")
    assert capsys.readouterr().err == ""


def _owner(opened: Studies) -> Owner:
    return owner_of(opened.engine, queries.find_sweep(opened.engine, "s").id)


def test_a_deleted_study_gives_a_one_line_warning_and_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = finished(tmp_path)
    optuna.delete_study(study_name="s", storage=url)
    publish(resolve(url), "s")
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("could not publish the answer to optuna-dashboard: study 's' in ")
    assert "kd-sweeps create s" in line


def _published(url: str) -> dict[str, Any]:
    """Return all system attributes of the search study."""
    with contextlib.closing(open_studies(resolve(url))) as opened:
        return dict(opened.storage.get_study_system_attrs(opened.ids()["s"]))


def _ids(url: str) -> dict[str, int]:
    with contextlib.closing(open_studies(resolve(url))) as opened:
        return opened.ids()


def test_two_workers_that_finish_together_publish_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both use the lock of `create`, which test_create checks on both databases."""
    url, barrier, meetings, write = finished(tmp_path), threading.Barrier(2), [], Studies.publish

    def meeting(*arguments: Any, **options: Any) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(0.5)
            meetings.append("at once")
        write(*arguments, **options)

    monkeypatch.setattr(Studies, "publish", meeting)
    before = _published(url)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: publish(resolve(url), "s"), range(2)))
    after = _published(url)
    assert (meetings, capsys.readouterr().err) == ([], "")
    assert after["dashboard:note_ver"] == int(str(before["dashboard:note_ver"])) + 1, (
        "the second publish writes nothing"
    )
    assert headline(analysed(resolve(url))) in "".join(str(after[key]) for key in sorted(after) if "note_str" in key)


def test_publishing_again_writes_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys: list[str] = []
    write = optuna.storages.RDBStorage.set_study_system_attr

    def counting(storage: optuna.storages.RDBStorage, study_id: int, key: str, value: object) -> None:
        keys.append(key)
        write(storage, study_id, key, value)

    monkeypatch.setattr(optuna.storages.RDBStorage, "set_study_system_attr", counting)
    before = _published(url)
    publish(resolve(url), "s")
    assert keys == []
    assert _published(url) == before
    assert capsys.readouterr().err == ""


def test_publishing_after_a_killed_publish_leaves_the_whole_answer(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _published(url)
    with contextlib.closing(open_studies(resolve(url))) as studies:
        names = {key.split(":")[2] for key in whole if key.startswith("dashboard:plot_data:")}
        studies.publish("s", owner=_owner(studies), note="x" * 9000, plots=dict.fromkeys(names, "x" * 9000))
    left, write = [2], optuna.storages.RDBStorage.set_study_system_attr

    def dying(storage: optuna.storages.RDBStorage, study_id: int, key: str, value: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write(storage, study_id, key, value)

    with monkeypatch.context() as killed:
        killed.setattr(optuna.storages.RDBStorage, "set_study_system_attr", dying)
        with pytest.raises(KeyboardInterrupt):
            publish(resolve(url), "s")
    assert _displayed(_published(url)) != _displayed(whole)
    publish(resolve(url), "s")
    assert _displayed(_published(url)) == _displayed(whole)


def _displayed(attrs: dict[str, object]) -> dict[str, object]:
    """Return what the dashboard displays, without version numbers and emptied parts."""
    return {key: value for key, value in attrs.items() if key != "dashboard:note_ver" and value}


MARKUP = """<script>document.title = "owned"</script><img src="x" onerror="document.title = 'owned'">
[a](javascript:alert(1)) <b>bold</b> plain words
"""


@pytest.mark.processes
def test_the_dashboard_displays_figures_and_verdict_and_escapes_markup_of_a_note(
    url: str, browser: Browser, tmp_path: Path
) -> None:
    findings, number = analysed(resolve(url)), _ids(url)["s"]
    with contextlib.closing(open_studies(resolve(url))) as studies:
        note = f"{study_note(findings, _ids(url))}\n{MARKUP}"
        studies.publish("s", owner=_owner(studies), note=note, plots=plots(findings))
    command = [sys.executable, "-m", "sweeps.cli", "dashboard", "s", "--port", "0"]
    environment = os.environ | {"KD_SWEEPS_STORAGE": url}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            address = next(urls[0] for line in process.stderr if (urls := re.findall(r"http://\S+?:\d+/", line)))
            study = f"{address}dashboard/studies/{number}"
            assert "What T and α gain on digits-rgb" in browser.dom(study)
            page = browser.dom(f"{study}/note")
        finally:
            process.terminate()
    assert headline(findings).replace(">", "&gt;") in page
    assert "plain words" in page
    assert "<title>owned" not in page
    for live in ("<img src", "<script>document", 'href="javascript', "<b>bold"):
        assert live not in page
