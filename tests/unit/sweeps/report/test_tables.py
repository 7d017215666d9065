"""The numbers for other programs: results.csv and a LaTeX table."""

import csv
import io
import math
from collections.abc import Iterator
from statistics import fmean
from unittest import mock

import pytest

from sweeps.findings.findings import Findings
from sweeps.report.folder import latex, results_csv
from sweeps.spec.model import override
from sweeps.stats.resampling import is_tied
from sweeps.stats.response import top
from sweeps.stats.top import Run
from sweeps.trainers.protocol import Point
from tests.support.points import at
from tests.support.sweeps.builders import make_findings
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.reported_sweeps import REPORTED, run
from tests.support.sweeps.small_sweeps import SMALL


@pytest.fixture(scope="module")
def searched() -> Iterator[Findings]:
    """Run three searches on each dataset; the fitted surfaces have an eighth of the cells."""
    with mock.patch("sweeps.stats.response.SIDE", 8):
        yield make_findings(override(REPORTED, {"outer.searches": 3, "search.trials": 6}), run)


@pytest.mark.parametrize("role", ["source", "target"])
def test_the_numbers_of_the_searches_follow_from_the_csv_and_the_spec(searched: Findings, role: str) -> None:
    """Recompute from the published files: the share of good points, ties with best, and optimism."""
    findings = searched
    (surface,) = [surface for surface in findings.surfaces if surface.role == role]
    lines = [line for line in csv.DictReader(io.StringIO(results_csv(findings))) if line["role"] == role]
    tried = [line for line in lines if line["stage"] != "transfer"]
    assert {(line["arm"], line["state"]) for line in tried} == {("", "done")}
    (t_low, t_high), (a_low, a_high) = findings.spec.search.temperature, findings.spec.search.alpha

    def place(value: float, low: float, high: float) -> float:
        return (value - low) / (high - low)

    runs = [
        Run(
            x=place(math.log(float(line["temperature"])), math.log(t_low), math.log(t_high)),
            y=place(float(line["alpha"]), a_low, a_high),
            score=100 * float(line["val_accuracy"]),
            seed=int(line["seed"]),
        )
        for group in ("", "t0s1", "t0s2")
        for line in tried
        if line["group"] == group
    ]
    assert surface.top == top(runs)
    confirms: dict[Point, dict[int, float]] = {}
    for line in tried:
        if (line["stage"], line["group"]) == ("confirm", ""):
            point = at(float(line["temperature"]), float(line["alpha"]))
            confirms.setdefault(point, {})[int(line["repeat"])] = 100 * float(line["val_accuracy"])
    assert surface.best is not None
    winner = confirms.pop(surface.best)
    assert surface.tied == tuple(point for point, values in confirms.items() if is_tied(winner, values))
    confirms[surface.best] = winner
    first = [line for line in tried if (line["stage"], line["group"]) == ("search", "")]
    luckiest = max(first, key=lambda line: float(line["val_accuracy"]))
    confirm_scores = confirms[at(float(luckiest["temperature"]), float(luckiest["alpha"]))]
    assert surface.optimism == pytest.approx(100 * float(luckiest["val_accuracy"]) - fmean(confirm_scores.values()))


def test_each_further_parameter_has_a_column_which_is_empty_for_arms_trained_without_it() -> None:
    spec = override(
        SMALL,
        {
            "training.distillation": "dkd",
            "search.space": {"nontarget_weight": [1, 8], "learning_rate": [0.001, 0.01]},
            "transfer.source_arms": ["best", "default-keras"],
        },
    )
    findings = make_findings(spec, quadratic, until="transfer#target")
    text = results_csv(findings)
    assert text.splitlines()[0] == (
        "dataset,role,arm,group,repeat,seed,state,temperature,alpha,learning_rate,nontarget_weight,"
        "val_accuracy,test_accuracy,train_s,cpu_s,stage"
    )
    lines = {(line["role"], line["arm"]): line for line in csv.DictReader(io.StringIO(text))}
    best, default, waiting = (
        lines[key] for key in (("source", "best"), ("source", "default-keras"), ("target", "best"))
    )
    chosen = findings.confirmed["source"].best.point.as_json()["more"]
    assert {name: float(best[name]) for name in chosen} == pytest.approx(chosen)
    assert (float(default["learning_rate"]), default["nontarget_weight"]) == (spec.training.learning_rate, "")
    assert (waiting["learning_rate"], waiting["nontarget_weight"]) == ("", "")


def test_every_special_character_of_latex_is_escaped() -> None:
    assert latex(r"50% of_a & b #1 {x} $5 ~ ^ \ <±>") == (
        r"50\% of\_a \& b \#1 \{x\} \$5 \textasciitilde{} \textasciicircum{} \textbackslash{}"
        r" \textless{}$\pm$\textgreater{}"
    )
