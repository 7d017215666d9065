"""The same headline, verdict and answer hash in every view of a sweep."""

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from sweeps.findings.findings import Findings
from sweeps.report.answer import announced, badge, headline
from sweeps.usecases.run import run_sweep, study_note
from tests.support.sweeps.answered_sweeps import accuracies, answered
from tests.support.sweeps.planted_sweeps import analysed
from tests.support.sweeps.trials_in_memory import trials_in_memory
from tests.support.sweeps.typed_commands import KdSweeps


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlalchemy.URL]:
    """Yield the URL of a finished sweep "s" with a headline of two sentences and an open question."""
    with trials_in_memory():
        yield answered(tmp_path_factory.mktemp("answer"), accuracies(1.0, gain=0.5))


@pytest.fixture(scope="module")
def findings(url: sqlalchemy.URL) -> Findings:
    return analysed(url)


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_every_view_of_a_sweep_agrees(
    url: sqlalchemy.URL, findings: Findings, kd_sweeps: KdSweeps, capsys: pytest.CaptureFixture[str]
) -> None:
    answer, verdict, storage = headline(findings), badge(findings).text, ["--storage", str(url)]
    assert run_sweep(url, "s", findings.spec, workers=1, data_dir=None) == 0
    ran = capsys.readouterr()
    assert ran.err.splitlines()[-3:] == [announced(findings), "", "Full page with figures: s-report/report.html"]
    texts = {
        "run": ran.out,
        "page": kd_sweeps("report", "s", *storage)[1],
        "dashboard": study_note(findings, {"s": 1}),
        **{name: Path("s-report", name).read_text() for name in ("report.html", "report.md")},
        "brief": kd_sweeps("report", "s", "-f", "brief", *storage)[1],
        "best": kd_sweeps("best", "s", *storage)[1],
        "status": kd_sweeps("status", "s", *storage)[1],
    }
    for name in ("run", "page", "dashboard", "report.md"):
        assert f"\n# {answer}\n\n**{verdict}**\n" in texts[name]
    assert f"<h1>{html.escape(answer)}</h1>" in texts["report.html"]
    assert f">{html.escape(verdict)}</span>" in texts["report.html"]
    assert one_line(texts["brief"]).endswith(f"{verdict}. {answer}")
    assert f"answer {verdict}. {answer} digits: " in one_line(texts["best"])
    assert findings.answer_hash is not None
    hashes = {name: re.findall(r"answer hash +([0-9a-f]{12})", text) for name, text in texts.items()}
    assert hashes == {name: [findings.answer_hash] for name in texts}
    data = json.loads(kd_sweeps("report", "s", "-f", "json", *storage)[1])
    assert (data["headline"], data["verdict"], data["answer_hash"]) == (answer, verdict, findings.answer_hash)
