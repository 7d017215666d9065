"""One sweep, one answer: the same headline, verdict and answer hash wherever one reads them."""

import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy

from sweeps.findings.findings import Findings
from sweeps.report.answer import badge, headline
from sweeps.spec.model import override
from sweeps.usecases.run import run_sweep, study_note
from tests.support.sweeps.answered_sweeps import OVER_SEARCHES, OVER_SEEDS, accuracies, answered
from tests.support.sweeps.planted_sweeps import analysed
from tests.support.sweeps.trials_in_memory import trials_in_memory

KdSweeps = Callable[..., tuple[int, str, str]]

ANSWERS = {
    "transfers over searches": (OVER_SEARCHES, accuracies((0.2, 0.5, 0.8), untuned=0.5, source=0.5)),
    "fails over seeds": (OVER_SEEDS, accuracies(3.5)),
    "undecided": (OVER_SEEDS, accuracies(1.0, gain=0.5)),
    "no verdict": (override(OVER_SEEDS, {"transfer.seeds": 1}), accuracies(1.0)),
}


@pytest.fixture(scope="module", params=list(ANSWERS))
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlalchemy.URL]:
    """A finished sweep "s"."""
    spec, planned = ANSWERS[request.param]
    with trials_in_memory():
        yield answered(tmp_path_factory.mktemp("answer"), planned, spec)


@pytest.fixture(scope="module")
def findings(url: sqlalchemy.URL) -> Findings:
    return analysed(url)


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_every_way_to_read_a_sweep_says_the_same(url: sqlalchemy.URL, findings: Findings, kd_sweeps: KdSweeps) -> None:
    said, verdict, storage = headline(findings), badge(findings).text, ["--storage", str(url)]
    page = kd_sweeps("report", "s", *storage)[1]
    brief = kd_sweeps("report", "s", "-f", "brief", *storage)[1]
    data = json.loads(kd_sweeps("report", "s", "-f", "json", *storage)[1])
    best = kd_sweeps("best", "s", *storage)[1]
    written = kd_sweeps("report", "s", "-o", "folder", *storage)[1]
    files = {name: Path("folder", name).read_text() for name in ("report.html", "report.md")}
    dashboard = study_note(findings, {"s": 1})

    assert f"\n# {said}\n\n**{verdict}**\n" in page
    assert f"\n# {said}\n\n**{verdict}**\n" in files["report.md"]
    assert f"\n# {said}\n\n**{verdict}**\n" in dashboard
    assert f"<h1>{html.escape(said)}</h1>" in files["report.html"]
    assert f">{html.escape(verdict)}</span>" in files["report.html"]
    assert one_line(brief).endswith(f"{verdict}. {said}")
    assert f"answer {verdict}. {said} On digits " in one_line(best)
    assert (data["headline"], data["verdict"]) == (said, verdict)
    assert written == f"{said}\n"

    assert findings.answer_hash is not None
    status = kd_sweeps("status", "s", *storage)[1]
    hashes = {
        name: re.findall(r"answer hash +([0-9a-f]{12})", text)
        for name, text in {
            "page": page,
            "brief": brief,
            "best": best,
            "note": dashboard,
            "status": status,
            **files,
        }.items()
    }
    assert hashes == {name: [findings.answer_hash] for name in hashes}
    assert data["answer_hash"] == findings.answer_hash


def test_run_ends_with_the_answer_and_prints_the_page_into_a_pipe(
    url: sqlalchemy.URL,
    findings: Findings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_sweep(url, "s", findings.spec, workers=1, data_dir=None) == 0
    out = capsys.readouterr()
    assert f"\n# {headline(findings)}\n" in out.out
    assert out.err.splitlines()[-3:] == [
        headline(findings),
        "",
        "The whole page, with figures: s-report/report.html",
    ]
    assert headline(findings) in Path("s-report/report.md").read_text()


def test_run_ends_with_the_headline_on_a_terminal(
    url: sqlalchemy.URL,
    findings: Findings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sweeps.usecases.run.columns", lambda: 60)
    assert run_sweep(url, "s", findings.spec, workers=1, data_dir=None) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 60
    assert one_line(printed).endswith(f"{badge(findings).text}. {headline(findings)}")
    assert "\nThe page: s-report/report.html\n" in printed
    assert f"\nanswer hash {findings.answer_hash}\n" in printed
