"""Searches that chose the same point on both datasets: no output compares a training with itself."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from storage.tables import TaskRecord
from sweeps.findings.compare import compare
from sweeps.plan.identity import derive
from sweeps.plan.jobs import AnyJob
from sweeps.report import compare as comparison
from sweeps.report import markdown
from sweeps.report.figures.svg import draw, with_data
from sweeps.report.folder import json_data
from sweeps.spec.model import override
from sweeps.workers.runner import Outcome
from tests.support.sweeps.answered_sweeps import OVER_SEARCHES
from tests.support.sweeps.builders import make_findings, render_texts
from tests.support.sweeps.quadratic_worker import changed, quadratic

SPEC = override(OVER_SEARCHES, {"search.sampler": "qmc", "search.trials": 4, "outer.trials": 4, "transfer.seeds": 4})
NEVER = re.compile(r"[+−-]?0\.0+,? (to )?\[?[+−-]?0\.0+\b|\[[+-]0\.00, [+-]0\.00\]|100 % \[100, 100\]|±0\.00")


def run(apart: tuple[str, ...]) -> Callable[[TaskRecord, dict[str, Any], Callable[[], None]], Outcome]:
    """Return a runner whose result depends on point, seed and dataset alone, like that of a real training.

    Args:
        apart: the searches whose best point differs between source and target.
    """

    def trained(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        outcome = quadratic(claim, params, on_step)
        if "temperature" not in params:
            return outcome
        seed = claim.row.payload["seed"]
        luck = derive(seed, *(str(params[name]) for name in ("temperature", "alpha"))) / 2**31 / 100
        penalty = 0.2 if params["alpha"] == 1 else 0.0
        is_reversed = claim.row.stage == "native" and claim.row.payload.get("group", "") in apart
        score = (1.0 - outcome.score if is_reversed else outcome.score - penalty) + luck
        return replace(changed(outcome, val_accuracy=score, test_accuracy=score), score=score)

    return trained


@pytest.mark.parametrize("apart", [(), ("t0s1",), ("", "t0s2")], ids=["all the same", "one apart", "two apart"])
def test_a_training_compared_with_itself_never_counts_as_evidence(apart: tuple[str, ...]) -> None:
    findings = make_findings(SPEC, run(apart))
    same = 3 - len(apart)
    assert findings.verdicts[0].same == same
    texts = {place: text for place, text in render_texts(findings).items() if place not in ("json", "csv")}
    twins = compare(["s", "twin"], [findings, replace(findings, name="twin")])
    if same == 2:
        texts |= draw(with_data(findings))
    texts["compare"] = markdown.text(comparison.page(twins))
    assert {place: match.group() for place, text in texts.items() if (match := NEVER.search(text))} == {}
    alike = f"{same} of 3 searches chose the same candidate on both datasets"
    for place in ("page", "markdown", "html", "note"):
        first = re.split("The searches", texts[place])[0]
        assert alike in first, place
    assert alike in " ".join(texts["terminal"].split())
    assert "the same point" in texts["compare"]
    (verdict,) = json.loads(json.dumps(json_data(findings)))["verdicts"]
    assert verdict["same"] == same
