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
from tests.support.sweeps.audit_checks import (
    attempt_where,
    audited,
    sweep_of,
    trial_where,
)
from tests.support.sweeps.audited_sweeps import execute


def test_a_missing_table_of_optuna_is_one_line(url: str) -> None:
    execute(url, "DROP TABLE trial_values")
    with pytest.raises(NotAStorage, match="trial_values"):
        audited(url)


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


_BULK = 10_000


_COUNTING = "WITH RECURSIVE c(n) AS (SELECT 100 UNION ALL SELECT n + 1 FROM c WHERE n < 99 + {bulk}) "


def _enlarge(url: str, bulk: int) -> None:
    """Add `bulk` done tasks to the search, each like search#2, with its attempt and its trial."""
    statements = {
        "tasks": "id, sweep_id, phase_id, stage, key, ordinal, payload, state, ready, priority, attempt, forgiven,"
        " revision, score, outcome SELECT 100 + n, sweep_id, phase_id, stage, 'search#' || n, n, payload, state,"
        " ready, priority, attempt, forgiven, revision, score, outcome FROM tasks, c WHERE key = 'search#2'",
        "attempts": "task_id, number, worker, host, pid, state, lease_until, started_at, finished_at, study,"
        " trial_number, params, told SELECT 100 + n, number, worker, host, pid, state, lease_until, started_at,"
        f" finished_at, study, n - 95, params, told FROM attempts, c WHERE {attempt_where('search#2')}",
        "trials": "trial_id, number, study_id, state SELECT 1000 + n, n - 95, study_id, state FROM trials, c"
        f" WHERE {trial_where('search#2')}",
        "trial_values": "trial_id, objective, value, value_type SELECT 1000 + n, objective, value, value_type"
        f" FROM trial_values, c WHERE {trial_where('search#2')}",
        "trial_params": "trial_id, param_name, param_value, distribution_json SELECT 1000 + n, param_name,"
        f" param_value, distribution_json FROM trial_params, c WHERE {trial_where('search#2')}",
        "trial_user_attributes": "trial_id, key, value_json SELECT 1000 + n, key, CASE key WHEN 'task'"
        " THEN '\"search#' || n || '\"' ELSE value_json END FROM trial_user_attributes, c"
        f" WHERE {trial_where('search#2')}",
    }
    inserts = []
    for table, rest in statements.items():
        columns, _, selected = rest.partition(" SELECT ")
        inserts.append(f"INSERT INTO {table} ({columns}) {_COUNTING.format(bulk=bulk)} SELECT {selected}")
    planned = f"""UPDATE revisions SET planned = REPLACE(planned, '"search": 4', '"search": {4 + bulk}')"""
    execute(url, *inserts, f"{planned} WHERE number = 1")


def test_ten_thousand_tasks_take_no_more_queries_than_thirty(url: str) -> None:
    counts = []
    for bulk in (0, _BULK):
        if bulk:
            _enlarge(url, bulk)
        engine = open_engine(resolve(url), read_only=True)
        asked: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda *seen, asked=asked: asked.append(seen[2]))
        found = judge(read_rows(engine, queries.find_sweep(engine, "s").id))  # which no plan of its spec has
        engine.dispose()
        assert (found.violations, found.warnings) == ([], [])
        assert found.accounted == 34 + bulk
        counts.append(len(asked))
    assert counts[0] == counts[1]
