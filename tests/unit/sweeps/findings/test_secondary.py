"""The secondary questions of a sweep with planted accuracies: every number against scipy or its definition."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sweeps.distill.arms import SOURCE_ARMS, TARGET_ARMS
from sweeps.findings.findings import Findings
from sweeps.findings.secondary import Question, questions
from sweeps.plan.jobs import AnyJob
from sweeps.report.page import answer_text
from sweeps.spec.model import override
from sweeps.stats.estimates import ratio
from sweeps.stats.resampling import bca_interval
from sweeps.trainers.score import ACCURACY
from sweeps.workers.runner import Outcome
from tests.support.present import present
from tests.support.sweeps import builders
from tests.support.sweeps.planted_sweeps import NATIVE as NATIVE_TESTS
from tests.support.sweeps.planted_sweeps import PLANTED, arms, planted

SEEDS = 20
DRAWN = np.random.default_rng(3)
MEANS = {"best": 70.6, "native": 71.0, "scratch": 70.0, "random": 70.1, "default-keras-io": 70.5, "default-keras": 70.4}
TESTS = {arm: list(mean + DRAWN.normal(0, 0.5, SEEDS)) for arm, mean in MEANS.items()}
BEST, NATIVE, SCRATCH = (np.array(TESTS[arm]) for arm in ("best", "native", "scratch"))


@pytest.fixture(scope="module")
def findings() -> Findings:
    """Train every arm on twenty seeds. default-keras is the better default by validation, the worse one by test."""
    run = planted(TESTS, luck=0.3)

    def scored(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        outcome = run(claim, params, on_step)
        return replace(outcome, score=0.99) if claim.row.payload.get("arm") == "default-keras" else outcome

    spec = override(
        PLANTED,
        {
            "search.trials": 12,
            "transfer.seeds": SEEDS,
            "transfer.source_arms": ["best", "scratch"],
            "transfer.target_arms": TARGET_ARMS,
        },
    )
    return builders.make_findings(spec, scored)


@pytest.fixture(scope="module")
def by_name(findings: Findings) -> dict[str, Question]:
    """Return the questions by the first words of their names."""
    return {question.name.split(" share")[0]: question for question in questions(findings)}


def test_gains_and_use_have_paired_t_tests_bootstraps_and_sign_flips(by_name: dict[str, Question]) -> None:
    better = np.array(TESTS["default-keras"])
    for name, other, dataset in (
        ("gain on the source", SCRATCH, "digits"),
        ("gain on the target", SCRATCH, "digits-rgb"),
        ("gain over the better default", better, "digits-rgb"),
    ):
        question = by_name[name]
        expected = stats.ttest_rel(BEST, other)
        low, high = expected.confidence_interval()
        assert question.dataset == dataset
        assert question.p == pytest.approx(expected.pvalue, abs=1e-9)
        text = answer_text(ACCURACY, question.answer)
        assert text == f"{np.mean(BEST - other):+.2f} [{low:+.2f}, {high:+.2f}] (n=20)"
        assert question.bca == pytest.approx(bca_interval(BEST - other))
        assert question.sign_flip == pytest.approx(expected.pvalue, abs=0.02), "with normal noise, close to the t test"
    assert np.mean(TESTS["default-keras-io"]) > better.mean(), "the test set would choose the other default"
    assert by_name["gain over the better default"].rival == "default-keras"


def test_the_retained_share_is_tested_against_a_half(by_name: dict[str, Question]) -> None:
    question = by_name["retained"]
    expected = stats.ttest_1samp((BEST - SCRATCH) - 0.5 * (NATIVE - SCRATCH), 0)
    assert question.p == pytest.approx(expected.pvalue, abs=1e-9)
    share = present(ratio(list(BEST - SCRATCH), list(NATIVE - SCRATCH)))
    low, high = 100 * present(share.low), 100 * present(share.high)
    assert answer_text(ACCURACY, question.answer) == f"{100 * share.mean:.0f} % [{low:.0f}, {high:.0f}] (n=20)"
    assert question.name.endswith("p: against 50 %")


def test_holm_is_over_all_questions_of_the_sweep(by_name: dict[str, Question]) -> None:
    assert len(by_name) == 4
    ordered = sorted(by_name.values(), key=lambda question: question.p)
    floor = 0.0
    for factor, question in zip((4, 3, 2, 1), ordered, strict=True):
        floor = max(floor, min(1.0, factor * question.p))
        assert question.p_holm == pytest.approx(floor)


def test_a_training_is_not_compared_with_itself() -> None:
    """With Sobol points alone, a search finds the same point on both datasets, so best is native."""
    spec = override(PLANTED, {"search.trials": 2, "search.sampler": "qmc", "transfer.source_arms": ["best", "scratch"]})
    answers = questions(builders.make_findings(spec, arms(0.0) | {"best": NATIVE_TESTS}))
    retained = answers[-1]
    assert retained.name.startswith("retained share")
    assert (answer_text(ACCURACY, retained.answer), retained.p, retained.p_holm, retained.sign_flip) == (
        "the same point",
        None,
        None,
        None,
    )
    tested = [question for question in answers if question.p is not None]
    assert len(tested) == len(answers) - 1 == 2
    assert max(question.p_holm or 0 for question in tested) == pytest.approx(
        max(2 * min(question.p or 0 for question in tested), *(question.p or 0 for question in tested))
    )


def test_few_seeds_have_no_bootstrap_or_sign_flips_and_missing_arms_no_question() -> None:
    spec = override(PLANTED, {"search.trials": 2, "transfer.source_arms": SOURCE_ARMS[:1]})
    by_name = {question.name: question for question in questions(builders.make_findings(spec, arms(12.0)))}
    assert list(by_name) == ["gain on the target", "retained share of native's gain; p: against 50 %"], (
        "without defaults there is no question about them"
    )
    assert {(question.bca, question.sign_flip) for question in by_name.values()} == {(None, None)}
    worse = arms(0.5, scratch=-9.0)  # native is significantly below scratch
    retained = questions(builders.make_findings(spec, worse))[1]
    assert answer_text(ACCURACY, retained.answer) == "no share: native does not measurably gain"
