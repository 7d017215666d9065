"""Further observations on a sweep: whether T and alpha matter, controls, evaluations on the test set."""

import re
from collections.abc import Sequence
from dataclasses import replace

from sweeps.findings.rows import Control
from sweeps.findings.surfaces import Surface
from sweeps.report import words
from sweeps.report.words import at_edge, identified, looked, parameter_effect, parameter_effect_brief
from sweeps.spec.model import override
from sweeps.stats.estimates import Estimate
from sweeps.stats.top import Top
from sweeps.stats.verdict import RULE
from sweeps.trainers.score import ACCURACY
from tests.support.points import at
from tests.support.sweeps.answered_sweeps import OVER_SEEDS, accuracies
from tests.support.sweeps.builders import make_findings
from tests.support.sweeps.presets import before

SPEC = before("tiny")  # T in [1, 20], alpha in [0, 1]


def top(share: float, low: float, high: float) -> Top:
    return Top(share=share, low=low, high=high, tolerance=0.234, mean=())


SURFACE = Surface(
    role="source",
    dataset="digits",
    trials=(),
    best=at(4.0, 0.5),
    tied=(),
    optimism=None,
    others=(),
    top=top(0.123, 0.02, 0.31),
    parameters=("temperature", "alpha"),
)


def test_a_few_words_tell_whether_t_and_alpha_matter() -> None:
    fits = [top(0.1, 0.02, 0.31), top(0.9, 0.51, 0.99), top(0.5, 0.2, 0.8), None]
    assert [parameter_effect_brief(replace(SURFACE, top=fitted)) for fitted in fits] == [
        "T and alpha matter",
        "T and alpha do not matter",
        "unclear whether T and alpha matter",
        "too few searches to tell whether T and alpha matter",
    ]


def test_the_share_of_good_points_is_given_with_its_interval() -> None:
    assert parameter_effect(SURFACE, ACCURACY) == (
        "T and alpha matter: 12 % [2, 31] of the search space loses less than 0.23 points, half the seed sd of a run,"
        " against its best point"
    )
    unknown = "too few searches to tell whether T and alpha matter (at least 3 are needed)"
    assert parameter_effect(replace(SURFACE, top=None), ACCURACY) == unknown


def test_with_more_parameters_importances_replace_whether_t_and_alpha_matter() -> None:
    wide = replace(SURFACE, top=None, further=True)
    assert (parameter_effect(wide, ACCURACY), parameter_effect_brief(wide), identified(wide, SPEC)) == ("", "", "")
    assert identified(replace(wide, tied=(at(2.0, 0.1),)), SPEC) == "digits: tied with best: T = 2, alpha = 0.1"
    shares = replace(wide, importances=(("epochs", 0.75), ("temperature", 0.25)))
    assert parameter_effect_brief(shares) == "epochs mattered most (75 % of the variance)"
    assert "variance of the validation accuracy explained: epochs 75 %, T 25 %" in identified(shares, SPEC)


def test_a_search_reports_its_edge_its_ties_and_its_luck() -> None:
    searched = replace(SURFACE, best=at(20.0, 0.5), tied=(at(2.0, 0.1), at(3.0, 0.25)), optimism=0.734)
    assert identified(searched, SPEC) == (
        f"digits: {parameter_effect(SURFACE, ACCURACY)}; best lies at the edge of the search space (T = 20); tied with"
        " best: T = 2, alpha = 0.1; T = 3, alpha = 0.25; retrained with new seeds, the best trial lost 0.73 points: its"
        " score was partly luck"
    )
    assert identified(replace(searched, optimism=-0.734), SPEC).endswith("the best trial gained 0.73 points")
    assert "luck" not in identified(replace(searched, optimism=-0.734), SPEC)
    assert identified(SURFACE, SPEC) == f"digits: {parameter_effect(SURFACE, ACCURACY)}"
    assert identified(replace(SURFACE, best=None), SPEC) == "digits: not confirmed yet"


def test_the_edge_of_t_is_a_share_of_its_logarithm_and_a_single_value_has_none() -> None:
    # 3 % of log 20 is 1.094
    edges = {(4.0, 0.5): "", (1.05, 0.5): "T = 1", (1.1, 0.5): "", (18.5, 0.5): "T = 20", (4.0, 0.03): "alpha = 0"}
    edges |= {(4.0, 0.031): "", (20.0, 1.0): "T = 20 and alpha = 1"}
    assert {point: at_edge(at(*point), SPEC) for point in edges} == edges
    assert at_edge(at(4.0, 1.0), override(SPEC, {"search.temperature": [4, 4]})) == "alpha = 1"


BEST = Estimate(8.5, 7.0, 10.0, 4)
CONTROL = Control(
    arm="class-mean", role="source", dataset="digits", gain=BEST, beyond=Estimate(0.1, -0.3, 0.5, 4), best=BEST
)


def explained(controls: Sequence[Control]) -> list[str]:
    """Return the sentences about these controls."""
    return words.explained(replace(make_findings(OVER_SEEDS, {}, until="transfer"), controls=tuple(controls)))


def test_a_control_that_gains_as_much_as_best_is_reported_with_its_meaning() -> None:
    other = replace(CONTROL, arm="label-smoothing", beyond=Estimate(8.0, 7.0, 9.0, 4))
    assert explained([CONTROL, other]) == [
        "digits: best gains 8.5 points (95 % CI 7.0 to 10.0) over no distillation, but at least half of that is gained"
        " by Class means of the logits (the mean logits of each class: how alike the classes are, nothing about the"
        " single image) as well"
    ]
    assert explained([other]) == [
        "digits: best gains 8.5 points (95 % CI 7.0 to 10.0) over no distillation, and no control is shown to gain half"
        " of that"
    ]


def test_controls_have_nothing_to_explain_if_best_gains_nothing() -> None:
    nothing = Estimate(0.5, -0.1, 1.1, 4)
    on_target = replace(CONTROL, role="target", dataset="digits-rgb")
    assert explained([replace(CONTROL, best=nothing), on_target]) == [
        "digits: best does not measurably beat no distillation (+0.5 points, −0.1 to +1.1): the controls have nothing"
        " to explain",
        *explained([on_target]),
    ]
    assert explained([]) == []


def test_looks_are_listed_with_their_plan_and_its_times() -> None:
    level = "planned (one-sided, 3 %, 1 %, 1 %; 5 % in all)"
    before = make_findings(OVER_SEEDS, {}, until="transfer")
    assert looked(before) == f"evaluations on the test set: 0 of 3 {level}"
    after = make_findings(OVER_SEEDS, accuracies(0.5))
    first, second, third = looked(after).split(". ")
    assert third == "Judged by rule 1, which this sweep declared"
    assert first == f"evaluations on the test set: 1 of 3 {level}"
    plan = f"Evaluation 1: 4 seeds, spec {after.fingerprint[:12]}"
    times = re.fullmatch(rf"{plan} stored (.{{19}}) UTC, test set first read (.{{19}}) UTC", second)
    assert times is not None, second
    assert times[1] <= times[2]
    two_looks = replace(after, looks=(*after.looks, replace(after.looks[0], number=2, seeds=5)))
    assert looked(two_looks).startswith(f"evaluations on the test set: 2 of 3 {level}. Evaluation 1: 4 seeds, ")
    assert "Evaluation 2: 5 seeds, spec " in looked(two_looks)


def test_a_single_look_has_no_total_and_the_newest_rule_is_not_named() -> None:
    newest = make_findings(override(OVER_SEEDS, {"transfer.rule": RULE}), {}, until="transfer")
    assert looked(newest).endswith(
        "0 of 3 planned (one-sided, Keras' default 2.5 %, values tuned on digits 0.1 %;"
        " the evaluations take 60 %, 20 %, 20 % of it)"
    )
    once = looked(make_findings(override(OVER_SEEDS, {"transfer.looks": 1}), accuracies(0.5)))
    assert once.startswith("evaluations on the test set: 1 of 1 planned (one-sided, 5 %). Evaluation 1: ")
