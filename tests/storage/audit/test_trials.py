"""storage.audit.checks, and the trials of storage.audit.checks: each damage is found, by name."""

import contextlib

import optuna
import pytest

from storage.queue.tasks import save_trial
from storage.records import queries
from storage.studies.ownership import owner_of
from storage.studies.studies import open_studies
from storage.url import resolve
from sweeps.plan.audit import audit
from sweeps.usecases.create import create_sweep
from sweeps.usecases.steering import reap_now, retry
from sweeps.workers.worker import Worker
from tests.support.sweeps.audit_checks import (
    OF_TRIALS,
    Damages,
    as_lines,
    attempt_where,
    audited,
    check_damage,
    set_outcome,
    study_of,
    trial_where,
)
from tests.support.sweeps.audited_sweeps import AUDITED, execute
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import created
from tests.support.sweeps.storage_sweeps import claimed

DAMAGES: Damages = {
    "a trial is deleted": (
        [f"DELETE FROM trial_{part} WHERE {trial_where('search#2')}" for part in OF_TRIALS]
        + [f"DELETE FROM trials WHERE {trial_where('search#2')}"],
        "search#2 attempt 1 is done: expected trial 3 of study s, found none",
    ),
    "the last trial of a study is deleted": (
        [f"DELETE FROM trial_{part} WHERE {trial_where('search#3')}" for part in OF_TRIALS]
        + [f"DELETE FROM trials WHERE {trial_where('search#3')}"],
        "search#3 attempt 1 is done: expected trial 4 of study s, found none",
    ),
    "the trial of a failed attempt is made COMPLETE": (
        [f"UPDATE trials SET state = 'COMPLETE' WHERE {trial_where('search#1')}"],
        "search#1 attempt 1 is failed: expected trial 1 of study s to be FAIL, found COMPLETE",
    ),
    "the trial of a result is made FAIL": (
        [f"UPDATE trials SET state = 'FAIL' WHERE {trial_where('search#2')}"],
        "search#2 attempt 1 is done: expected trial 3 of study s to be COMPLETE, found FAIL",
    ),
    "the trial of a result is made PRUNED": (
        [f"UPDATE trials SET state = 'PRUNED' WHERE {trial_where('search#2')}"],
        "search#2 attempt 1 is done: expected trial 3 of study s to be COMPLETE, found PRUNED",
    ),
    "a trial whose end was reported runs again": (
        [f"UPDATE trials SET state = 'RUNNING' WHERE {trial_where('search#2')}"],
        "search#2 attempt 1 is done: expected trial 3 of study s to be COMPLETE, found RUNNING",
    ),
    "a trial says that it is of another task": (
        [
            "UPDATE trial_user_attributes SET value_json = '\"search#3\"'"
            f" WHERE key = 'task' AND {trial_where('search#2')}"
        ],
        "search#2 attempt 1 is done: expected trial 3 of study s, found one of search#3 attempt 1",
    ),
    "an attempt points at the trial of another task": (
        [f"UPDATE attempts SET trial_number = 4 WHERE {attempt_where('search#2')}"],
        "search#2 attempt 1 is done: expected trial 4 of study s, found one of search#3 attempt 1",
    ),
    "an attempt forgets its trial": (
        [f"UPDATE attempts SET trial_number = NULL WHERE {attempt_where('search#2')}"],
        "search#2 attempt 1 is done, but has no trial",
    ),
    "a trial's value is edited": (
        [f"UPDATE trial_values SET value = 0.999 WHERE {trial_where('search#2')}"],
        r"search#2: expected one value, found score 0\.\d+, outcome 0\.\d+, trial 3 of study s 0\.999",
    ),
    "a trial's parameter is edited": (
        [f"UPDATE trial_params SET param_value = 7 WHERE param_name = 'temperature' AND {trial_where('search#2')}"],
        r"trial 3 of study s: expected the parameters \{.*\} of search#2 attempt 1, found \{.*'temperature': 7\.0.*\}",
    ),
    "a retry's trial names another predecessor": (
        [f"UPDATE trial_user_attributes SET value_json = '0' WHERE key = 'retry_of' AND {trial_where('search#1', 2)}"],
        "trial 2 of study s: expected retry_of 1 as search#1 attempt 2, found 0",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_one_line_that_says_what_was_expected_and_what_was_found(url: str, damage: str) -> None:
    check_damage(url, *DAMAGES[damage])


def test_a_second_result_for_a_task_is_found(url: str) -> None:
    with study_of(url) as study:
        ours = {"asked_by": "kd-sweeps", "task": "search#2", "attempt": 1}
        study.add_trial(optuna.trial.create_trial(value=0.5, user_attrs=ours))
    found = audited(url)
    assert found.violations == [
        "trial 5 of study s is COMPLETE: expected it to be of search#2 attempt 1, found that has trial 3 of study s"
    ]


def test_a_pruned_trial_is_a_result_if_the_outcome_says_so(url: str) -> None:
    execute(url, f"UPDATE trials SET state = 'PRUNED' WHERE {trial_where('search#2')}")
    execute(url, f"UPDATE trial_values SET value = 0.125 WHERE {trial_where('search#2')}")  # Optuna's: the last epoch's
    execute(url, """UPDATE tasks SET outcome = REPLACE(outcome, '"trial": {', '"trial": {"state": "PRUNED", ')""")
    found = audited(url)
    assert not [line for line in found.violations if line.startswith("search#2")]
    assert found.violations[0].startswith("teachers#source attempt 1 is done: expected trial 0 of study s.teachers")
    assert found.violations[0].endswith("to be PRUNED, found COMPLETE")


def test_trials_of_other_tools_are_a_warning_and_selecting_one_would_be_a_violation(url: str) -> None:
    with study_of(url) as study:
        study.add_trial(optuna.trial.create_trial(value=1.0))
        study.ask()
        study.enqueue_trial({"temperature": 1.5})
    found = audited(url)
    assert found.violations == []
    assert found.warnings == ["study s: trials 5, 6, 7 made by another tool, in no task's count, never selected"]
    foreign = '{"temperature": 1.5, "alpha": 0.25, "mean": 1.0}'
    execute(url, f"UPDATE selections SET value = '{foreign}' WHERE name = 'confirm.best'")
    assert audited(url).violations == [
        "selection confirm.best: expected parameters with which a task was done,"
        " found {'temperature': 1.5, 'alpha': 0.25}"
    ]


def test_our_mark_removed_from_a_trial_makes_it_another_tools(url: str) -> None:
    execute(url, f"DELETE FROM trial_user_attributes WHERE key = 'asked_by' AND {trial_where('search#2')}")
    found = audited(url)
    assert found.violations == ["search#2 attempt 1 is done: expected trial 3 of study s, found one of another tool"]
    assert len(found.warnings) == 1


def test_trials_that_nobody_told_and_orphans_are_warnings_until_they_are_reaped(url: str) -> None:
    execute(
        url,
        f"UPDATE attempts SET told = {'0' if 'sqlite' in url else 'FALSE'} WHERE {attempt_where('search#2')}",
        f"UPDATE trials SET state = 'RUNNING' WHERE {trial_where('search#2')}",
        f"DELETE FROM trial_values WHERE {trial_where('search#2')}",
    )
    with study_of(url) as study:
        for _ in range(2):  # of a worker that died before it saved the number
            trial = study.ask()
            for key, value in {"asked_by": "kd-sweeps", "task": "search#3", "attempt": 1}.items():
                trial.set_user_attr(key, value)
    found = audited(url)
    assert found.violations == []
    assert found.warnings == [
        "study s: the end of trial 3 is not reported yet; type: kd-sweeps reap s",
        "study s: no attempt has the RUNNING trials 5, 6; type: kd-sweeps reap s",
    ]
    reap_now(resolve(url), "s")
    found = audited(url)
    assert (found.violations, found.warnings) == ([], [])


def test_a_deleted_study_says_what_to_type_and_then_one_warning_says_what_is_gone(url: str) -> None:
    with contextlib.closing(open_studies(resolve(url))) as opened:
        optuna.delete_study(study_name="s", storage=opened.storage)
    gone = audited(url)
    assert gone.violations == [
        "study s is gone, deleted by another tool; the results are in our rows; to make it again, type:"
        " kd-sweeps create s"
    ]
    assert not create_sweep(resolve(url), "s", AUDITED).new
    vanished = (
        "study s: 5 trials deleted with it by another tool, before it was made again; the results are in our rows"
    )
    found = audited(url)
    assert (found.violations, found.warnings) == ([], [vanished])
    # The new study counts from 0, so its trials have numbers that our attempts had in the old one.
    execute(url, set_outcome("broken"))
    retry(resolve(url), "s")
    with Worker(resolve(url), "s", run=quadratic) as worker:
        assert worker.work() == 0
    found = audited(url)
    assert (found.violations, found.warnings) == ([], [vanished])
    execute(url, f"UPDATE trials SET number = 1 WHERE {trial_where('search#2', 2)}")
    assert len(audited(url).violations) == 4, "its numbers do not run from 0, so each task misses its trial"


def test_a_trial_whose_worker_is_about_to_save_its_number_is_no_orphan_before_it_has_another(storage_url: str) -> None:
    url = created(storage_url)
    with contextlib.closing(open_studies(url)) as opened:
        sweep = queries.find_sweep(opened.engine, "s")
        claim = claimed(opened.engine, sweep.id)
        attrs, owner = {"task": claim.key, "attempt": 1}, owner_of(opened.engine, sweep.id)
        lost, saved = (
            opened.ask("s.teachers", {}, owner=owner, params={}, attrs=attrs).number for _ in range(2)
        )  # the connection was cut, so that it asked twice
        assert audit(opened.engine, sweep).warnings == []
        assert save_trial(opened.engine, claim, study="s.teachers", number=saved, params={})
        opened.ask("s.teachers", {}, owner=owner, params={}, attrs=attrs | {"attempt": 7})  # no such attempt
        found = as_lines(audit(opened.engine, sweep))
    assert found.violations == []
    assert found.warnings == [f"study s.teachers: no attempt has the RUNNING trials {lost}, 2; type: kd-sweeps reap s"]
