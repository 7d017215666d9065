"""What the figures show, from the findings of a sweep that looks like a real one, or whose numbers were planted."""

from dataclasses import asdict, replace

import pytest

from sweeps.distill.figures import evens
from sweeps.findings.findings import Findings
from sweeps.findings.load import scaled_scores
from sweeps.report.figures.data import by_dataset, gains, methods, plane, regrets
from tests.support.sweeps import builders
from tests.support.sweeps.answered_sweeps import OVER_SEARCHES, OVER_SEEDS, accuracies
from tests.support.sweeps.pictured_sweeps import AXES, EVEN, WITH_EVEN
from tests.support.sweeps.reported_sweeps import REPORTED, run


@pytest.fixture(scope="module")
def found() -> Findings:
    return builders.found(REPORTED, run)


@pytest.fixture(scope="module")
def over_searches() -> Findings:
    return builders.found(OVER_SEARCHES, accuracies((1.3, 1.6, 1.9)))


def test_a_gain_is_that_of_every_seed_over_no_distillation_with_the_same_seed(found: Findings) -> None:
    marks = {(mark.dataset, mark.arm): mark for mark in gains(found)}
    native, scratch = (scaled_scores(found, "target", arm) for arm in ("native", "scratch"))
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


def test_methods_are_what_a_person_would_deploy_with_the_size_of_its_file(found: Findings) -> None:
    marks = methods(found)
    assert {mark.dataset for mark in marks} == {"digits-rgb"}, "other methods are compared on the targets"
    accuracies_found = [mark.test.mean for mark in marks]
    assert accuracies_found == sorted(accuracies_found)
    assert {mark.label: mark.size for mark in marks} == {
        "Student, labels only": 113_000,
        "Student, distilled": 113_000,
        "Its teacher": 113_000,
        "MobileNet 0.25 (pretrained)": 113_000,
    }
    assert [mark.label for mark in marks if mark.distilled] == ["Student, distilled"]
    assert [mark.label for mark in marks if mark.is_reference] == ["MobileNet 0.25 (pretrained)"]
    assert [mark.detail for mark in marks if mark.detail] == ["cnn-small-narrow"]


def test_autokeras_has_its_budget(found: Findings) -> None:
    (baseline,) = [row for row in found.rows if row.kind == "baseline"]
    renamed = replace(found, rows=(*found.rows, replace(baseline, method="autokeras")))
    limits = found.spec.as_dict()["baselines"]
    budget = f"{limits['autokeras_trials']} trials of {limits['autokeras_epochs']} epochs"
    assert {mark.label: mark.detail for mark in methods(renamed)}["AutoKeras"] == budget


def test_a_method_that_was_not_measured_or_not_tested_is_left_out(found: Findings) -> None:
    assert methods(replace(found, rows=tuple(replace(row, measured=None) for row in found.rows))) == []
    assert methods(replace(found, rows=tuple(replace(row, test=None) for row in found.rows))) == []


def test_before_the_test_was_read_there_are_searches_alone() -> None:
    searched = builders.found(OVER_SEEDS, {}, until="transfer")
    assert (gains(searched), regrets(searched), methods(searched), evens(searched)) == ([], [], [], ())
    shown = plane(searched)
    assert shown is not None
    assert [surface.dataset for surface in shown.surfaces] == ["digits", "digits-rgb"]
    assert shown.axes == AXES


def test_a_search_without_a_trial_yet_is_left_out(found: Findings) -> None:
    source, target = found.surfaces
    shown = plane(replace(found, surfaces=(source, replace(target, trials=()))))
    assert shown is not None
    assert [surface.role for surface in shown.surfaces] == ["source"]


def test_a_curve_of_one_point_is_no_figure(found: Findings) -> None:
    short = {"break_evens": [*WITH_EVEN["break_evens"], asdict(replace(EVEN, curve=EVEN.curve[:1]))]}
    assert evens(replace(found, own=short)) == (EVEN,)
