"""An incomplete look: no output has a test score until the look is complete."""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sweeps.findings.findings import Findings
from sweeps.plan.jobs import AnyJob
from sweeps.report.figures.svg import with_data
from sweeps.report.folder import results_csv
from sweeps.spec.model import override
from sweeps.usecases.run import plots
from sweeps.workers.runner import Outcome
from tests.support.sweeps.answered_sweeps import OVER_SEEDS
from tests.support.sweeps.builders import make_findings, render_texts
from tests.support.sweeps.planted_sweeps import planted
from tests.support.sweeps.quadratic_worker import changed

# Every test accuracy is 77 to 78 %, and nothing else in these sweeps is: validation accuracies are 50 %.
TESTS = {"native": [77.71, 77.83, 77.96], "best": [77.52, 77.64, 77.43], "scratch": [77.13, 77.31, 77.22]}
TESTS |= {"random": [77.05, 77.15, 77.09], "default-keras": [77.36, 77.48, 77.27], "class-mean": [77.01, 77.02, 77.04]}
SPEC = override(
    OVER_SEEDS,
    {"transfer.seeds": 3, "transfer.source_arms": ["best", "scratch", "default-keras", "class-mean"], "note": "a note"},
)
HALF = "transfer#target.best.2"  # the first unfinished task
TELLS = re.compile(r"(?<![\d.])(77\.|0\.77)\d|[+−-]0\.\d")
READ = ("html", "markdown", "csv", "tex", "page", "terminal", "json", "note")


def run(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
    outcome = planted(TESTS)(claim, params, on_step)
    return replace(changed(outcome, val_accuracy=0.5), score=0.5) if claim.row.stage == "transfer" else outcome


def telling(texts: dict[str, str]) -> list[str]:
    """Return the texts that contain a test accuracy, or a difference of two."""
    return [name for name in READ if TELLS.search(texts[name])]


def of_target(findings: Findings) -> Findings:
    """Return the findings without the source, whose look is complete before the target is read."""
    return replace(
        findings,
        trainings=tuple(training for training in findings.trainings if training.work.role != "source"),
        rows=tuple(row for row in findings.rows if row.dataset != "digits"),
        differences=tuple(difference for difference in findings.differences if difference.dataset != "digits"),
        controls=tuple(control for control in findings.controls if control.role != "source"),
    )


@pytest.mark.parametrize("left", ["waiting", "cancelled"])  # cancelling must not reveal results
def test_no_output_has_results_of_an_incomplete_look(left: str) -> None:
    findings = of_target(make_findings(SPEC, run, until=HALF, left=left))
    half = render_texts(findings)
    assert telling(half) == []
    assert [figure.name for figure, _ in with_data(findings)] == ["surface"]
    assert plots(findings) == {}
    assert "Secondary questions" not in half["markdown"]
    assert "NOT YET: " in half["page"]


def test_every_output_has_the_results_of_a_complete_look() -> None:
    findings = make_findings(SPEC, run)
    whole = render_texts(findings)
    assert telling(whole) == [*READ]
    assert [figure.name for figure, _ in with_data(findings)] == [
        "gains",
        "regret",
        "surface",
    ]
    assert list(plots(findings)) == ["answer-0"]
    assert "Secondary questions" in whole["markdown"]


def test_a_dataset_with_a_complete_look_is_shown_while_another_is_incomplete() -> None:
    findings = make_findings(SPEC, run, until=HALF)
    assert {training.work.role for training in findings.trainings if training.outcome is None} == {"target"}
    rows = {(row.method, row.dataset): row.test is not None for row in findings.rows if row.kind == "arm"}
    assert rows["best", "digits"]
    assert not rows["best", "digits-rgb"]
    lines = list(csv.DictReader(io.StringIO(results_csv(findings))))
    assert {line["test_accuracy"] for line in lines if line["role"] == "target"} == {""}
    done = [line for line in lines if (line["role"], line["stage"], line["state"]) == ("target", "transfer", "done")]
    assert done
    assert {line["val_accuracy"] for line in done} == {"0.5"}, "validation scores are shown"
