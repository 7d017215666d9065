"""The report as JSON: plain values under the names and in the units of the findings."""

import json
from typing import Any

import pytest

from sweeps.findings.findings import Findings
from sweeps.report.answer import badge, headline
from sweeps.report.folder import json_data
from tests.support.sweeps.answered_sweeps import OVER_SEARCHES, OVER_SEEDS, accuracies
from tests.support.sweeps.builders import make_findings
from tests.support.sweeps.reported_sweeps import REPORTED, run


@pytest.fixture(scope="module")
def findings() -> Findings:
    return make_findings(OVER_SEARCHES, accuracies((1.3, 1.6, 1.9)))


def plain(findings: Findings) -> Any:
    """Return the data as another program reads it; NaN is not JSON."""
    return json.loads(json.dumps(json_data(findings), allow_nan=False))


def test_the_json_has_the_answer_in_words_and_in_numbers(findings: Findings) -> None:
    data = plain(findings)
    assert (data["headline"], data["verdict"]) == (headline(findings), badge(findings).text)
    (verdict,) = data["verdicts"]
    assert (verdict["verdict"]["word"], verdict["regret"]["searches"]) == ("UNDECIDED", 3)
    assert verdict["regret"]["estimate"]["mean"] == pytest.approx(1.6)
    assert verdict["by_search"] == pytest.approx([1.3, 1.6, 1.9])
    searches = data["outer"]["target"]
    assert [search["group"] for search in searches] == ["t0s0", "t0s1", "t0s2"]
    assert [search["regret"]["mean"] for search in searches] == pytest.approx([1.3, 1.6, 1.9])
    assert all({"temperature", "alpha"} <= set(search["best"]) for search in searches)
    assert data["answer_hash"] == findings.answer_hash is not None
    assert (data["sweep"], data["fingerprint"]) == ("s", findings.fingerprint)
    assert data["spec"] == findings.spec.as_dict()


def test_the_json_has_the_tuned_points_and_the_fitted_surfaces(findings: Findings) -> None:
    data = plain(findings)
    for key, role in (("best", "source"), ("native", "target")):
        point = findings.confirmed[role].best.point
        assert (data[key]["temperature"], data[key]["alpha"]) == (point["temperature"], point["alpha"])
    for values, surface in zip(data["surfaces"], findings.surfaces, strict=True):
        fitted = ("share", "low", "high", "tolerance", "word")
        assert values["top"] == {name: getattr(surface.top, name) for name in fitted}
        assert [trial["number"] for trial in values["points"]] == [0, 1]


def test_rows_differences_and_controls_equal_the_findings() -> None:
    findings = make_findings(REPORTED, run)
    data = plain(findings)
    assert [(row["method"], row["dataset"]) for row in data["rows"]] == [
        (row.method, row.dataset) for row in findings.rows
    ]
    measured = next(row for row in data["rows"] if row["method"] == "mobilenet")["measured"]
    assert measured["bytes"] == 113_000
    explains = [control.explains for control in findings.controls]
    assert [control["explains"] for control in data["controls"]] == explains == [True]
    assert len(data["differences"]) == len(findings.differences)


def test_before_the_comparison_its_values_are_null() -> None:
    data = plain(make_findings(OVER_SEEDS, {}, until="transfer"))
    assert data["verdict"] == "NOT YET: 0 of 20 transfer trainings are done"
    assert data["verdicts"][0]["verdict"] is None
    assert data["verdicts"][0]["regret"] is None
    assert data["answer_hash"] is None
    assert data["outer"] == {"target": []}
    assert {difference["points"] for difference in data["differences"]} == {None}
