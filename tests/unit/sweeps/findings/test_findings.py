"""Findings from planted results: verdicts, surfaces, controls, several targets, several searches."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from scipy import stats

from sweeps.distill.presets import on
from sweeps.findings.findings import Findings, findings
from sweeps.findings.load import StoredSweep
from sweeps.plan.jobs import AnyJob
from sweeps.plan.phases import Phase
from sweeps.spec.model import override
from sweeps.spec.tables import Group
from sweeps.stats.estimates import Estimate
from sweeps.trainers.protocol import Point
from sweeps.workers.runner import Outcome
from tests.support.points import at
from tests.support.present import present
from tests.support.sweeps import builders
from tests.support.sweeps.planted_sweeps import NATIVE, PLANTED, arms, below, planted

FEW = override(PLANTED, {"search.trials": 4})


def test_a_control_explains_a_gain_if_it_gains_as_much() -> None:
    spec = override(
        FEW, {"transfer.source_arms": ["best", "scratch"], "transfer.target_arms": ["best", "scratch", "class-mean"]}
    )
    tests = {"best": NATIVE, "scratch": below(5.0), "class-mean": below(0.5)}
    (control,) = builders.make_findings(spec, tests).controls
    assert (control.arm, control.role, control.dataset) == ("class-mean", "target", "digits-rgb")
    assert control.explains
    assert control.gain == Estimate(pytest.approx(4.5), pytest.approx(4.5), pytest.approx(4.5), 4)
    half = stats.t.ppf(0.975, 3) / 2
    assert (control.beyond.low, control.beyond.high) == pytest.approx((0.5 - half, 0.5 + half))
    for gain, beyond, explains in (
        (Estimate(2.0, -0.1, 4.1, 4), control.beyond, False),  # the gain of the control is within the noise
        (control.gain, Estimate(2.0, 0.1, 3.9, 4), False),  # best gains more
        (control.gain, Estimate(-2.0, -3.0, -1.0, 4), True),  # best gains less
        (Estimate(2.0, None, None, 1), Estimate(0.0, None, None, 1), False),  # one seed has no interval
    ):
        variant = type(control)(arm="", role="", dataset="", gain=gain, beyond=beyond, best=control.best)
        assert variant.explains == explains
    nothing = Estimate(0.5, -0.1, 1.1, 4)  # the gain of best is within the noise: nothing to explain
    assert not replace(control, best=nothing).explains


def test_every_target_has_its_own_verdict_surface_and_rows() -> None:
    """The point transfers to one target and fails on the other."""
    spec = override(on(FEW, targets=["digits-rgb", "mine.npz"]), {"target2.images": 180})
    several = builders.make_findings(
        spec, {f"transfer#target2.{arm}": points for arm, points in arms(3.5).items()} | arms(0.5)
    )
    first, second = several.verdicts
    assert (first.verdict and first.verdict.word, second.verdict and second.verdict.word) == ("TRANSFERS", "FAILS")
    other = several.spec.role("target2").dataset
    assert [surface.dataset for surface in several.surfaces] == ["digits", "digits-rgb", other]
    rows = {(row.method, row.dataset): row for row in several.rows}
    for dataset, best in (("digits-rgb", 70.0), (other, 67.0)):
        test = present(rows["best", dataset].test)
        assert (100 * test.mean, test.n) == (pytest.approx(best), 4)
        assert rows["native", dataset].status == "done"
    assert ("native", "digits") not in rows
    teacher_datasets = [row.dataset for row in several.rows if row.method.startswith("teacher")]
    assert teacher_datasets == ["digits", "digits-rgb", other]
    regrets = [d for d in several.differences if d.name.startswith("regret")]
    assert [(d.dataset, d.points and round(d.points.mean, 6)) for d in regrets] == [("digits-rgb", 0.5), (other, 3.5)]


REGRETS = {"": 0.5, "t0s1": 1.5, "t1s0": 3.0, "t1s1": 5.0}


@pytest.fixture(scope="module")
def stored() -> StoredSweep:
    """Return two teachers with two searches each, whose regrets are REGRETS."""
    spec = override(FEW, {"outer.teachers": 2, "outer.searches": 2})
    runs = {group: planted(arms(regret)) for group, regret in REGRETS.items()}

    def run(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        return runs.get(claim.row.payload.get("group", ""), runs[""])(claim, params, on_step)

    return builders.stored(spec, run)


@pytest.fixture(scope="module")
def outer(stored: StoredSweep) -> Findings:
    return findings(stored)


def test_every_teacher_and_search_has_its_regret_and_the_verdict_is_that_of_the_first_teacher(
    outer: Findings, stored: StoredSweep
) -> None:
    (target,) = outer.outer
    searches = target.groups
    assert (target.role, target.dataset) == ("target", "digits-rgb")
    assert [(search.group, search.teacher) for search in searches] == [
        (f"{t}{s}", t) for t in ("t0", "t1") for s in ("s0", "s1")
    ]
    assert [search.regret.mean for search in searches] == pytest.approx(list(REGRETS.values()))
    assert [search.regret.n for search in searches] == [4] * 4
    for arm in ("best", "native"):
        assert [getattr(search, arm) for search in searches] == [
            _point_of(stored, arm, search.group.replace("t0s0", "")) for search in searches
        ], "each search has its own points"
        assert len({getattr(search, arm) for search in searches}) == 4
    (first,) = outer.verdicts
    assert (first.verdict and first.verdict.word, first.planned) == ("TRANSFERS", 16 + 3 * 4)
    assert (first.unit, first.by_search) == ("seed", pytest.approx((0.5, 1.5))), "with two searches, seeds are the unit"


def _point_of(stored: StoredSweep, arm: str, group: str) -> Point:
    """Return the point at which the students of an arm and a search were trained."""
    phase = Phase.transfer("target", Group.parse(group)).name
    tasks = [task for task in stored.rows if (task.phase, task.payload.get("arm")) == (phase, arm)]
    (point,) = {at(task.params["temperature"], task.params["alpha"]) for task in tasks if task.params}
    return point


def test_the_interval_over_teachers_averages_their_searches(outer: Findings) -> None:
    interval = outer.outer[0].over_teachers
    expected = stats.ttest_1samp([1.0, 4.0], 0).confidence_interval()
    assert interval == Estimate(pytest.approx(2.5), pytest.approx(expected.low), pytest.approx(expected.high), 2)
