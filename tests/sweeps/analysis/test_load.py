"""The findings are read in one go: a few statements, whatever is drawn of them afterwards, and nothing heavy."""

import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import sqlalchemy

from storage.db.engine import open_engine
from storage.errors import RecordBroken
from storage.records import queries
from storage.url import resolve
from sweeps.errors import NoResultsYet
from sweeps.findings.findings import Findings, load
from sweeps.query.listing import open_sweep
from sweeps.report import folder
from sweeps.report.folder import json_data
from sweeps.report.page import report
from tests.support.paths import REPOSITORY
from tests.support.sweeps.reported_sweeps import analysed, worked

STATEMENTS = 4  # tasks, revisions, selections, phases: the same for every sweep


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return worked(tmp_path_factory.mktemp("loaded"))


def counted(engine: sqlalchemy.Engine) -> list[str]:
    """The SELECT statements from now on."""
    found: list[str] = []

    @sqlalchemy.event.listens_for(engine, "before_cursor_execute")
    def count(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if statement.lstrip().startswith("SELECT"):
            found.append(statement)

    return found


@pytest.mark.parametrize("stop_at", ["", "transfer#source.best.1", "confirm"])
def test_the_findings_take_four_statements_and_no_page_takes_any(stop_at: str, tmp_path: Path) -> None:
    storage = worked(tmp_path, stop_at=stop_at)
    with open_sweep(storage, "s") as (engine, sweep):
        statements = counted(engine)
        findings = load(engine, sweep)
        assert len(statements) == STATEMENTS
        report(findings)
        json_data(findings)
        folder.write(findings, tmp_path / "report")
        assert len(statements) == STATEMENTS


def test_every_page_can_be_written_after_the_storage_is_gone(tmp_path: Path) -> None:
    findings = analysed(worked(tmp_path))
    (tmp_path / "s.db").unlink()
    assert folder.write(findings, tmp_path / "r").is_file()
    assert findings.fingerprint[:12] in report(findings)
    assert json_data(findings)["sweep"] == "s"


def test_the_same_sweep_has_equal_findings_that_cannot_be_changed(url: str) -> None:
    first, second = analysed(url), analysed(url)
    assert isinstance(first, Findings)
    assert first == second
    with pytest.raises(FrozenInstanceError):
        first.name = "other"  # type: ignore[misc]


def test_finished_is_when_every_row_is_done(url: str, tmp_path: Path) -> None:
    assert analysed(url).finished
    assert not analysed(worked(tmp_path, stop_at="transfer#source.best.1")).finished


def test_nothing_done_is_no_findings_but_what_to_type(tmp_path: Path) -> None:
    storage = worked(tmp_path, stop_at="teachers")
    with open_sweep(storage, "s") as (engine, sweep), pytest.raises(NoResultsYet, match=r"continue with: .*launch s"):
        load(engine, sweep)


def test_an_edited_outcome_is_named(tmp_path: Path) -> None:
    storage = worked(tmp_path, stop_at="confirm")
    engine = open_engine(resolve(storage))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE tasks SET outcome = json_remove(outcome, '$.val_accuracy') WHERE key = 'search#0'"
        )
    with pytest.raises(RecordBroken, match="search#0"):
        load(engine, queries.find_sweep(engine, "s"))
    engine.dispose()


def test_loading_imports_neither_scipy_nor_optuna_nor_tensorflow_nor_matplotlib() -> None:
    program = (
        "import sys, sweeps.findings.findings, sweeps.report.page, sweeps.report.folder;"
        "print({name.partition('.')[0] for name in sys.modules} & {'scipy', 'optuna', 'tensorflow', 'matplotlib'})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
