"""The data of the figures, from the findings of a sweep with realistic or planted numbers."""

from dataclasses import asdict, replace

import pytest

from sweeps.distill.figures import evens
from sweeps.findings.findings import Findings
from sweeps.report.figures.data import methods, plane
from tests.support.sweeps import builders
from tests.support.sweeps.pictured_sweeps import EVEN, WITH_EVEN
from tests.support.sweeps.reported_sweeps import REPORTED, run


@pytest.fixture(scope="module")
def findings() -> Findings:
    return builders.make_findings(REPORTED, run)


def test_a_method_that_was_not_measured_or_not_tested_is_left_out(findings: Findings) -> None:
    assert methods(replace(findings, rows=tuple(replace(row, measured=None) for row in findings.rows))) == []
    assert methods(replace(findings, rows=tuple(replace(row, test=None) for row in findings.rows))) == []


def test_a_search_without_a_trial_yet_is_left_out(findings: Findings) -> None:
    source, target = findings.surfaces
    data = plane(replace(findings, surfaces=(source, replace(target, trials=()))))
    assert data is not None
    assert [surface.role for surface in data.surfaces] == ["source"]


def test_a_curve_of_one_point_is_not_drawn(findings: Findings) -> None:
    short = {"break_evens": [*WITH_EVEN["break_evens"], asdict(replace(EVEN, curve=EVEN.curve[:1]))]}
    assert evens(replace(findings, own=short)) == (EVEN,)
