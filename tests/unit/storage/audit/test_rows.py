"""storage.audit.rows: everything is read of one moment, in few queries, and what stands in the way is one line."""

import pytest
from sqlalchemy import event

from storage.audit.audit import judge
from storage.audit.rows import read_rows
from storage.db.engine import open_engine
from storage.errors import NotAStorage, SweepNotFound
from storage.records import queries
from storage.url import resolve
from sweeps.plan.audit import audit
from sweeps.usecases.steering import delete
from tests.support.sweeps.audit_checks import attempt_where, audited, sweep_of
from tests.support.sweeps.audited_sweeps import execute


def test_a_missing_table_of_optuna_is_one_line(url: str) -> None:
    execute(url, "DROP TABLE trial_values")
    with pytest.raises(NotAStorage, match="trial_values"):
        audited(url)


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
def test_a_sweep_that_is_deleted_meanwhile_is_one_line(url: str) -> None:
    sweep = sweep_of(url)
    delete(resolve(url), "s")
    with pytest.raises(SweepNotFound, match="deleted"):
        audited(url, sweep)


def test_what_is_written_while_it_reads_is_not_seen(url: str) -> None:
    engine = open_engine(resolve(url), read_only=True)
    sweep = queries.find_sweep(engine, "s")
    written = []

    @event.listens_for(engine, "before_cursor_execute")
    def write_meanwhile(
        connection: object, cursor: object, statement: str, parameters: object, context: object, many: bool
    ) -> None:
        if "FROM attempts" in statement and not written:  # the tasks were read, the attempts come next
            written.append(statement)
            execute(url, f"DELETE FROM attempts WHERE {attempt_where('search#2')}")

    found = audit(engine, sweep)
    engine.dispose()
    assert written
    assert found.violations == []
    assert len(audited(url).violations) == 1


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
def test_34_tasks_with_a_trial_each_take_fewer_queries(template: str) -> None:
    engine = open_engine(resolve(template), read_only=True)
    sweep = queries.find_sweep(engine, "s")
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    found = judge(read_rows(engine, sweep.id))
    engine.dispose()
    assert (found.violations, found.warnings, found.accounted) == ([], [], 34)
    assert len(statements) < 20
