"""One line while a sweep works: the teacher, then the best point, then what distillation gains; never the test."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from storage.queue.tasks import Claim
from storage.records import queries
from sweeps.distill.presets import preset
from sweeps.distill.session import Outcome
from sweeps.query.best import WIDTH, insight
from sweeps.query.listing import open_sweep
from sweeps.spec.model import override
from sweeps.spec.stored import stored_spec
from tests.support.sweeps.planted_sweeps import worked
from tests.support.sweeps.quadratic_worker import changed, quadratic


def run(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
    """The validation accuracy of scratch is 4 points below that of the other arms; every test accuracy is 77 %."""
    found = quadratic(claim, params, on_step)
    if claim.stage != "transfer":
        return found
    score = 0.842 if claim.payload["arm"] == "scratch" else 0.882
    return replace(changed(found, test_accuracy=0.77, val_accuracy=score), score=score)


def _told(url: sqlalchemy.URL) -> str:
    with open_sweep(url, "s") as (engine, sweep):
        return insight(stored_spec(sweep), queries.task_records(engine, sweep.id, keep=()))


@pytest.mark.parametrize(
    ("until", "line"),
    [
        ("teachers#source", ""),
        ("search#0", "digits: teacher 50.0 % (provisional, validation)"),
        ("search#1", "digits: teacher 50.0 %, best 71.3 % (T 6.8, α 0.72; provisional, validation)"),
        ("search#2", "digits: teacher 50.0 %, best 82.2 % (T 4.1, α 0.02; provisional, validation)"),
        ("transfer#source.default-keras.0", "digits: best 88.2 %, no distillation 84.2 % (provisional, validation)"),
        (
            "transfer#target.default-keras.1",
            "digits-rgb: best 88.2 %, no distillation 84.2 % (provisional, validation)",
        ),
        ("", "digits-rgb: best 88.2 %, no distillation 84.2 % (provisional, validation)"),
    ],
)
def test_the_line_says_the_most_that_is_known(tmp_path: Path, until: str, line: str) -> None:
    told = _told(worked(f"sqlite:///{tmp_path}/a.db", preset("tiny"), run, stop_at=until))
    assert told == line
    assert len(told) <= WIDTH


def test_a_long_name_is_cut_and_the_numbers_are_not(tmp_path: Path) -> None:
    url = worked(f"sqlite:///{tmp_path}/a.db", preset("tiny"), run, stop_at="search#2")
    with open_sweep(url, "s") as (engine, sweep):
        spec = override(stored_spec(sweep), {"source.dataset": f"/srv/data/{'a-long-name' * 9}.npz"})
        told = insight(spec, queries.task_records(engine, sweep.id, keep=()))
    assert len(told) == WIDTH
    assert told.startswith("a-long")
    assert told.endswith(": teacher 50.0 %, best 82.2 % (T 4.1, α 0.02; provisional, validation)")
