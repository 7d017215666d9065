"""Typed values survive JSON unchanged."""

import json
import math
from dataclasses import replace

import pytest

from sweeps.errors import SweepError
from sweeps.findings.findings import Findings
from sweeps.operations.operation import decode, encode
from sweeps.query.listing import TrialRow
from sweeps.report.folder import json_data
from sweeps.report.page import report
from sweeps.spec.model import override
from tests.support.sweeps.builders import make_findings
from tests.support.sweeps.reported_sweeps import REPORTED, run

# With Sobol points alone the searches find the same point on both datasets; three of them allow a fit.
SAME_POINT = override(REPORTED, {"search.sampler": "qmc", "search.trials": 4, "outer.searches": 3})
ROW = TrialRow(
    task="search#0",
    stage="search",
    state="done",
    attempt=1,
    trial=0,
    dataset="digits",
    arm=None,
    temperature=0.1 + 0.2,
    alpha=1e-300,
    score=0.5,
    test_accuracy=None,
    seed=2**62,
    train_s=1.0,
    cpu_s=1.0,
    worker="w",
    reason=None,
)


@pytest.mark.parametrize(("reason", "back"), [("é\u2028", "é\u2028"), ("é\ud800\n", "é\\ud800\n")])
def test_a_row_survives_to_the_last_bit_and_a_lone_surrogate_is_escaped(reason: str, back: str) -> None:
    assert decode(TrialRow, encode(TrialRow, replace(ROW, reason=reason))) == replace(ROW, reason=back)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_without_a_json_number_survive(value: float) -> None:
    text = encode(TrialRow, replace(ROW, score=value))
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert str(decode(TrialRow, text).score) == str(value)


def test_fields_of_a_later_version_are_ignored() -> None:
    text = json.dumps(json.loads(encode(TrialRow, ROW)) | {"later": 1}).encode()
    assert decode(TrialRow, text) == ROW


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b'{"task": 3}'])
def test_a_value_of_another_type_gives_a_one_line_error(text: bytes) -> None:
    with pytest.raises(SweepError) as error:
        decode(TrialRow, text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("until", ["", "transfer#target", "confirm"])
def test_findings_survive_unchanged_at_every_stage(until: str) -> None:
    findings = make_findings(SAME_POINT, run, until=until)
    back = decode(Findings, encode(Findings, findings))
    assert back == findings
    assert report(back) == report(findings)
    assert json.dumps(json_data(back)) == json.dumps(json_data(findings))
