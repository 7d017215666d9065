"""Rules 1 and 2, in a case outside the golden answers."""

import re

from sweeps.report import older
from tests.support.sweeps.answered_sweeps import OVER_SEEDS, accuracies
from tests.support.sweeps.builders import make_findings


def test_a_verdict_that_needs_more_than_fifty_further_seeds_is_not_worth_settling() -> None:
    findings = make_findings(
        OVER_SEEDS, accuracies(1.7)
    )  # 0.3 points from the margin: (t[.97] + t[.8]) / 0.3 is the square root of 80 to 90
    assert older.badge(findings).text.endswith("above or below 2 points; not worth settling")
    advice = older.advice(findings)
    assert re.search(r"Settling this takes [78]\d more seeds, which is not worth it\.$", advice.text)
    assert advice.commands == ()
