"""A report for other programs: plain values, under the names and in the units of the findings."""

import json
from pathlib import Path
from typing import Any

import pytest

from sweeps.findings.findings import Findings
from sweeps.report.folder import json_data
from tests.support.sweeps.answered_sweeps import OVER_SEARCHES, accuracies, begun, found
from tests.support.sweeps.planted_sweeps import analysed
from tests.support.sweeps.reported_sweeps import analysed as reported
from tests.support.sweeps.reported_sweeps import worked


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return found(tmp_path_factory.mktemp("json"), accuracies((1.3, 1.6, 1.9)), OVER_SEARCHES)


def plain(findings: Findings) -> Any:
    """As another program reads it; NaN would be no JSON."""
    return json.loads(json.dumps(json_data(findings), allow_nan=False))


def test_the_answer_is_there_in_words_and_in_numbers(findings: Findings) -> None:
    data = plain(findings)
    assert data["headline"].startswith("Distillation gains 5.0 points on digits-rgb. Whether T and α tuned on digits")
    assert data["verdict"] == "UNDECIDED: less than 2 points lost, or more; 4 more searches would tell"
    (verdict,) = data["verdicts"]
    assert verdict["verdict"]["word"] == "UNDECIDED"
    assert verdict["regret"]["estimate"]["mean"] == pytest.approx(1.6)
    assert verdict["regret"]["searches"] == 3
    assert verdict["by_search"] == pytest.approx([1.3, 1.6, 1.9])
    assert data["answer_hash"] == findings.answer_hash is not None
    assert (data["sweep"], data["fingerprint"]) == ("s", findings.fingerprint)
    assert data["spec"] == findings.spec.as_dict()


def test_what_was_tuned_and_whether_it_matters(findings: Findings) -> None:
    data = plain(findings)
    for key, role in (("best", "source"), ("native", "target")):
        point = findings.confirmed[role].best.point
        assert (data[key]["temperature"], data[key]["alpha"]) == (point.temperature, point.alpha)
    for surface, one in zip(data["surfaces"], findings.surfaces, strict=True):
        assert one.top is not None
        assert surface["top"] == {
            "share": one.top.share,
            "low": one.top.low,
            "high": one.top.high,
            "tolerance": one.top.tolerance,
            "word": one.top.word,
        }
        assert [trial["number"] for trial in surface["points"]] == [0, 1]


def test_the_regret_of_every_search(findings: Findings) -> None:
    groups = plain(findings)["outer"]["target"]
    assert [one["group"] for one in groups] == ["t0s0", "t0s1", "t0s2"]
    assert [one["regret"]["mean"] for one in groups] == pytest.approx([1.3, 1.6, 1.9])
    assert all({"temperature", "alpha"} <= set(one["best"]) for one in groups)


def test_rows_differences_and_controls_are_those_of_the_findings(tmp_path: Path) -> None:
    findings = reported(worked(tmp_path))
    data = plain(findings)
    assert [(row["method"], row["dataset"]) for row in data["rows"]] == [
        (row.method, row.dataset) for row in findings.rows
    ]
    measured = next(row for row in data["rows"] if row["method"] == "mobilenet")["measured"]
    assert measured["bytes"] == 113_000
    assert [one["explains"] for one in data["controls"]] == [one.explains for one in findings.controls] == [True]
    assert len(data["differences"]) == len(findings.differences)


def test_before_anything_was_compared_the_values_are_empty(tmp_path: Path) -> None:
    data = plain(analysed(begun(tmp_path)))
    assert data["verdict"] == "NOT YET: 0 of 20 transfer trainings are done"
    assert data["verdicts"][0]["verdict"] is None
    assert data["verdicts"][0]["regret"] is None
    assert data["answer_hash"] is None
    assert data["outer"] == {"target": []}
    assert {one["points"] for one in data["differences"]} == {None}
