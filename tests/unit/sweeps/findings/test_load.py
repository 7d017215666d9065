"""Reading the findings takes a few statements; tables and figures need no more."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from storage.errors import RecordBroken
from storage.url import resolve
from sweeps.errors import NoResultsYet
from sweeps.findings.findings import Findings, load
from sweeps.query.listing import open_sweep
from sweeps.report.page import report
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.builders import make_findings
from tests.support.sweeps.planted_sweeps import work
from tests.support.sweeps.reported_sweeps import run, worked

STATEMENTS = 4  # tasks, revisions, selections, phases: the same for every sweep


def counted(engine: sqlalchemy.Engine) -> list[str]:
    """Collect the SELECT statements from now on."""
    statements: list[str] = []

    @sqlalchemy.event.listens_for(engine, "before_cursor_execute")
    def count(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if statement.lstrip().startswith("SELECT"):
            statements.append(statement)

    return statements


def test_findings_take_four_statements_and_equal_those_from_rows_in_memory(tmp_path: Path) -> None:
    """In the middle and at the end, with proposed points: nearly all other tests here rely on it."""
    changes = {"search.trials": 3, "confirm.rounds": [[3, 1], [2, 1]], "outer.searches": 2, "baselines.methods": []}
    changes |= {"transfer.seeds": 2, "transfer.target_arms": ["best", "scratch", "native", "class-mean"]}
    half = "transfer#target.best.1"
    url = worked(tmp_path, stop_at=half, **changes)
    for until in (half, ""):
        with open_sweep(url, "s") as (engine, sweep):
            statements = counted(engine)
            stored = load(engine, sweep)
            assert len(statements) == STATEMENTS
        memory = make_findings(stored.spec, run, until=until, sampled=True)
        assert (memory.answer_hash, memory.fingerprint) == (stored.answer_hash, stored.fingerprint)
        assert memory.finished == stored.finished == (not until)
        assert [known(memory, name) for name in SAME] == [known(stored, name) for name in SAME]
        assert report(placed(memory)) == report(placed(stored))
        if until:
            # Let the next worker take over the task of the vanished one at once.
            execute(url, "UPDATE attempts SET lease_until = 0", "UPDATE sweeps SET repaired_at = NULL")
            work(resolve(url), run)


WHERE = {
    "attempt": 0,
    "worker": None,
    "started_at": None,
    "finished_at": None,
    "params": None,
    "study": None,
    "trial_number": None,
}
SAME = ("surfaces", "confirmed", "rows", "differences", "controls", "outer", "trainings", "searched")


def known(findings: Findings, name: str) -> Any:
    """Return a part of the findings without times, places, and whether a training runs."""
    part = getattr(findings, name)
    if name not in ("trainings", "searched"):
        return part
    return [
        replace(
            training,
            row=replace(training.row, **WHERE, state=training.row.state.replace("running", "waiting")),
            outcome=training.outcome
            and training.outcome.model_copy(update={"wall_s": 0, "worker": "", "provenance": {}}),
        )
        for training in part
    ]


def placed(findings: Findings) -> Findings:
    """Give the findings fixed times and machines."""
    looks = tuple(replace(look, registered_at=0, first_read=0) for look in findings.looks)
    provenance = replace(findings.provenance, machines=(), wall_s=0, work_s=0)
    runs = {name: tuple(known(findings, name)) for name in ("trainings", "searched")}
    return replace(findings, looks=looks, provenance=provenance, **runs)


def test_without_a_result_there_is_an_error_with_what_to_type(tmp_path: Path) -> None:
    storage = worked(tmp_path, stop_at="teachers")
    with open_sweep(storage, "s") as (engine, sweep), pytest.raises(NoResultsYet, match=r"continue with: .*launch s"):
        load(engine, sweep)


def test_an_edited_outcome_gives_an_error_with_its_task(tmp_path: Path) -> None:
    storage = worked(tmp_path, stop_at="confirm")
    execute(storage, "UPDATE tasks SET outcome = json_remove(outcome, '$.val_accuracy') WHERE key = 'search#0'")
    with open_sweep(storage, "s") as (engine, sweep), pytest.raises(RecordBroken, match="search#0"):
        load(engine, sweep)
