"""Sweep against sweep: planted differences of 0, 1 and -2 points are recovered if the seeds are the same."""

from dataclasses import replace

import pytest
from scipy.stats import ttest_1samp

from sweeps.findings.compare import Compared, Pair, compare, differing, pairs
from sweeps.findings.findings import Findings
from sweeps.findings.load import Training
from sweeps.report.compare import reason
from sweeps.spec.model import override
from tests.support.present import present
from tests.support.sweeps.compared_sweeps import family, told
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
    one = of(compared, "base", other, dataset)
    difference = present(one.difference)
    assert (difference.mean, difference.n, one.why) == (pytest.approx(points), 4, "")
    assert (difference.low, difference.high) == pytest.approx((points - HALF, points + HALF), abs=1e-6)
    assert one.p == pytest.approx(ttest_1samp([points + spread for spread in SPREAD], 0).pvalue, abs=1e-9)


def test_sweeps_with_other_seeds_are_not_paired(compared: Compared) -> None:
    apart = [one for one in compared.pairs if "other" in (one.first, one.second)]
    assert len(apart) == 4 * 2, "with each of the four sweeps that share seeds, on both datasets"
    assert {(one.difference, one.p, one.p_holm, one.why) for one in apart} == {
        (None, None, None, "not paired: other seeds")
    }


def test_p_holm_adjusts_for_all_pairs_in_the_table(compared: Compared) -> None:
    tested = sorted((one for one in compared.pairs if one.p is not None), key=lambda one: one.p or 0)
    assert len(tested) == 12, "six pairs of four sweeps on two datasets"
    floor = 0.0
    for rank, one in enumerate(tested):
        floor = max(floor, min(1.0, (12 - rank) * (one.p or 0)))
        assert one.p_holm == pytest.approx(floor)


def test_p_holm_is_smaller_with_fewer_pairs(findings: dict[str, Findings], compared: Compared) -> None:
    (alone, _) = pairs([findings["base"], findings["better"]])
    assert alone.p_holm == pytest.approx(2 * (alone.p or 0))
    assert (of(compared, "base", "better").p_holm or 0) > (alone.p_holm or 0)


def test_two_sweeps_with_the_same_trainings_are_not_tested(findings: dict[str, Findings], compared: Compared) -> None:
    base = findings["base"]
    twin = replace(base, name="twin")
    one, _ = pairs([base, twin])
    assert (one.difference.same, present(one.difference).n, one.p, one.p_holm) == (4, 4, None, None)
    with_twin = [one for one in pairs([base, twin, findings["better"]]) if one.p is not None]
    assert len(with_twin) == 4, "both against the third, on two datasets"
    assert [present(of(compared, "base", name).difference).same for name in ("same", "worse")] == [0, 0]
    assert reason(compare(["base", "twin"], [base, twin])) == "Their trainings are the same."


def test_trainings_are_paired_by_seed_not_by_repeat(findings: dict[str, Findings]) -> None:
    """Repeats with equal seeds are one student; a seed that only one sweep has is left out."""
    base, worse = findings["base"], findings["worse"]
    turned = tuple(_with(one, repeat=3 - one.work.repeat) for one in worse.trainings)
    (one, _) = pairs([base, replace(worse, trainings=turned)])
    assert present(one.difference).mean == pytest.approx(1.0)
    another = tuple(_with(one, seed=1) if one.work.repeat == 0 else one for one in worse.trainings)
    (one, _) = pairs([base, replace(worse, trainings=another)])
    assert present(one.difference).n == 3
    assert present(one.difference).mean == pytest.approx(1.0 + sum(SPREAD[1:]) / 3)


def _with(training: Training, **values: int) -> Training:
    return replace(training, work=training.work.model_copy(update=values))


def test_an_incomplete_look_gives_no_result(findings: dict[str, Findings]) -> None:
    base, worse = findings["base"], findings["worse"]
    waiting = tuple(
        replace(one, row=replace(one.row, state="waiting", score=None), outcome=None)
        if (one.work.role, one.work.arm, one.work.repeat) == late
        else one
        for one in worse.trainings
        for late in [("target", "scratch", 3)]
    )
    found = compare(["base", "worse"], [base, replace(worse, trainings=waiting)])
    assert of(found, "base", "worse").difference is not None, "the look at the source is complete"
    one = of(found, "base", "worse", "digits-rgb")
    assert (one.difference, one.p, one.why) == (None, None, "not yet")
    target = [one for one in found.standings if (one.sweep, one.role) == ("worse", "target")]
    assert [(one.gain, one.tuning, one.regret, one.test) for one in target] == [("not yet",) * 4]


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
    (one, _) = pairs([base, replace(worse, spec=worse.spec.model_copy(update={"transfer": transfer}))])
    assert one.why == "not compared: worse trains no best there"


def test_the_hash_of_a_file_is_found_below_its_path() -> None:
    path = "/srv/models/wide.net.py"
    with_code, other = (told(name, code={path: digit * 64}) for name, digit in (("one", "1"), ("two", "2")))
    assert differing([with_code, other, told("none")]) == {f"code.{path}": ("1" * 64, "2" * 64, None)}
