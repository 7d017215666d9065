"""One dataset: the baseline of gains, and that no text mentions transfer. Its answers are golden pages."""

import re

import pytest

from sweeps.errors import SpecError
from sweeps.findings.compare import standings
from sweeps.findings.secondary import questions
from sweeps.report import folder
from sweeps.report.brief import brief
from sweeps.report.page import report, title
from sweeps.spec.model import override
from sweeps.stats.estimates import Estimate
from tests.support.sweeps.builders import make_findings
from tests.support.worded.answers import BEST, ONE_DATASET, RATE, below


def test_with_a_searched_learning_rate_gains_are_counted_from_scratch_tuned() -> None:
    arms = {"best": BEST, "scratch": below(11), "scratch-tuned": below(0), "default-keras": below(12)}
    findings = make_findings(override(ONE_DATASET, RATE), arms)
    assert [(question.name, question.rival) for question in questions(findings)] == [
        ("gain on the source", "scratch-tuned")
    ]
    (standing,) = standings([findings])
    assert isinstance(standing.gain, Estimate)
    assert standing.gain.mean == pytest.approx(0, abs=1e-9)


def test_no_text_mentions_transfer() -> None:
    findings = make_findings(ONE_DATASET, {"best": BEST, "scratch": below(5), "default-keras": below(2)})
    file_texts = [text for name, text in folder.files(findings).items() if name.endswith((".html", ".md", ".svg"))]
    texts = [*file_texts, report(findings), brief(findings, columns=80)]
    assert not [match for text in texts for match in re.findall(r".{0,30}[Tt]ransfer.{0,30}", text)]
    assert title(findings) == "s: digits"


@pytest.mark.parametrize("arms", [["best"], ["scratch", "default-keras"]])
def test_a_sweep_without_the_arms_of_its_answer_is_refused(arms: list[str]) -> None:
    with pytest.raises(SpecError, match="with one dataset the answer compares best and scratch, so it must have both"):
        override(ONE_DATASET, {"transfer.source_arms": arms})
