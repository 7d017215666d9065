"""Further observations on a sweep: whether T and alpha matter, controls, looks."""

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
from tests.support.sweeps.builders import found
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


def test_whether_t_and_alpha_matter_is_a_few_words() -> None:
    fits = [top(0.1, 0.02, 0.31), top(0.9, 0.51, 0.99), top(0.5, 0.2, 0.8), None]
    assert [parameter_effect_brief(replace(SURFACE, top=fitted)) for fitted in fits] == [
        "T and alpha matter",
        "T and alpha do not matter",
        *["whether T and alpha matter cannot be told"] * 2,
    ]


def test_the_share_of_good_points_is_given_with_its_interval() -> None:
    assert parameter_effect(SURFACE, ACCURACY) == (
        "T and alpha matter: 12 % [2, 31] of the searched box loses less than 0.23 points, half the seed sd of a run,"
        " against its best point"
    )
    untold = "whether T and alpha matter cannot be told (that takes 3 searches)"
    assert parameter_effect(replace(SURFACE, top=None), ACCURACY) == untold


def test_whether_t_and_alpha_matter_is_not_asked_where_more_is_searched() -> None:
    wide = replace(SURFACE, top=None, further=True)
    assert (parameter_effect(wide, ACCURACY), parameter_effect_brief(wide), identified(wide, SPEC)) == ("", "", "")
    assert identified(replace(wide, tied=(at(2.0, 0.1),)), SPEC) == "digits: tied with best: T = 2, alpha = 0.1"
    shares = replace(wide, importances=(("epochs", 0.75), ("temperature", 0.25)))
    assert parameter_effect_brief(shares) == "epochs mattered most (75 % of the variance)"
    assert "variance of the validation accuracy explained: epochs 75 %, T 25 %" in identified(shares, SPEC)


def test_a_search_says_its_edge_its_ties_and_its_luck() -> None:
    said = replace(SURFACE, best=at(20.0, 0.5), tied=(at(2.0, 0.1), at(3.0, 0.25)), optimism=0.734)
    assert identified(said, SPEC) == (
        f"digits: {parameter_effect(SURFACE, ACCURACY)}; best lies at the edge of what was searched (T = 20); tied with"
        " best: T = 2, alpha = 0.1; T = 3, alpha = 0.25; retrained on fresh seeds, the best search trial scored 0.73"
        " points lower (winner's curse and the luck of its seed)"
    )
    assert "trial scored 0.73 points higher (" in identified(replace(said, optimism=-0.734), SPEC)
    assert identified(SURFACE, SPEC) == f"digits: {parameter_effect(SURFACE, ACCURACY)}"
    assert identified(replace(SURFACE, best=None), SPEC) == "digits: not confirmed yet"


def test_the_edge_of_t_is_a_part_of_its_logarithm_and_a_range_without_width_has_none() -> None:
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
    """Return what is reported of these controls."""
    return words.explained(replace(found(OVER_SEEDS, {}, until="transfer"), controls=tuple(controls)))


def test_a_control_that_gains_as_best_does_is_called_what_it_is() -> None:
    other = replace(CONTROL, arm="label-smoothing", beyond=Estimate(8.0, 7.0, 9.0, 4))
    assert explained([CONTROL, other]) == [
        "digits: best gains +8.50 [+7.00, +10.00] (n=4) over no distillation, but at least half of that is gained by"
        " `class-mean` (the mean logits of each class: how alike the classes are, nothing about the single image) as"
        " well"
    ]
    assert explained([other]) == [
        "digits: best gains +8.50 [+7.00, +10.00] (n=4) over no distillation, and no control is shown to gain half"
        " of that"
    ]


def test_controls_have_nothing_to_explain_where_best_gains_nothing() -> None:
    nothing = Estimate(0.5, -0.1, 1.1, 4)
    there = replace(CONTROL, role="target", dataset="digits-rgb")
    assert explained([replace(CONTROL, best=nothing), there]) == [
        "digits: best was not shown to beat no distillation (+0.50 [-0.10, +1.10] (n=4)): the controls have nothing"
        " to explain",
        *explained([there]),
    ]
    assert explained([]) == []


def test_looks_are_listed_with_their_plan_and_the_time_it_was_stored() -> None:
    level = "tested one-sided at 3 %, 1 %, 1 %, together 5 %"
    before = found(OVER_SEEDS, {}, until="transfer")
    assert looked(before) == f"the test set has not been read; looks declared: 3, {level}"
    after = found(OVER_SEEDS, accuracies(0.5))
    first, second, third = looked(after).split(". ")
    assert third == "Judged by rule 1 of the verdict, as this sweep declared"
    assert first == f"looks at the test set: 1 of 3 declared, {level}"
    plan = f"Look 1: 4 seeds, spec {after.fingerprint[:12]}"
    times = re.fullmatch(rf"{plan} stored (.{{19}}) UTC, test set first read (.{{19}}) UTC", second)
    assert times is not None, second
    assert times[1] <= times[2]
    again = replace(after, looks=(*after.looks, replace(after.looks[0], number=2, seeds=5)))
    assert looked(again).startswith(f"looks at the test set: 2 of 3 declared, {level}. Look 1: 4 seeds, ")
    assert "Look 2: 5 seeds, spec " in looked(again)


def test_one_look_has_no_sum_and_the_newest_rule_is_not_named() -> None:
    newest = found(override(OVER_SEEDS, {"transfer.rule": RULE}), {}, until="transfer")
    assert looked(newest).endswith(
        "declared: 3, tested one-sided, default at 2.5 % and elsewhere at 0.1 %, of which the looks spend 60 %, 20 %,"
        " 20 %"
    )
    once = looked(found(override(OVER_SEEDS, {"transfer.looks": 1}), accuracies(0.5)))
    assert once.startswith("looks at the test set: 1 of 1 declared, tested one-sided at 5 %. Look 1: ")
