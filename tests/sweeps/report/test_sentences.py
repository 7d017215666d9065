"""A verdict in full: the regret with what its interval covers, the word with its bound, the scope, what to type."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from storage.queue.tasks import Claim
from sweeps.distill.session import Outcome
from sweeps.findings.findings import Findings
from sweeps.report.sentences import another_sweep, regret, sentence
from sweeps.spec.model import Spec, override
from sweeps.usecases import steering
from tests.support.sweeps.answered_sweeps import OVER_SEARCHES, OVER_SEEDS, accuracies, begun, found, work_until
from tests.support.sweeps.planted_sweeps import NATIVE, Points, analysed, planted, work

THERE = "compared with tuning on digits-rgb itself"
TEACHER = "Scope: one teacher each, cnn-small-narrow; digits -> digits-rgb"


def of_target(findings: Findings) -> str:
    """The sentence of the only target."""
    (target,) = findings.verdicts
    return sentence(findings, target)


@pytest.mark.parametrize(
    ("planned", "spread", "said"),
    [
        # mean -+ t[.97, 3] / sqrt(4)
        (
            accuracies(0.5),
            "+0.50 [-1.09, +2.09]",
            f"TRANSFERS: POINT cost at most 1.98 points (97 % bound) {THERE}, less than the 2-point margin.",
        ),
        (
            accuracies(-5.0, gain=-5.0),
            "-5.00 [-6.59, -3.41]",
            "FLAT: tuning on digits-rgb itself gains less than 2 points (97 % bounds) over T and alpha tuned on digits"
            " and no distillation and random T and alpha alike, so there is less than that to transfer.",
        ),
        (
            accuracies(-5.0, gain=9.5),
            "-5.00 [-6.59, -3.41]",
            "TRANSFERS: POINT score at least 3.52 points (97 % bound) higher on digits-rgb than tuning on digits-rgb"
            " itself, so they stay within the 2-point margin.",
        ),
        (
            accuracies(-0.5, gain=2.5),
            "-0.50 [-2.09, +1.09]",
            f"TRANSFERS: POINT cost at most 0.98 points (97 % bound) {THERE}, less than half of the 2.00 points that"
            " tuning there gains over no distillation.",
        ),
        (
            accuracies(3.5),
            "+3.50 [+1.91, +5.09]",
            f"FAILS: POINT cost at least 2.02 points (97 % bound) {THERE}, more than the 2-point margin.",
        ),
        (
            accuracies(1.0),
            "+1.00 [-0.59, +2.59]",
            f"UNDECIDED: POINT cost between -0.48 and +2.48 points (97 % bounds) {THERE}; the 2-point margin lies"
            " inside this interval.",
        ),
    ],
    ids=["loses little", "flat", "gains", "half", "fails", "undecided"],
)
def test_every_word_is_a_sentence_with_its_bound_and_its_scope(
    tmp_path: Path, planned: Mapping[str, Points], spread: str, said: str
) -> None:
    findings = found(tmp_path, planned)
    best = findings.confirmed["source"].best.point
    at = f"T = {best.temperature:.3g} and alpha = {best.alpha:.3g}, tuned on digits,"
    covers = "over seeds alone: one search and one teacher, other searches may find other points."
    begins = f"Regret on digits-rgb, native - best: {spread} points (95 %), {covers}"
    expected = f"{begins} {said.replace('POINT', at)} {TEACHER}; n = 4 seeds."
    assert of_target(findings).startswith(expected)
    assert (of_target(findings) == expected) == ("UNDECIDED" not in said)


def test_over_searches_the_interval_covers_both_and_no_point_is_named(tmp_path: Path) -> None:
    findings = found(tmp_path, accuracies((3.2, 3.5, 3.8)), OVER_SEARCHES)
    # by seeds: the first search has four with variance 1, the others two with variance 1.5, which is more than the
    # searches differ by: nothing is left for them
    assert of_target(findings) == (
        "Regret on digits-rgb, native - best: +3.50 [+2.75, +4.25] points (95 %), over 3 searches and their seeds"
        " (±0.75 by seeds, the searches differ no more than their seeds make them), for one teacher."
        " 1 of 3 searches chose the same candidate on both datasets."
        # 3.5 - t[.97, 2] * 0.3 / sqrt(3)
        f" FAILS: T and alpha, tuned on digits, cost at least 2.83 points (97 % bound) {THERE}, more than the 2-point"
        f" margin. {TEACHER}; n = 3 searches."
    )


def test_what_seeds_and_searches_add_is_told_apart(tmp_path: Path) -> None:
    planned = dict(accuracies((0.0, 3.0, 6.0)))
    for arm in list(planned):
        if arm.endswith(".best"):  # without noise of the seeds, all that varies is the search
            first = planned[arm]
            mean = sum(native - best for native, best in zip(NATIVE, first, strict=True)) / len(NATIVE)
            planned[arm] = [native - mean for native in NATIVE]
    (target,) = found(tmp_path, planned, OVER_SEARCHES).verdicts
    # t[.975, 2] * 3 / sqrt(3)
    assert regret(target) == (
        "Regret on digits-rgb, native - best: +3.00 [-4.45, +10.45] points (95 %), over 3 searches and their seeds"
        " (±7.45 by search), for one teacher. 1 of 3 searches chose the same candidate on both datasets."
    )


@pytest.mark.parametrize(
    ("spec", "planned", "ends"),
    [
        (
            OVER_SEEDS,
            accuracies(1.0),
            "10 seeds per arm decide with 80 % power: kd-sweeps extend s --seeds +6, then kd-sweeps launch s",
        ),
        (
            OVER_SEARCHES,
            accuracies((1.3, 1.6, 1.9)),
            "7 searches decide with 80 % power: kd-sweeps extend s --searches +4, then kd-sweeps launch s",
        ),
        (
            override(OVER_SEEDS, {"transfer.looks": 1}),
            accuracies(1.0),
            "8 seeds per arm decide with 80 % power, but no declared look is left; start another sweep: kd-sweeps"
            " report s -o s-report, then kd-sweeps create s-2 s-report/spec.toml --seed 1 --set transfer.seeds=8",
        ),
        (
            override(OVER_SEARCHES, {"transfer.looks": 1}),
            accuracies((1.3, 1.6, 1.9)),
            "6 searches decide with 80 % power, but no declared look is left; start another sweep: kd-sweeps"
            " report s -o s-report, then kd-sweeps create s-2 s-report/spec.toml --seed 1 --set outer.searches=6",
        ),
    ],
    ids=["seeds", "searches", "seeds, last look", "searches, last look"],
)
def test_undecided_ends_with_what_to_type(tmp_path: Path, spec: Spec, planned: Mapping[str, Points], ends: str) -> None:
    said = of_target(found(tmp_path, planned, spec))
    assert said.endswith(f". If the true regret equals the estimate, {ends}")


def test_what_undecided_says_to_type_is_a_command_that_works(tmp_path: Path) -> None:
    url = begun(tmp_path)
    run = planted(accuracies(1.0))
    work(url, run)
    assert "extend s --seeds +6" in of_target(analysed(url))
    steering.extend(url, "s", seeds=6)
    work(url, run)
    (target,) = analysed(url).verdicts
    assert (target.verdict and target.verdict.n, len(target.looks)) == (10, 2)


def test_a_regret_at_the_margin_itself_is_not_worth_more_seeds(tmp_path: Path) -> None:
    planned = accuracies(2.0) | {"transfer#target.best": [native - 2 for native in NATIVE]}
    said = of_target(found(tmp_path, planned))
    assert "UNDECIDED: " in said
    assert said.endswith(
        " The estimated regret is so close to the margin that 10,000 seeds per arm would not decide with 80 % power."
    )


def test_little_that_is_not_proven_to_be_worth_anything_is_undecided(tmp_path: Path) -> None:
    # 1.9 points over scratch and random: below the margin, but by too little to be flat; and with noise, not above 0
    planned = accuracies(0.0, gain=1.9)
    for arm in ("scratch", "random"):
        planned[f"transfer#target.{arm}"] = [71.0, 66.0, 70.0, 67.4]
    said = of_target(found(tmp_path, planned))
    assert "; that is little, but whether tuning gains anything there is open." in said


def test_the_same_point_twice_is_said_to_be_what_tuning_found(tmp_path: Path) -> None:
    said = of_target(found(tmp_path, accuracies(0.5), override(OVER_SEEDS, {"search.sampler": "qmc"})))
    assert ", tuned on digits, are also what tuning on digits-rgb itself found, so nothing is lost. Scope: " in said
    assert "digits -> digits-rgb (other searches may find other points); n = 4 seeds." in said


def test_before_the_last_seed_is_in_there_is_no_verdict_not_even_after_a_cancel(tmp_path: Path) -> None:
    url, run = begun(tmp_path), planted(accuracies(3.5))
    work_until(url, run, key="transfer#target.best.3")
    done = analysed(url).verdicts[0].done
    expected = (
        f"NO VERDICT YET on digits -> digits-rgb: {done} of 20 transfer trainings are done; continue with: kd-sweeps"
        " launch s"
    )
    assert 0 < done < 20
    assert of_target(analysed(url)) == expected
    assert regret(analysed(url).verdicts[0]) == ""
    steering.cancel(url, "s")
    assert of_target(analysed(url)) == expected
    steering.resume(url, "s")
    work(url, run)
    assert " FAILS: " in of_target(analysed(url))


def test_no_verdict_says_what_it_lacks_and_what_to_type(tmp_path: Path) -> None:
    url, run = begun(tmp_path, override(OVER_SEEDS, {"retry.error": 1})), planted(accuracies(0.5))

    def broken(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.key.startswith("transfer#target.native"):
            raise KeyError("a mistake")
        return run(claim, params, on_step)

    work(url, broken)
    lacks = (
        "NO VERDICT on digits -> digits-rgb: it needs the arms native and best on at least two common seeds, which are"
        " missing"
    )
    assert of_target(analysed(url)) == f"{lacks}; 4 of 20 trainings failed or were skipped: kd-sweeps retry s"
    steering.retry(url, "s")
    work(url, run)
    assert " TRANSFERS: " in of_target(analysed(url))
    (tmp_path / "one").mkdir()
    one = found(tmp_path / "one", accuracies(0.5), override(OVER_SEEDS, {"transfer.seeds": 1}))
    assert of_target(one) == lacks


def test_a_verdict_in_spite_of_failures_says_how_many(tmp_path: Path) -> None:
    url, run = begun(tmp_path, override(OVER_SEEDS, {"retry.error": 1})), planted(accuracies(3.5))

    def broken(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.key == "transfer#target.default-keras.1":
            raise KeyError("a mistake")
        return run(claim, params, on_step)

    work(url, broken)
    assert of_target(analysed(url)).endswith("n = 4 seeds; 1 of 20 trainings failed.")


def test_another_sweep_has_another_seed() -> None:
    spec = override(OVER_SEEDS, {"seed": 6})
    first = "kd-sweeps report s -o s-report, then kd-sweeps create s-2 s-report/spec.toml --seed 7 --set"
    assert another_sweep("s", spec, seed=40) == f"{first} transfer.seeds=40"
    assert another_sweep("s", spec, search=9) == f"{first} outer.searches=9"


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_or_two_seeds_are_not_called_an_interval(tmp_path: Path, seeds: int) -> None:
    findings = found(tmp_path, accuracies(0.5), override(OVER_SEEDS, {"transfer.seeds": seeds}))
    mean = {1: "-0.37", 2: "+0.50"}[seeds]  # 0.5 - sqrt(3) / 2
    assert regret(findings.verdicts[0]).startswith(
        f"Regret on digits-rgb, native - best: {mean} points (no interval), over seeds alone:"
    )
