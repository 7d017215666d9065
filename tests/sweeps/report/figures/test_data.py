"""What the figures show, from the findings of a sweep that looks like a real one."""

from dataclasses import replace

import pytest

from sweeps.analysis.findings import Findings
from sweeps.analysis.trainings import accuracies
from sweeps.report.figures.data import by_dataset, pictures, short, title
from tests.support.sweeps.reported_sweeps import analysed, worked


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return analysed(worked(tmp_path_factory.mktemp("data")))


def test_an_arm_has_every_seed_and_their_mean(found: Findings) -> None:
    shown = pictures(found)
    marks = {(mark.dataset, mark.arm): mark for mark in shown.arms}
    seeds = tuple(accuracies(found.trainings, "target", "native").values())
    assert marks["digits-rgb", "native"].seeds == seeds
    assert marks["digits-rgb", "native"].mean.mean == pytest.approx(sum(seeds) / len(seeds))
    assert ("digits", "native") not in marks
    assert list(by_dataset(shown.arms)) == ["digits", "digits-rgb"]


def test_a_method_is_drawn_where_its_cost_is_known(found: Findings) -> None:
    untimed = replace(found, rows=tuple(replace(row, measured=None) for row in found.rows))
    assert pictures(found).latency
    assert pictures(untimed).latency == ()
    assert pictures(untimed).training == pictures(found).training
    assert {mark.kind for mark in pictures(found).training} == {"teacher", "arm", "baseline"}


def test_each_dataset_has_a_front_of_its_own(found: Findings) -> None:
    for marks in by_dataset(pictures(found).training).values():
        front = [mark for mark in marks if mark.on_front]
        assert max(marks, key=lambda mark: mark.accuracy) in front
        assert min(mark.cost for mark in marks) in {mark.cost for mark in front}


def test_titles_are_short(found: Findings) -> None:
    assert [title(surface) for surface in pictures(found).surfaces] == [
        "search on digits",
        "native search on digits-rgb",
    ]
    assert short("/a/b/mine.npz") == short("c:\\mine.npz") == "mine.npz"
    assert short("x" * 40) == "x" * 29 + "..."
