"""The status line of a running sweep: teacher, then best point, then gain of distillation; no test scores."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sweeps.plan.jobs import AnyJob
from sweeps.query.best import WIDTH, insight
from sweeps.spec.model import override
from sweeps.workers.runner import Outcome
from tests.support.sweeps.builders import stored
from tests.support.sweeps.presets import before
from tests.support.sweeps.quadratic_worker import changed, quadratic

TINY = before("tiny")


def run(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
    """Score scratch 4 points below the other arms in validation, and every arm 77 % in the test."""
    outcome = quadratic(claim, params, on_step)
    if claim.row.stage != "transfer":
        return outcome
    score = 0.842 if claim.row.payload["arm"] == "scratch" else 0.882
    return replace(changed(outcome, test_accuracy=0.77, val_accuracy=score), score=score)


@pytest.mark.parametrize(
    ("until", "line"),
    [
        ("teachers#source", ""),
        ("search#0", "digits: teacher 50.0 % (provisional, validation)"),
        ("search#1", "digits: teacher 50.0 %, best 71.3 % (T 6.8, α 0.72; provisional, validation)"),
        ("search#2", "digits: teacher 50.0 %, best 82.2 % (T 4.11, α 0.021; provisional, validation)"),
        ("transfer#source.default-keras.0", "digits: best 88.2 %, no distillation 84.2 % (provisional, validation)"),
        (
            "transfer#target.default-keras.1",
            "digits-rgb: best 88.2 %, no distillation 84.2 % (provisional, validation)",
        ),
        ("", "digits-rgb: best 88.2 %, no distillation 84.2 % (provisional, validation)"),
    ],
)
def test_the_line_has_the_latest_result(until: str, line: str) -> None:
    text = insight(TINY, stored(TINY, run, until=until).rows)
    assert text == line
    assert len(text) <= WIDTH


def test_a_long_name_is_shortened_and_the_numbers_are_not() -> None:
    spec = override(TINY, {"source.dataset": f"/srv/data/{'a-long-name' * 9}.npz"})
    text = insight(spec, stored(TINY, run, until="search#2").rows)
    assert len(text) == WIDTH
    assert text.startswith("a-long")
    assert text.endswith(": teacher 50.0 %, best 82.2 % (T 4.11, α 0.021; provisional, validation)")
