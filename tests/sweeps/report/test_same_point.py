"""Searches that found one point on both datasets: what is said of their trainings, wherever it is said."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from storage.queue.tasks import Claim
from sweeps.distill.session import Outcome
from sweeps.findings.findings import Findings
from sweeps.operations.operation import decode, encode
from sweeps.plan.identity import derive
from sweeps.report import folder
from sweeps.report.answer import headline
from sweeps.report.brief import brief
from sweeps.report.folder import json_data
from sweeps.report.page import report
from sweeps.spec.model import override
from sweeps.usecases.run import study_note
from tests.support.sweeps.answered_sweeps import OVER_SEARCHES
from tests.support.sweeps.planted_sweeps import analysed, work
from tests.support.sweeps.quadratic_worker import changed, quadratic
from tests.support.sweeps.small_sweeps import created

KdSweeps = Callable[..., tuple[int, str, str]]
SPEC = override(OVER_SEARCHES, {"search.sampler": "qmc", "search.trials": 4, "outer.trials": 4, "transfer.seeds": 8})
NEVER = re.compile(r"[+−-]?0\.0+,? (to )?\[?[+−-]?0\.0+\b|\[[+-]0\.00, [+-]0\.00\]|100 % \[100, 100\]|±0\.00")


def run(apart: tuple[str, ...]) -> Callable[[Claim, dict[str, Any], Callable[[], None]], Outcome]:
    """A runner whose result follows from the point, the seed and the dataset alone, as that of a real training does.

    Args:
        apart: the searches whose best point on the target is another one than on the source.
    """

    def trained(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        found = quadratic(claim, params, on_step)
        if "temperature" not in params:
            return found
        seed = claim.payload["seed"]
        luck = derive(seed, *(str(params[name]) for name in ("temperature", "alpha"))) / 2**31 / 100
        labels_only = 0.2 if params["alpha"] == 1 else 0.0
        turned = claim.stage == "native" and claim.payload.get("group", "") in apart
        score = (1.0 - found.score if turned else found.score - labels_only) + luck
        return replace(changed(found, val_accuracy=score, test_accuracy=score), score=score)

    return trained


def swept(folder: Path, *apart: str) -> sqlalchemy.URL:
    url = created(f"sqlite:///{folder}/s.db", SPEC)
    work(url, run(apart))
    return url


def told(findings: Findings, into: Path) -> dict[str, str]:
    """Everything that people read of a sweep, by where; of the page, what stands before its first fold."""
    files = folder.files(findings)
    html = re.sub("<style>.*?</style>", "", files["report.html"], flags=re.DOTALL)
    return {
        "html": html,
        "markdown": files["report.md"],
        "tex": files["table.tex"],
        "page": report(findings),
        "terminal": " ".join(brief(findings, columns=80).split()),
        "note": study_note(findings, {"s": 1}),
        "headline": headline(findings),
    }


@pytest.mark.parametrize("apart", [(), ("t0s1",), ("", "t0s2")], ids=["all the same", "one apart", "two apart"])
def test_a_training_is_never_compared_with_itself_as_if_that_were_evidence(
    tmp_path: Path, apart: tuple[str, ...], kd_sweeps: KdSweeps
) -> None:
    url = swept(tmp_path, *apart)
    findings = analysed(url)
    same = 3 - len(apart)
    assert findings.verdicts[0].same == same
    texts = told(findings, tmp_path)
    for command in (["best", "s"], ["compare", "s", "twin"]):
        if command[0] == "compare":
            work(created(str(url), SPEC, name="twin"), run(apart))
        code, texts[command[0]], _ = kd_sweeps(*command, "--storage", str(url))
        assert code == 0
    assert {where: found.group() for where, text in texts.items() if (found := NEVER.search(text))} == {}
    alike = f"{same} of 3 searches chose the same candidate on both datasets"
    for where in ("page", "markdown", "html", "note"):
        first = re.split("Where the searches looked", texts[where])[0]
        assert alike in first, where
    assert alike in texts["terminal"]
    assert "the same point" in texts["compare"]
    (verdict,) = json.loads(json.dumps(json_data(findings)))["verdicts"]
    assert verdict["same"] == same


def test_a_service_says_the_same_as_its_database(tmp_path: Path) -> None:
    findings = analysed(swept(tmp_path, "t0s1"))
    back = decode(Findings, encode(Findings, findings))
    assert back == findings
    assert brief(back, columns=80) == brief(findings, columns=80)
    assert report(back) == report(findings)
