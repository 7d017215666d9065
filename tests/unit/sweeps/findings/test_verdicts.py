"""The unit of a verdict: the searches of the first teacher, or the seeds of its first search if there are few."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

import pytest
from scipy import stats

from sweeps.findings.load import StoredSweep, Training
from sweeps.findings.verdicts import TargetVerdict, verdicts
from sweeps.plan.jobs import TransferTask
from sweeps.spec.model import override
from sweeps.spec.tables import Group
from sweeps.stats.verdict import Nested, Verdict, decide
from tests.support.present import present
from tests.support.sweeps import builders
from tests.support.sweeps.planted_sweeps import NATIVE, PLANTED, SPREAD, arms

SEARCHES = ("", "t0s1", "t0s2", "t0s3")
REGRETS = {"": 0.4, "t0s1": 0.9, "t0s2": 0.6, "t0s3": 0.2}
SPEC = override(PLANTED, {"search.trials": 2, "outer.searches": 4, "transfer.other_seeds": 3})


@pytest.fixture(scope="module")
def stored() -> StoredSweep:
    """Return four searches with equal accuracies; the first has three of four seeds of scratch and random."""
    return builders.stored(SPEC, arms(0.0))


def changed(stored: StoredSweep, change: Callable[[Training], Training]) -> StoredSweep:
    jobs = (change(job) if isinstance(job.work, TransferTask) else job for job in stored.jobs)
    return replace(stored, jobs=tuple(jobs))


def with_regrets(stored: StoredSweep, regrets: Mapping[str, float], *, scratch: float = 9.0) -> StoredSweep:
    """Return the same sweep with other test accuracies on the target."""

    def plant(training: Training) -> Training:
        if training.work.role != "target" or training.outcome is None:
            return training
        accuracy = arms(regrets[training.work.tag], scratch=scratch)[training.work.arm][training.work.repeat] / 100
        return replace(training, outcome=training.outcome.model_copy(update={"test_accuracy": accuracy}))

    return changed(stored, plant)


def ended(
    stored: StoredSweep, group: str, *, repeats: tuple[int, ...], arm: str = "best", **fields: Any
) -> StoredSweep:
    """Return the same sweep in which these seeds of an arm and search have no model."""

    def end(training: Training) -> Training:
        work = training.work
        if (work.role, work.tag, work.arm) != ("target", group, arm) or work.repeat not in repeats:
            return training
        return replace(training, row=replace(training.row, score=None, outcome=None, **fields), outcome=None)

    return changed(stored, end)


DIVERGED = {"state": "failed", "error_class": "nan"}
BROKEN = {"state": "failed", "error_class": "error"}


def verdict_of(stored: StoredSweep) -> TargetVerdict:
    (target,) = verdicts(stored)
    return target


def decided(stored: StoredSweep) -> tuple[TargetVerdict, Nested, Verdict]:
    """Return the target, its regret and its verdict."""
    target = verdict_of(stored)
    return target, present(target.regret), present(target.verdict)


def test_from_three_searches_on_the_unit_is_the_search(stored: StoredSweep) -> None:
    target, regret, verdict = decided(with_regrets(stored, REGRETS))
    values = list(REGRETS.values())
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert (target.unit, regret.searches, regret.estimate.n, verdict.n) == ("search", 4, 4, 4)
    assert target.by_search == pytest.approx(values)
    assert regret.estimate.mean == pytest.approx(fmean(values))
    assert (regret.estimate.low, regret.estimate.high) == pytest.approx((expected.low, expected.high))
    assert verdict.word == "TRANSFERS"
    assert verdict.sd == pytest.approx(stdev(values))
    half = stats.t.ppf(0.95, 3) * stdev(values) / 2
    assert (verdict.low, verdict.high) == pytest.approx((fmean(values) - half, fmean(values) + half))
    assert (target.done, target.left, target.planned) == (50, 0, 2 * 4 + 2 * 3 + 3 * 3 * 4)


@pytest.mark.parametrize(
    ("regrets", "word"),
    [
        ((3.5, 3.9, 3.6, 3.4), "FAILS"),
        ((0.5, 4.0, 0.1, 3.0), "UNDECIDED"),
        # the seeds of the first search alone would decide TRANSFERS
        ((0.0, 3.9, 3.6, 3.4), "UNDECIDED"),
    ],
)
def test_the_word_is_that_of_decide_for_the_means_of_the_searches(
    stored: StoredSweep, regrets: tuple[float, ...], word: str
) -> None:
    _, _, verdict = decided(with_regrets(stored, dict(zip(SEARCHES, regrets, strict=True)), scratch=3.0))
    native = fmean(NATIVE)
    # 3 below native on average; the first search has three of the four seeds of scratch
    gains = [3.0 + fmean(SPREAD[:3]), 3.0, 3.0, 3.0]
    searches = [
        {"native": {0: native}, "best": {0: native - regret}, "scratch": {0: native - gain}}
        for regret, gain in zip(regrets, gains, strict=True)
    ]
    expected = present(decide(searches, margin=2.0, level=0.05, rule=1))
    assert (verdict.word, verdict.n) == (expected.word, expected.n) == (word, 4)
    assert verdict.halved, "half of the gain is less than the margin"
    assert verdict.margin == pytest.approx(expected.margin) == pytest.approx(fmean(gains) / 2)
    assert list(verdict.beats) == ["scratch"], "random is not part of a search"
    assert verdict.beats["scratch"] == pytest.approx(expected.beats["scratch"])
    assert (verdict.seeds is None) == (expected.seeds is None)


@pytest.mark.parametrize("rule", [1, 2, 3])
def test_the_reported_regret_is_that_of_the_verdict(stored: StoredSweep, rule: int) -> None:
    """Also if arms outside the decision have fewer seeds, or lost some."""
    whole = with_regrets(replace(stored, spec=override(stored.spec, {"transfer.rule": rule})), REGRETS)
    for sweep in (
        whole,
        ended(whole, "t0s2", repeats=(1,), arm="scratch", **BROKEN),
        ended(whole, "t0s1", repeats=(0, 3), **BROKEN),
        ended(whole, "t0s3", repeats=(0, 1, 2, 3), arm="scratch", **BROKEN),
    ):
        target, regret, verdict = decided(sweep)
        assert verdict.regret.mean == pytest.approx(regret.estimate.mean)
        assert verdict.regret.low == pytest.approx(regret.estimate.low)
        assert verdict.n == regret.searches == 4
        # by its four seeds, the mean of a search has an sd of 0.5, more than the sd between searches
        assert (verdict.sd > stdev(target.by_search)) == (rule == 2)


def test_a_diverged_seed_counts_as_0_in_the_mean_of_its_search(stored: StoredSweep) -> None:
    target, _, verdict = decided(ended(with_regrets(stored, REGRETS), "t0s1", repeats=(2,), **DIVERGED))
    regrets = [native - best for native, best in zip(NATIVE, arms(0.9)["best"], strict=True)]
    regrets[2] = NATIVE[2]  # best scores 0 % there
    assert target.by_search == pytest.approx((0.4, fmean(regrets), 0.6, 0.2))
    assert (verdict.word, verdict.n) == ("UNDECIDED", 4)
    assert (target.done, target.left, target.planned) == (49, 0, 50)


def test_a_seed_that_failed_is_left_out_with_its_pair(stored: StoredSweep) -> None:
    target = verdict_of(ended(with_regrets(stored, REGRETS), "t0s1", repeats=(2,), **BROKEN))
    kept = [0.9 + SPREAD[repeat] for repeat in (0, 1, 3)]
    assert target.by_search == pytest.approx((0.4, fmean(kept), 0.6, 0.2))


@pytest.mark.parametrize("left", [("",), ("", "t0s2")])
def test_with_fewer_than_three_searches_the_unit_is_the_seed_of_the_first(
    stored: StoredSweep, left: tuple[str, ...]
) -> None:
    sweep = with_regrets(stored, REGRETS)
    for group in set(SEARCHES) - set(left):
        sweep = ended(sweep, group, repeats=(0, 1, 2, 3), state="skipped")
    target, regret, verdict = decided(sweep)
    assert (target.unit, regret.searches, regret.estimate.n, verdict.n) == ("seed", 1, 4, 4)
    half = stats.t.ppf(0.975, 3) / 2  # the differences have a standard deviation of 1
    assert (regret.estimate.low, regret.estimate.high) == pytest.approx((0.4 - half, 0.4 + half))
    assert target.by_search == pytest.approx([REGRETS[group] for group in left])
    assert set(verdict.beats) == {"scratch", "random"}


def test_three_searches_decide_without_the_first_but_two_do_not(stored: StoredSweep) -> None:
    sweep = ended(with_regrets(stored, REGRETS), "", repeats=(0, 1, 2, 3), **BROKEN)
    target, _, verdict = decided(sweep)
    assert (target.unit, verdict.n, target.by_search) == ("search", 3, pytest.approx((0.9, 0.6, 0.2)))
    target = verdict_of(ended(sweep, "t0s3", repeats=(0, 1, 2, 3), **BROKEN))
    assert (target.verdict, target.regret, target.unit) == (None, None, "seed")


@pytest.mark.parametrize("state", ["waiting", "running", "cancelled"])
def test_there_is_no_verdict_before_the_last_search_has_ended(stored: StoredSweep, state: str) -> None:
    target = verdict_of(ended(with_regrets(stored, REGRETS), "t0s3", repeats=(3,), state=state))
    assert (target.verdict, target.regret, target.by_search) == (None, None, ())
    assert (target.done, target.left, target.planned) == (49, 1, 50)


def at_the_same_point(stored: StoredSweep, *groups: str) -> StoredSweep:
    """Return the same sweep in which only these searches chose the same point on both datasets."""
    best = {
        (training.work.tag, training.work.repeat): training.outcome
        for training in stored.trainings
        if (training.work.role, training.work.arm) == ("target", "best")
    }

    def move(training: Training) -> Training:
        outcome = best.get((training.work.tag, training.work.repeat))
        if (
            (training.work.role, training.work.arm) != ("target", "native")
            or outcome is None
            or training.outcome is None
        ):
            return training
        at = {"temperature": outcome.temperature + (training.work.tag not in groups), "alpha": outcome.alpha}
        return replace(training, outcome=training.outcome.model_copy(update=at))

    return changed(stored, move)


def test_searches_that_chose_one_point_on_both_datasets_are_counted_and_stay_in_the_regret(
    stored: StoredSweep,
) -> None:
    sweep = with_regrets(stored, REGRETS)
    apart, two = verdict_of(at_the_same_point(sweep)), verdict_of(at_the_same_point(sweep, "", "t0s2"))
    assert (apart.same, two.same) == (0, 2)
    assert (present(apart.lost).same, present(two.lost).same, present(two.lost).n) == (0, 2, 4)
    assert (two.regret, two.verdict) == (apart.regret, apart.verdict), "the decision does not depend on it"
    assert verdict_of(ended(at_the_same_point(sweep, "t0s2"), "t0s2", repeats=(0,), **DIVERGED)).same == 1


def test_in_one_search_all_seeds_or_none_share_their_training(stored: StoredSweep) -> None:
    spec = override(stored.spec, {"outer.searches": 1})
    alone = replace(with_regrets(stored, REGRETS), spec=spec)
    target = verdict_of(at_the_same_point(alone, ""))
    assert (target.same, present(target.lost).n, present(target.lost).is_same_point) == (4, 4, True)
    assert verdict_of(at_the_same_point(alone, "t0s2")).same == 0


def test_other_teachers_do_not_count(stored: StoredSweep) -> None:
    sweep = with_regrets(stored, REGRETS)
    far = with_regrets(stored, dict.fromkeys(SEARCHES, 50.0))
    others = [_of_second_teacher(job) for job in far.trainings if job.work.role == "target"]
    both = replace(sweep, spec=override(sweep.spec, {"outer.teachers": 2}), jobs=(*sweep.jobs, *others))
    assert {training.work.tag for training in both.trainings} > {"t1s0", "t1s3"}
    assert verdict_of(both) == verdict_of(sweep)


def _of_second_teacher(training: Training) -> Training:
    group = Group(prepared=1, search=training.work.group.search)
    return replace(training, work=training.work.model_copy(update={"group": group}))


def test_a_later_look_is_decided_at_its_own_level(stored: StoredSweep) -> None:
    sweep = with_regrets(stored, REGRETS)
    (first,) = sweep.looks
    later = replace(sweep, spec=override(sweep.spec, {"transfer.looks": 3}), looks=(first, replace(first, number=2)))
    _, regret, verdict = decided(later)
    assert verdict.level == 0.01
    half = stats.t.ppf(0.99, 3) * stdev(REGRETS.values()) / 2
    assert verdict.high == pytest.approx(fmean(REGRETS.values()) + half)
    assert regret == verdict_of(sweep).regret, "the interval is that of 95 % at every look"
