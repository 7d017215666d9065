"""The surface of the searches on each dataset, compared with the stored trainings."""

import math
from collections.abc import Iterator
from dataclasses import astuple, replace
from statistics import fmean
from typing import Any
from unittest import mock

import pytest
from scipy import stats

from storage.tables import TaskRecord
from sweeps.findings.load import StoredSweep
from sweeps.findings.surfaces import Surface, confirmed_points, surfaces
from sweeps.spec.model import override
from sweeps.stats.top import Run
from tests.support.sweeps import builders
from tests.support.sweeps.planted_sweeps import PLANTED, arms, planted

FIRST, FURTHER = ("", "t0s1", "t0s2"), 5
SPEC = override(
    PLANTED,
    {
        "search.trials": 8,
        "confirm.rounds": [[3, 2], [2, 2]],
        "transfer.seeds": 1,
        "outer.teachers": 2,
        "outer.searches": 3,
        "outer.trials": FURTHER,
        "outer.rounds": [[2, 1]],
    },
)


@pytest.fixture(scope="module", autouse=True)
def _unfitted() -> Iterator[None]:
    """Replace each fit by its runs; tests/unit/sweeps/stats/test_response.py tests the fit."""
    with mock.patch("sweeps.stats.response.top", tuple):
        yield


@pytest.fixture(scope="module")
def stored() -> StoredSweep:
    """Return three searches with each of two teachers."""
    return builders.stored(SPEC, planted(arms(0.5), luck=0.3))


@pytest.fixture
def source(stored: StoredSweep) -> Surface:
    return surfaces(stored, confirmed_points(stored))[0]


def accuracy(task: TaskRecord) -> float:
    assert task.score is not None
    return 100 * task.score


def done_of(stored: StoredSweep, phase: str) -> list[TaskRecord]:
    """Return the finished tasks of a phase."""
    return [task for task in stored.rows if (task.phase, task.state) == (phase, "done")]


def trainings(stored: StoredSweep, stage: str) -> Iterator[TaskRecord]:
    """Yield the trainings of the first teacher, search by search: trials, then confirms."""
    prefix = "" if stage == "search" else "native:"
    for group in FIRST:
        tag = f"@{group}" if group else ""
        for phase in ("search", "confirm:1", "confirm"):
            yield from done_of(stored, f"{prefix}{phase}{tag}")


def runs_of(stored: StoredSweep, stage: str) -> list[Run]:
    """Return those trainings as runs, scaled to the search space: T from 1 to 20, alpha from 0 to 1."""
    runs = []
    for task in trainings(stored, stage):
        assert task.params is not None
        x = math.log(task.params["temperature"]) / math.log(20)
        runs.append(Run(x, task.params["alpha"], accuracy(task), task.payload["seed"]))
    return runs


def test_the_first_search_gets_ties_and_optimism_from_its_confirm(stored: StoredSweep, source: Surface) -> None:
    target = surfaces(stored, confirmed_points(stored))[1]
    assert (source.role, source.dataset, target.role, target.dataset) == ("source", "digits", "target", "digits-rgb")
    assert [trial.accuracy for trial in source.trials] == [accuracy(task) for task in done_of(stored, "search")]
    shared = [trial for trial in source.trials if trial.shared]
    assert [trial.number for trial in shared] == list(range(4)), "the Sobol half is shared, the TPE half is not"
    assert [trial.point for trial in shared] == [trial.point for trial in target.trials if trial.shared]

    best = confirmed_points(stored)["source"].best
    assert source.best == best.point
    by_point: dict[tuple[float, ...], list[float]] = {}
    for task in (*done_of(stored, "confirm:1"), *done_of(stored, "confirm")):
        assert task.params is not None
        by_point.setdefault(tuple(task.params.values()), []).append(accuracy(task))
    assert sorted(map(len, by_point.values())) == [2, 4, 4], "two rounds"
    incumbent = max(source.trials, key=lambda trial: trial.accuracy)
    confirm_scores = by_point[incumbent.point["temperature"], incumbent.point["alpha"]]
    assert source.optimism == pytest.approx(incumbent.accuracy - fmean(confirm_scores))
    assert source.optimism != 0
    winner = by_point.pop((best.point["temperature"], best.point["alpha"]))
    tied = set()
    for point, scores in by_point.items():
        low, high = stats.ttest_rel(winner[: len(scores)], scores).confidence_interval()
        tied |= {point} if low <= 0 <= high else set()
    assert {(point["temperature"], point["alpha"]) for point in source.tied} == tied


def test_trials_of_further_searches_of_the_first_teacher_are_included(stored: StoredSweep, source: Surface) -> None:
    expected = [accuracy(task) for group in FIRST[1:] for task in done_of(stored, f"search@{group}")]
    assert [trial.accuracy for trial in source.others] == expected
    assert len(expected) == 2 * FURTHER
    assert [trial.number for trial in source.others] == [*range(FURTHER), *range(FURTHER)]
    elsewhere = {accuracy(task) for task in done_of(stored, "search@t1s0")}
    assert not elsewhere & {trial.accuracy for trial in (*source.trials, *source.others)}


@pytest.mark.parametrize(("number", "stage"), [(0, "search"), (1, "native")])
def test_the_share_of_good_points_is_fitted_to_all_trainings_of_the_first_teacher(
    stored: StoredSweep, number: int, stage: str
) -> None:
    runs = runs_of(stored, stage)
    assert len(runs) == 8 + 6 + 4 + 2 * (FURTHER + 2)
    # one seed for each search, and one for each repeat of its confirm
    assert len({run.seed for run in runs}) == (1 + 4) + 2 * (1 + 1)
    assert fitted(stored, number) == list(map(pytest.approx, map(astuple, runs)))


def fitted(stored: StoredSweep, number: int) -> list[tuple[float, ...]]:
    """Return the runs to which the surface of the source (0) or the target (1) is fitted."""
    runs: Any = surfaces(stored, {})[number].top
    return list(map(astuple, runs))


def test_the_share_of_good_points_needs_three_finished_searches(stored: StoredSweep) -> None:
    without = replace(stored, closed=stored.closed - {"confirm@t0s2"})
    source, target = surfaces(without, {})
    assert source.top is None
    assert target.top is not None, "its own searches are finished"
    assert len(source.others) == 2 * FURTHER, "trials are shown before their search ends"
    others = replace(stored, closed=stored.closed - {"confirm@t1s0", "confirm@t1s1", "confirm@t1s2"})
    assert surfaces(others, {})[0].top is not None, "searches of other teachers are not needed"


def test_a_range_of_a_single_value_is_placed_in_the_middle_of_its_axis(stored: StoredSweep) -> None:
    narrow = replace(stored, spec=override(stored.spec, {"search.alpha": [0.3, 0.3]}))
    runs = [astuple(replace(run, y=0.5)) for run in runs_of(stored, "search")]
    assert fitted(narrow, 0) == list(map(pytest.approx, runs))


def test_before_the_confirm_there_are_only_trials() -> None:
    begun = builders.stored(SPEC, arms(0.5), until="confirm#")
    source = surfaces(begun, confirmed_points(begun))[0]
    assert len(source.trials) == 8
    assert (source.best, source.tied, source.optimism, source.top) == (None, (), None, None)
