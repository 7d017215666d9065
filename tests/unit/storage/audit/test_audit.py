"""storage.audit: a finished sweep is clean, and each kind of damage gives one line that names it."""

import contextlib
import re
from pathlib import Path

import optuna
import pytest

from storage.audit.audit import judge
from storage.audit.rows import read_rows
from storage.queue.tasks import finish, save_point
from storage.records import queries
from storage.studies.space import Trial
from storage.studies.studies import open_studies
from storage.url import resolve
from sweeps.plan.audit import audit
from sweeps.usecases.create import create_sweep
from sweeps.usecases.steering import reap_now, retry
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
from tests.support.sweeps.planted_sweeps import work
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import created
from tests.support.sweeps.storage_sweeps import claimed

_BLOB = r"logits of teachers#\w+: expected a blob of SHA-256 [0-9a-f]{12}"


_A_BLOB = "digest IN (SELECT MIN(digest) FROM blobs)"
DESTROYED = [(3, "s", "search#2"), (0, "s.teachers", "teachers#source"), (1, "s.teachers", "teachers#target")]


DAMAGES: Damages = {
    "the spec is edited": (
        ["""UPDATE sweeps SET spec = REPLACE(spec, '"trials": 4', '"trials": 5')"""],
        "the spec of the sweep was changed: expected fingerprint [0-9a-f]{12}, found [0-9a-f]{12}",
    ),
    "the spec of the first revision is edited": (
        ["""UPDATE revisions SET spec = REPLACE(spec, '"trials": 4', '"trials": 5') WHERE number = 1"""],
        "the spec of revision 1 was changed: expected fingerprint [0-9a-f]{12}, found [0-9a-f]{12}",
    ),
    "the sweep has the spec of an older revision": (
        [
            "UPDATE sweeps SET spec = (SELECT spec FROM revisions WHERE number = 1),"
            " fingerprint = (SELECT fingerprint FROM revisions WHERE number = 1)"
        ],
        "the sweep: expected the spec [0-9a-f]{12} of its revision 2, found [0-9a-f]{12}",
    ),
    "the spec is not JSON": (["UPDATE sweeps SET spec = 'seed = 1'"], r"the spec of the sweep is not JSON \(.*\)"),
    "a revision is dropped": (
        ["DELETE FROM revisions WHERE number = 1"],
        r"the plan: expected the revisions \[1, 2\], found \[2\]",
    ),
    "a planned number is edited": (
        ["""UPDATE revisions SET planned = REPLACE(planned, '"search": 4', '"search": 5') WHERE number = 1"""],
        "search: expected 5 tasks as planned, found 4",
    ),
    "the planned numbers are not JSON": (
        ["UPDATE revisions SET planned = 'many' WHERE number = 1"],
        r"the plan: expected how many tasks each phase got, found no such counts in the revisions \[1\]",
    ),
    "a selection holds a point that was never tried": (
        ["""UPDATE selections SET value = REPLACE(value, '"alpha": 0.', '"alpha": 3.') WHERE name = 'search.ranks'"""],
        r"selection search.ranks: expected parameters with which search#\d was done, found \{.*'alpha': 3\..*\}",
    ),
    "a selection names a task that does not exist": (
        [
            'UPDATE selections SET value = \'{"ranks": [{"task": "search#77", "alpha": 0.5}]}\''
            " WHERE name = 'search.ranks'"
        ],
        r"selection search.ranks: expected parameters with which search#77 was done, found \{'alpha': 0\.5\}",
    ),
    "a selection names a task that is not text": (
        ['UPDATE selections SET value = \'{"ranks": [{"task": ["x"], "alpha": 0.5}]}\' WHERE name = \'search.ranks\''],
        r"selection search.ranks: expected parameters with which \['x'\] was done, found \{'alpha': 0\.5\}",
    ),
    "a selection is not JSON": (
        ["UPDATE selections SET value = '' WHERE name = 'confirm.best'"],
        r"selection confirm.best is not JSON \(.*\)",
    ),
    "a blob is truncated": (
        [f"UPDATE blobs SET bytes = SUBSTR(bytes, 1, 100) WHERE {_A_BLOB}"],
        rf"{_BLOB}, found 100 bytes of SHA-256 [0-9a-f]{{12}}; type: kd-sweeps retry s",
    ),
    "a blob holds the bytes of another": (
        [f"UPDATE blobs SET bytes = (SELECT bytes FROM blobs WHERE NOT {_A_BLOB}) WHERE {_A_BLOB}"],
        rf"{_BLOB}, found 1500 bytes of SHA-256 [0-9a-f]{{12}}; type: kd-sweeps retry s",
    ),
    "a blob is gone": ([f"DELETE FROM blobs WHERE {_A_BLOB}"], f"{_BLOB}, found none; type: kd-sweeps retry s"),
}


def test_a_finished_sweep_is_clean_and_every_task_is_counted(template: str) -> None:
    report = audited(template)
    assert (report.violations, report.warnings, report.notes) == ([], [], [])
    counts = {stage.stage: (stage.planned, stage.done) for stage in report.stages}
    assert counts == {
        "teachers": (2, 2),
        "search": (4, 4),
        "baselines": (1, 1),
        "confirm": (1, 1),
        "native": (5, 5),
        "transfer": (20, 20),  # half of them added by the extension
        "measure": (1, 1),
    }
    assert report.planned == report.accounted == 34


def test_retry_recreates_a_damaged_blob_and_outcome_and_the_audit_keeps_a_note(url: str) -> None:
    execute(url, DAMAGES["a blob is truncated"][0][0], set_outcome('{"trial": '))
    lines = audited(url).violations
    assert len(lines) == 2
    assert all(line.endswith("type: kd-sweeps retry s") for line in lines)
    retry(resolve(url), "s")
    report = audited(url)
    assert (report.violations, report.warnings) == ([], [])
    work(resolve(url), quadratic)
    report = audited(url)
    assert (report.violations, report.warnings) == ([], [])
    assert report.notes == [
        f"trial {number} of study {study} is COMPLETE: the outcome of {task} attempt 1 was destroyed later, and the"
        " task was retried"
        for number, study, task in DESTROYED
        if task.partition("#")[2] in lines[0] + lines[1]
    ]


def test_a_lapsed_lease_is_a_warning_with_its_worker_and_what_to_type(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/x.db")
    with contextlib.closing(open_studies(url)) as opened:
        sweep = queries.find_sweep(opened.engine, "s")
        claimed(opened.engine, sweep.id, worker="good")
        assert audit(opened.engine, sweep).warnings == []
        claimed(opened.engine, sweep.id, worker="gone", lease_s=-90)
        report = as_lines(audit(opened.engine, sweep))
    assert report.violations == []
    assert re.fullmatch(
        r"\w+#\w+ attempt 1: the lease of gone on h lapsed 9\d s ago; to run it again, type:"
        " kd-sweeps launch s; only to free it, type: kd-sweeps reap s",
        "".join(report.warnings),
    )
    stages = {stage.stage: (stage.planned, stage.waiting, stage.running) for stage in report.stages}
    assert stages["teachers"] == (2, 0, 2)
    assert stages["search"] == (4, 4, 0)


OF_TASKS: Damages = {
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
    "an attempt's parameters are not JSON": (
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
    "an attempt's state is unknown": (
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
    "a task's state is unknown": (
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
    "a retry had other parameters": (
        [f"UPDATE attempts SET params = '{{\"alpha\": 2}}' WHERE {attempt_where('search#1', 2)}"],
        r"search#1 attempt 2: expected the parameters \{.*\}, found \{'alpha': 2\}",
    ),
    "an outcome is not JSON": (
        [set_outcome('{"trial": ')],
        r"search#2: its outcome is not JSON \(.*\); type: kd-sweeps retry s",
    ),
    "an outcome is nested too deeply": (
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
    "a payload is not JSON": (
        ["UPDATE tasks SET payload = '{' WHERE key = 'search#2'"],
        r"search#2: its payload is not JSON \(.*\)",
    ),
}


def test_a_deleted_task_is_missing_in_the_plan_and_for_its_trial(url: str) -> None:
    execute(url, f"DELETE FROM attempts WHERE {attempt_where('search#2')}", "DELETE FROM tasks WHERE key = 'search#2'")
    report = audited(url)
    assert report.violations == [
        "search: expected 4 tasks as planned, found 3",
        "trial 3 of study s is COMPLETE: expected it to be of search#2 attempt 1, found no such attempt",
    ]
    assert (report.planned, report.accounted) == (34, 33)


OF_THE_TRIALS: Damages = {
    "a trial is deleted": (
        [f"DELETE FROM trial_{part} WHERE {trial_where('search#2')}" for part in OF_TRIALS]
        + [f"DELETE FROM trials WHERE {trial_where('search#2')}"],
        "search#2 attempt 1 is done: expected trial 3 of study s, found none",
    ),
    "the trial of a failed attempt is made COMPLETE": (
        [f"UPDATE trials SET state = 'COMPLETE' WHERE {trial_where('search#1')}"],
        "search#1 attempt 1 is failed: expected trial 1 of study s to be FAIL, found COMPLETE",
    ),
    "the trial of a result is made FAIL": (
        [f"UPDATE trials SET state = 'FAIL' WHERE {trial_where('search#2')}"],
        "search#2 attempt 1 is done: expected trial 3 of study s to be COMPLETE, found FAIL",
    ),
    "the trial of a result is made RUNNING": (
        [f"UPDATE trials SET state = 'RUNNING' WHERE {trial_where('search#2')}"],
        "search#2 attempt 1 is done: expected trial 3 of study s to be COMPLETE, found RUNNING",
    ),
    "a trial names another task": (
        [
            "UPDATE trial_user_attributes SET value_json = REPLACE(value_json, 'search#2', 'search#3')"
            f" WHERE key = 'kd-sweeps' AND {trial_where('search#2')}"
        ],
        "search#2 attempt 1 is done: expected trial 3 of study s, found one of search#3 attempt 1",
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
        [
            """UPDATE trial_user_attributes SET value_json = REPLACE(value_json, '"retry_of": 1', '"retry_of": 0')"""
            f" WHERE key = 'kd-sweeps' AND {trial_where('search#1', 2)}"
        ],
        "trial 2 of study s: expected retry_of 1 as search#1 attempt 2, found 0",
    ),
}


def test_a_second_result_for_a_task_is_a_violation(url: str) -> None:
    with study_of(url) as study:
        ours = {"kd-sweeps": {"task": "search#2", "attempt": 1}}
        study.add_trial(optuna.trial.create_trial(value=0.5, user_attrs=ours))
    report = audited(url)
    assert report.violations == [
        "trial 5 of study s is COMPLETE: expected it to be of search#2 attempt 1, found that has trial 3 of study s"
    ]


def test_a_pruned_trial_is_a_result_if_its_outcome_is_pruned(url: str) -> None:
    execute(url, f"UPDATE trials SET state = 'PRUNED' WHERE {trial_where('search#2')}")
    execute(
        url, f"UPDATE trial_values SET value = 0.125 WHERE {trial_where('search#2')}"
    )  # Optuna stores the value of the last epoch
    execute(url, """UPDATE tasks SET outcome = REPLACE(outcome, '"trial": {', '"trial": {"state": "PRUNED", ')""")
    report = audited(url)
    assert not [line for line in report.violations if line.startswith("search#2")]
    assert report.violations[0].startswith("teachers#source attempt 1 is done: expected trial 0 of study s.teachers")
    assert report.violations[0].endswith("to be PRUNED, found COMPLETE")


def test_trials_of_other_tools_are_a_warning_and_selecting_one_is_a_violation(url: str) -> None:
    with study_of(url) as study:
        study.add_trial(optuna.trial.create_trial(value=1.0))
        study.ask()
        study.enqueue_trial({"temperature": 1.5})
    report = audited(url)
    assert report.violations == []
    assert report.warnings == ["study s: trials 5, 6, 7 made by another tool, in no task's count, never selected"]
    foreign = '{"temperature": 1.5, "alpha": 0.25, "mean": 1.0}'
    execute(url, f"UPDATE selections SET value = '{foreign}' WHERE name = 'confirm.best'")
    assert audited(url).violations == [
        "selection confirm.best: expected parameters with which a task was done,"
        " found {'temperature': 1.5, 'alpha': 0.25}"
    ]


def test_a_trial_without_our_mark_counts_as_that_of_another_tool(url: str) -> None:
    execute(url, f"DELETE FROM trial_user_attributes WHERE key = 'kd-sweeps' AND {trial_where('search#2')}")
    report = audited(url)
    assert report.violations == ["search#2 attempt 1 is done: expected trial 3 of study s, found one of another tool"]
    assert len(report.warnings) == 1


def test_trials_not_yet_ended_are_counted_and_orphans_are_a_warning_until_they_are_reaped(url: str) -> None:
    execute(
        url,
        f"UPDATE attempts SET told = 0 WHERE {attempt_where('search#2')}",
        f"UPDATE trials SET state = 'RUNNING' WHERE {trial_where('search#2')}",
        f"DELETE FROM trial_values WHERE {trial_where('search#2')}",
    )
    with study_of(url) as study:
        for _ in range(2):  # as a worker of an older version left them when it died before it saved the number
            trial = study.ask()
            for key, value in {"asked_by": "kd-sweeps", "task": "search#3", "attempt": 1}.items():
                trial.set_user_attr(key, value)
    report = audited(url)
    assert report.violations == []
    assert report.warnings == ["study s: no attempt has the RUNNING trials 5, 6; type: kd-sweeps reap s"]
    assert report.notes == ["1 trial is not in the dashboard yet"]
    reap_now(resolve(url), "s")
    report = audited(url)
    assert (report.violations, report.warnings, report.notes) == ([], [], [])


def test_a_deleted_study_is_a_violation_until_it_is_recreated_and_a_warning_from_then_on(url: str) -> None:
    with contextlib.closing(open_studies(resolve(url))) as opened:
        optuna.delete_study(study_name="s", storage=opened.storage)
    report = audited(url)
    assert report.violations == [
        "study s was deleted by another tool; the results are intact; to recreate it, type: kd-sweeps create s"
    ]
    assert not create_sweep(resolve(url), "s", AUDITED).new
    vanished = "study s: another tool deleted it with 5 trials before it was recreated; the results are intact"
    report = audited(url)
    assert (report.violations, report.warnings) == ([], [vanished])
    # The new study counts from 0, so its trials have numbers that our attempts had in the old one.
    execute(url, set_outcome("broken"))
    retry(resolve(url), "s")
    work(resolve(url), quadratic)
    report = audited(url)
    assert (report.violations, report.warnings) == ([], [vanished])
    execute(url, f"UPDATE trials SET number = 1 WHERE {trial_where('search#2', 2)}")
    assert len(audited(url).violations) == 4, "the numbers do not start at 0, so no task finds its trial"


def test_a_trial_whose_number_is_not_stored_yet_is_fine_and_a_second_one_is_a_violation(tmp_path: Path) -> None:
    url = created(f"sqlite:///{tmp_path}/x.db")
    with contextlib.closing(open_studies(url)) as opened:
        sweep = queries.find_sweep(opened.engine, "s")
        claim = claimed(opened.engine, sweep.id)
        assert save_point(opened.engine, claim, {})
        assert finish(opened.engine, claim, outcome={"trial": {"value": 0.5}}, score=0.5)
        lines = []
        for state, value in (("RUNNING", None), ("COMPLETE", 0.5)):
            mark = {"kd-sweeps": {"task": claim.key, "attempt": 1}}
            opened.draw("s.teachers", Trial(state=state, attrs=mark, value=value), likely=0)
            lines.append(as_lines(judge(read_rows(opened.engine, sweep.id))))
    first, second = lines
    assert (first.violations, first.warnings, first.notes) == ([], [], ["1 trial is not in the dashboard yet"])
    assert second.violations == [
        f"trial 1 of study s.teachers is COMPLETE: expected it to be of {claim.key} attempt 1, found that has no trial"
    ]
    assert second.warnings == ["study s.teachers: no attempt has the RUNNING trial 0; type: kd-sweeps reap s"]


EVERY = DAMAGES | OF_TASKS | OF_THE_TRIALS


@pytest.mark.parametrize("damage", EVERY)
def test_each_damage_gives_one_line_with_what_was_expected_and_what_was_found(url: str, damage: str) -> None:
    check_damage(url, *EVERY[damage])
