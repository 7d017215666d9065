"""storage.audit.checks: each way of damaging a task or an attempt is found, by name."""

import pytest

from storage.url import resolve
from sweeps.usecases.steering import retry
from sweeps.workers.worker import Worker
from tests.support.sweeps.audit_checks import (
    Damages,
    attempt_where,
    audited,
    check_damage,
    set_outcome,
)
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.quadratic_worker import quadratic

DAMAGES: Damages = {
    "an attempt points into another study": (
        [f"UPDATE attempts SET study = 's.confirm' WHERE {attempt_where('search#0')}"],
        "search#0 attempt 1: expected a trial of study s, found one of s.confirm",
    ),
    "a score is edited": (
        ["UPDATE tasks SET score = 0.999 WHERE key = 'search#2'"],
        r"search#2: expected one value, found score 0\.999, outcome 0\.\d+, trial 3 of study s 0\.\d+",
    ),
    "an attempt's parameters are edited": (
        ["UPDATE attempts SET params = '{\"alpha\": 2}' WHERE " + attempt_where("transfer#source.scratch.0")],
        r"trial \d of study s.transfer: expected the parameters \{'alpha': 2\} of transfer#source.scratch.0 attempt 1,"
        r" found \{.*\}",
    ),
    "an attempt's parameters are no JSON": (
        ["UPDATE attempts SET params = '{' WHERE " + attempt_where("transfer#source.scratch.0")],
        r"transfer#source.scratch.0 attempt 1: its parameters are not JSON \(.*\)",
    ),
    "the only attempt is dropped": (
        [f"DELETE FROM attempts WHERE {attempt_where('search#2')}"],
        "search#2: expected attempt 1, found no attempt",
    ),
    "the first of two attempts is dropped": (
        [f"DELETE FROM attempts WHERE {attempt_where('search#1')}"],
        "search#1: expected attempts 1, 2, found attempt 2",
    ),
    "an attempt too many": (
        [
            "INSERT INTO attempts (task_id, number, worker, host, pid, state, lease_until, started_at, told)"
            f" SELECT task_id, 2, worker, host, pid, 'running', lease_until, started_at, told FROM attempts"
            f" WHERE {attempt_where('search#2')}"
        ],
        "search#2: expected attempt 1, found attempts 1, 2",
    ),
    "a second attempt is done": (
        [f"UPDATE attempts SET state = 'done' WHERE {attempt_where('search#1')}"],
        "search#1 is done: expected attempt 2 done, found attempts 1, 2",
    ),
    "an attempt of a done task is running": (
        [f"UPDATE attempts SET state = 'running' WHERE {attempt_where('search#1')}"],
        "search#1 is done: expected no attempt running, found attempt 1",
    ),
    "an attempt's state is a word we do not know": (
        [f"UPDATE attempts SET state = 'ended' WHERE {attempt_where('search#1')}"],
        "search#1 attempt 1 is 'ended'; one of running, done, failed, lost, released",
    ),
    "a done task waits again": (
        ["UPDATE tasks SET state = 'waiting' WHERE key = 'search#2'"],
        "search#2 is waiting, but its phase search is closed",
    ),
    "a done task of an open phase waits again": (
        [
            "UPDATE tasks SET state = 'waiting' WHERE key = 'search#2'",
            "UPDATE phases SET state = 'open' WHERE name = 'search'",
        ],
        "search#2 is waiting: expected no attempt done, found attempt 1",
    ),
    "a done task runs": (
        [
            "UPDATE tasks SET state = 'running' WHERE key = 'search#2'",
            "UPDATE phases SET state = 'open' WHERE name = 'search'",
        ],
        "search#2 is running: expected attempt 1 running, found no attempt",
    ),
    "a task's state is a word we do not know": (
        ["UPDATE tasks SET state = 'lost' WHERE key = 'search#2'"],
        "search#2 is 'lost'; a task is one of waiting, running, done, failed, cancelled, skipped",
    ),
    "a task too many": (
        [
            "INSERT INTO tasks (id, sweep_id, phase_id, stage, key, ordinal, payload, state, ready, priority, attempt,"
            " forgiven, revision) SELECT 999, sweep_id, phase_id, stage, 'search#9', 999, payload, 'cancelled', ready,"
            " priority, 0, 0, 1 FROM tasks WHERE key = 'search#2'"
        ],
        "search: expected 4 tasks as planned, found 5",
    ),
    "a retry names another predecessor": (
        [f"UPDATE attempts SET retry_of = 0 WHERE {attempt_where('search#1', 2)}"],
        "search#1 attempt 2: expected retry_of 1, found 0",
    ),
    "a retry names none": (
        [f"UPDATE attempts SET retry_of = NULL WHERE {attempt_where('search#1', 2)}"],
        "search#1 attempt 2: expected retry_of 1, found None",
    ),
    "a retry had other parameters": (
        [f"UPDATE attempts SET params = '{{\"alpha\": 2}}' WHERE {attempt_where('search#1', 2)}"],
        r"search#1 attempt 2: expected the parameters \{.*\}, found \{'alpha': 2\}",
    ),
    "an outcome is no JSON": (
        [set_outcome('{"trial": ')],
        r"search#2: its outcome is not JSON \(.*\); type: kd-sweeps retry s",
    ),
    "an outcome is nested without end": (
        [set_outcome("[" * 5_000 + "]" * 5_000)],
        r"search#2: its outcome is not JSON \(it is nested more than 100 levels deep\); type: kd-sweeps retry s",
    ),
    "an outcome without a result": (
        [set_outcome("{}")],
        r"search#2 is done: expected an outcome with a result, found \{\}",
    ),
    "an outcome is gone": (
        ["UPDATE tasks SET outcome = NULL WHERE key = 'search#2'"],
        "search#2 is done: expected an outcome with a result, found None; type: kd-sweeps retry s",
    ),
    "a payload is no JSON": (
        ["UPDATE tasks SET payload = '{' WHERE key = 'search#2'"],
        r"search#2: its payload is not JSON \(.*\)",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_one_line_that_says_what_was_expected_and_what_was_found(url: str, damage: str) -> None:
    check_damage(url, *DAMAGES[damage])


def test_a_task_that_is_gone_is_missed_in_the_plan_and_by_its_trial(url: str) -> None:
    execute(url, f"DELETE FROM attempts WHERE {attempt_where('search#2')}", "DELETE FROM tasks WHERE key = 'search#2'")
    found = audited(url)
    assert found.violations == [
        "search: expected 4 tasks as planned, found 3",
        "trial 3 of study s is COMPLETE: expected it to be of search#2 attempt 1, found no such attempt",
    ]
    assert (found.planned, found.accounted) == (34, 33)


def test_a_result_that_was_destroyed_and_made_again_is_a_note(url: str) -> None:
    execute(url, set_outcome('{"trial": '))
    retry(resolve(url), "s")
    waiting = audited(url)
    assert (waiting.violations, waiting.warnings) == ([], [])
    with Worker(resolve(url), "s", run=quadratic) as worker:
        assert worker.work() == 0
    found = audited(url)
    assert (found.violations, found.warnings) == ([], [])
    assert found.notes == [
        "trial 3 of study s is COMPLETE: the outcome of search#2 attempt 1 was destroyed later, and the task was"
        " tried again"
    ]
