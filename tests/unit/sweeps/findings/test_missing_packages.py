"""A light install: a value that needs a missing package is null with the reason; all others are unchanged."""

import json
import sys

import pytest

from sweeps.findings.findings import Findings
from sweeps.operations.operation import decode, encode
from sweeps.report.folder import json_data
from sweeps.report.page import report
from sweeps.report.words import parameter_effect
from sweeps.spec.model import override
from tests.support.sweeps.builders import make_findings
from tests.support.sweeps.planted_sweeps import PLANTED, arms, planted

SEARCHES = override(PLANTED, {"search.trials": 4, "outer.searches": 3, "transfer.seeds": 1})
FURTHER = override(PLANTED, {"search.trials": 12, "transfer.seeds": 1, "search.space": {"epochs": [5, 20]}})
RUN = planted(arms(0.5), luck=0.3)


@pytest.fixture
def _without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)


def _surfaces(findings: Findings) -> list[dict[str, object]]:
    surfaces: list[dict[str, object]] = json_data(findings)["surfaces"]
    return surfaces


def test_with_everything_installed_there_is_no_reason() -> None:
    findings = make_findings(SEARCHES, RUN)
    assert all(surface["top"] is not None and "top_missing" not in surface for surface in _surfaces(findings))
    assert b"_missing" not in encode(Findings, findings)


@pytest.mark.usefixtures("_without")
def test_a_surface_that_cannot_be_fitted_here_is_null_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = make_findings(SEARCHES, RUN)
    for surface in _surfaces(findings):
        assert (surface["top"], surface["top_missing"]) == (None, "needs kd-sweeps[report]")
    assert decode(Findings, encode(Findings, findings)).surfaces == findings.surfaces
    effect = parameter_effect(findings.surfaces[0], findings.spec.score)
    assert effect == "whether T and alpha matter: needs kd-sweeps[report]"
    assert "whether T and alpha matter: needs kd-sweeps[report]" in report(findings)
    light = json.dumps([_less(surface) for surface in _surfaces(findings)])
    monkeypatch.undo()
    assert light == json.dumps([_less(surface) for surface in _surfaces(make_findings(SEARCHES, RUN))])


def _less(surface: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in surface.items() if not key.startswith("top")}


@pytest.mark.usefixtures("_without")
def test_importances_that_cannot_be_computed_here_are_null_with_their_reason() -> None:
    findings = make_findings(FURTHER, RUN)
    for surface in _surfaces(findings):
        assert (surface["importances"], surface["importances_missing"]) == (None, "needs kd-sweeps[train]")
    effect = parameter_effect(findings.surfaces[0], findings.spec.score)
    assert effect == "how much each parameter mattered: needs kd-sweeps[train]"
