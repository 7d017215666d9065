"""What the figures show, from the findings of a sweep that looks like a real one, or whose numbers were planted."""

from dataclasses import asdict, replace

import pytest

from sweeps.distill.figures import evens
from sweeps.findings.findings import Findings
from sweeps.findings.load import accuracies as accuracies_of
from sweeps.report.figures.data import Axis, by_dataset, gains, methods, plane, regrets, title
from tests.support.sweeps import builders
from tests.support.sweeps.answered_sweeps import OVER_SEARCHES, OVER_SEEDS, accuracies
from tests.support.sweeps.pictured_sweeps import EVEN, WITH_EVEN
from tests.support.sweeps.reported_sweeps import REPORTED, run


@pytest.fixture(scope="module")
def found() -> Findings:
    return builders.found(REPORTED, run)


@pytest.fixture(scope="module")
def over_searches() -> Findings:
    return builders.found(OVER_SEARCHES, accuracies((1.3, 1.6, 1.9)))


def test_a_gain_is_that_of_every_seed_over_no_distillation_with_the_same_seed(found: Findings) -> None:
    marks = {(mark.dataset, mark.arm): mark for mark in gains(found)}
    native, scratch = (accuracies_of(found.trainings, "target", arm) for arm in ("native", "scratch"))
    mark = marks["digits-rgb", "native"]
    assert mark.seeds == tuple(native[repeat] - scratch[repeat] for repeat in range(3))
    assert (mark.mean.mean, mark.mean.n) == (pytest.approx(sum(mark.seeds) / 3), 3)
    assert mark.base == pytest.approx(sum(scratch.values()) / 3)
    assert mark.label == "Tuned on digits-rgb itself"
    point = found.confirmed["target"].best.point
    assert mark.detail == f"T {point['temperature']:.3g}, α {point['alpha']:.2g}"
    assert marks["digits-rgb", "random"].detail == "a new draw per seed"
    assert marks["digits", "default-keras"].detail == "T 3, α 0.5"


def test_gains_are_in_one_order_the_targets_first_and_scratch_is_the_line_they_start_from(found: Findings) -> None:
    marks = by_dataset(gains(found))
    assert {dataset: [mark.arm for mark in group] for dataset, group in marks.items()} == {
        "digits-rgb": ["native", "best", "random", "class-mean"],
        "digits": ["best", "default-keras", "default-keras-io"],
    }


def test_the_regret_is_that_of_the_verdict_with_every_search(over_searches: Findings) -> None:
    (mark,) = regrets(over_searches)
    (target,) = over_searches.verdicts
    assert target.regret is not None
    assert (mark.dataset, mark.mean, mark.margin) == ("digits-rgb", target.regret.estimate, 2.0)
    assert mark.searches == pytest.approx((1.3, 1.6, 1.9))


def test_methods_are_what_a_person_would_deploy_the_least_accurate_first(found: Findings) -> None:
    marks = methods(found)
    assert {mark.dataset for mark in marks} == {"digits-rgb"}, "other methods are compared on the targets"
    accuracies_found = [mark.accuracy for mark in marks]
    assert accuracies_found == sorted(accuracies_found)
    assert {mark.label: mark.cost for mark in marks} == {
        "Student, labels only": "113 KB, 0.18 ms",
        "Student, distilled": "113 KB, 0.18 ms",
        "Its teacher": "113 KB, 0.27 ms",
        "mobilenet": "113 KB, 0.75 ms",
    }
    assert [mark.label for mark in marks if mark.distilled] == ["Student, distilled"]
    assert [mark.detail for mark in marks if mark.detail] == ["cnn-small-narrow"]


def test_a_method_that_was_not_measured_has_no_cost_and_one_without_a_test_is_left_out(found: Findings) -> None:
    untimed = replace(found, rows=tuple(replace(row, measured=None) for row in found.rows))
    assert {mark.cost for mark in methods(untimed)} == {""}
    untested = replace(found, rows=tuple(replace(row, test=None) for row in found.rows))
    assert methods(untested) == []


def test_large_files_are_in_megabytes(found: Findings) -> None:
    rows = [
        replace(row, measured=row.measured.model_copy(update={"bytes": 12_345_678})) if row.measured else row
        for row in found.rows
    ]
    assert {mark.cost.split(",")[0] for mark in methods(replace(found, rows=tuple(rows)))} == {"12.3 MB"}


def test_before_the_test_was_read_there_are_searches_alone() -> None:
    searched = builders.found(OVER_SEEDS, {}, until="transfer")
    assert (gains(searched), regrets(searched), methods(searched), evens(searched)) == ([], [], [], ())
    shown = plane(searched)
    assert shown is not None
    assert [surface.dataset for surface in shown.surfaces] == ["digits", "digits-rgb"]
    assert shown.axes == (Axis("temperature", 1, 20, log=True), Axis("alpha", 0, 1, log=False))


def test_a_search_without_a_trial_yet_is_left_out(found: Findings) -> None:
    source, target = found.surfaces
    shown = plane(replace(found, surfaces=(source, replace(target, trials=()))))
    assert shown is not None
    assert [surface.role for surface in shown.surfaces] == ["source"]


def test_a_curve_of_one_point_is_no_figure(found: Findings) -> None:
    short = {"break_evens": [*WITH_EVEN["break_evens"], asdict(replace(EVEN, curve=EVEN.curve[:1]))]}
    assert evens(replace(found, own=short)) == (EVEN,)


def test_titles_say_the_dataset_and_whether_there_are_several_searches(
    found: Findings, over_searches: Findings
) -> None:
    assert [title(one) for one in found.surfaces] == ["Search on digits", "Search on digits-rgb"]
    several = over_searches.surfaces
    assert [title(one) for one in several] == ["Searches on digits", "Searches on digits-rgb"]
    assert title(replace(several[0], dataset="/a/mnist")) == "Searches on MNIST"
