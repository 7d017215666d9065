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
def found() -> Findings:
    return builders.found(REPORTED, run)


def test_a_method_that_was_not_measured_or_not_tested_is_left_out(found: Findings) -> None:
    assert methods(replace(found, rows=tuple(replace(row, measured=None) for row in found.rows))) == []
    assert methods(replace(found, rows=tuple(replace(row, test=None) for row in found.rows))) == []


def test_a_search_without_a_trial_yet_is_left_out(found: Findings) -> None:
    source, target = found.surfaces
    shown = plane(replace(found, surfaces=(source, replace(target, trials=()))))
    assert shown is not None
    assert [surface.role for surface in shown.surfaces] == ["source"]


def test_a_curve_of_one_point_is_not_drawn(found: Findings) -> None:
    short = {"break_evens": [*WITH_EVEN["break_evens"], asdict(replace(EVEN, curve=EVEN.curve[:1]))]}
    assert evens(replace(found, own=short)) == (EVEN,)
