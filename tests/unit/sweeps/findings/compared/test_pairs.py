"""Sweep against sweep: planted differences of 0, 1 and -2 points are recovered if the seeds are the same."""

from dataclasses import replace

import pytest
from scipy.stats import ttest_1samp

from sweeps.findings.compare import Compared, Pair, compare, differing, pairs
from sweeps.findings.findings import Findings
from sweeps.findings.load import Training
from sweeps.report.compare import conclusion
from sweeps.spec.model import override
from tests.support.present import present
from tests.support.sweeps.compared_sweeps import family, make_member
from tests.support.sweeps.planted_sweeps import HALF, SPREAD


@pytest.fixture(scope="module")
def findings() -> dict[str, Findings]:
    return family()


@pytest.fixture(scope="module")
def compared(findings: dict[str, Findings]) -> Compared:
    return compare(list(findings), list(findings.values()))


def of(compared: Compared, first: str, second: str, dataset: str = "digits") -> Pair:
    (pair,) = [pair for pair in compared.pairs if (pair.first, pair.second, pair.dataset) == (first, second, dataset)]
    return pair


@pytest.mark.parametrize(("other", "points"), [("same", 0.0), ("worse", 1.0), ("better", -2.0)])
@pytest.mark.parametrize("dataset", ["digits", "digits-rgb"])
def test_a_planted_difference_is_recovered_with_its_interval(
    compared: Compared, other: str, points: float, dataset: str
) -> None:
    pair = of(compared, "base", other, dataset)
    difference = present(pair.difference)
    assert (difference.mean, difference.n, pair.why) == (pytest.approx(points), 4, "")
    assert (difference.low, difference.high) == pytest.approx((points - HALF, points + HALF), abs=1e-6)
    assert pair.p == pytest.approx(ttest_1samp([points + spread for spread in SPREAD], 0).pvalue, abs=1e-9)


def test_sweeps_with_other_seeds_are_not_paired(compared: Compared) -> None:
    apart = [pair for pair in compared.pairs if "other" in (pair.first, pair.second)]
    assert len(apart) == 4 * 2, "with each of the four sweeps that share seeds, on both datasets"
    assert {(pair.difference, pair.p, pair.p_holm, pair.why) for pair in apart} == {
        (None, None, None, "not paired: other seeds")
    }


def test_p_holm_adjusts_for_all_pairs_in_the_table(compared: Compared) -> None:
    tested = sorted((pair for pair in compared.pairs if pair.p is not None), key=lambda pair: pair.p or 0)
    assert len(tested) == 12, "six pairs of four sweeps on two datasets"
    floor = 0.0
    for rank, pair in enumerate(tested):
        floor = max(floor, min(1.0, (12 - rank) * (pair.p or 0)))
        assert pair.p_holm == pytest.approx(floor)


def test_p_holm_is_smaller_with_fewer_pairs(findings: dict[str, Findings], compared: Compared) -> None:
    (alone, _) = pairs([findings["base"], findings["better"]])
    assert alone.p_holm == pytest.approx(2 * (alone.p or 0))
    assert (of(compared, "base", "better").p_holm or 0) > (alone.p_holm or 0)


def test_two_sweeps_with_the_same_trainings_are_not_tested(findings: dict[str, Findings], compared: Compared) -> None:
    base = findings["base"]
    twin = replace(base, name="twin")
    on_source, _ = pairs([base, twin])
    assert (on_source.difference.same, present(on_source.difference).n) == (4, 4)
    assert (on_source.p, on_source.p_holm) == (None, None)
    with_twin = [pair for pair in pairs([base, twin, findings["better"]]) if pair.p is not None]
    assert len(with_twin) == 4, "both against the third, on two datasets"
    assert [present(of(compared, "base", name).difference).same for name in ("same", "worse")] == [0, 0]
    assert conclusion(compare(["base", "twin"], [base, twin]))[1] == "Their trainings are the same."


def test_trainings_are_paired_by_seed_not_by_repeat(findings: dict[str, Findings]) -> None:
    """Repeats with equal seeds are one student; a seed that only one sweep has is left out."""
    base, worse = findings["base"], findings["worse"]
    turned = tuple(_with(training, repeat=3 - training.work.repeat) for training in worse.trainings)
    (on_source, _) = pairs([base, replace(worse, trainings=turned)])
    assert present(on_source.difference).mean == pytest.approx(1.0)
    another = tuple(_with(training, seed=1) if training.work.repeat == 0 else training for training in worse.trainings)
    (on_source, _) = pairs([base, replace(worse, trainings=another)])
    assert present(on_source.difference).n == 3
    assert present(on_source.difference).mean == pytest.approx(1.0 + sum(SPREAD[1:]) / 3)


def _with(training: Training, **values: int) -> Training:
    return replace(training, work=training.work.model_copy(update=values))


def test_an_incomplete_look_gives_no_result(findings: dict[str, Findings]) -> None:
    base, worse = findings["base"], findings["worse"]
    waiting = tuple(
        replace(training, row=replace(training.row, state="waiting", score=None), outcome=None)
        if (training.work.role, training.work.arm, training.work.repeat) == late
        else training
        for training in worse.trainings
        for late in [("target", "scratch", 3)]
    )
    comparison = compare(["base", "worse"], [base, replace(worse, trainings=waiting)])
    assert of(comparison, "base", "worse").difference is not None, "the look at the source is complete"
    pair = of(comparison, "base", "worse", "digits-rgb")
    assert (pair.difference, pair.p, pair.why) == (None, None, "not yet")
    standings = [
        standing for standing in comparison.standings if (standing.sweep, standing.role) == ("worse", "target")
    ]
    assert [(standing.gain, standing.tuning, standing.regret, standing.test) for standing in standings] == [
        ("not yet",) * 4
    ]


def test_datasets_of_one_name_with_different_images_are_not_compared(findings: dict[str, Findings]) -> None:
    def with_images(name: str, digest: str) -> Findings:
        return replace(findings[name], spec=override(findings[name].spec, {"source.content_hash": digest * 64}))

    (pair, _) = pairs([with_images("base", "e"), with_images("worse", "f")])
    assert (pair.dataset, pair.why) == ("digits", "not compared: different images under the same name")
    (pair, _) = pairs([with_images("base", "e"), with_images("worse", "e")])
    assert pair.why == ""


def test_a_dataset_without_best_is_not_compared(findings: dict[str, Findings]) -> None:
    base, worse = findings["base"], findings["worse"]
    transfer = worse.spec.transfer.model_copy(update={"source_arms": ("scratch",)})
    (on_source, _) = pairs([base, replace(worse, spec=worse.spec.model_copy(update={"transfer": transfer}))])
    assert on_source.why == "not compared: worse trains no best there"


def test_the_hash_of_a_file_is_found_below_its_path() -> None:
    path = "/srv/models/wide.net.py"
    with_code, other = (make_member(name, code={path: digit * 64}) for name, digit in (("one", "1"), ("two", "2")))
    assert differing([with_code, other, make_member("none")]) == {f"code.{path}": ("1" * 64, "2" * 64, None)}
