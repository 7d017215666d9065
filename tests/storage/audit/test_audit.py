"""storage.audit.audit: a finished sweep is clean, and each way of damaging it is found, as one line that names it.

The sweep is made once per kind of database, by a real worker; each test damages a copy, mostly by SQL.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from sqlalchemy import event

from storage.audit.audit import Audit, audit
from storage.audit.optuna_rows import read_trials
from storage.db.engine import open_engine
from storage.db.transaction import read
from storage.errors import NotAStorage, SweepNotFound
from storage.queue.tasks import save_trial
from storage.records import queries as records
from storage.records.queries import SweepRecord
from storage.studies import adapter
from storage.url import resolve
from sweeps.service.create import create_sweep
from sweeps.service.steering import delete, reap_now, retry
from sweeps.workers.worker import Worker
from tests.support.sweeps.audited_sweeps import AUDITED, copied, drop_database, execute, finish_sweep, new_database
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import created
from tests.support.sweeps.storage_sweeps import claimed


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest) -> str | None:
    """The Postgres server, or None for SQLite."""
    return request.getfixturevalue("postgres_server") if request.param == "postgres" else None


@pytest.fixture(scope="module")
def template(server: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the finished sweep; nobody touches it."""
    url = new_database(server) if server else f"sqlite:///{tmp_path_factory.mktemp('template')}/kd-sweeps.db"
    finish_sweep(url)
    yield url
    if server:
        drop_database(server, url)


@pytest.fixture
def url(template: str, tmp_path: Path, server: str | None) -> Iterator[str]:
    """URL of a copy of the finished sweep."""
    with copied(template, tmp_path, server) as copy:
        yield copy


def _audited(url: str, sweep: SweepRecord | None = None) -> Audit:
    engine = open_engine(resolve(url), read_only=True)
    try:
        return audit(engine, sweep or records.find_sweep(engine, "s"))
    finally:
        engine.dispose()


def _sweep(url: str) -> SweepRecord:
    engine = open_engine(resolve(url), read_only=True)
    try:
        return records.find_sweep(engine, "s")
    finally:
        engine.dispose()


def _task(key: str) -> str:
    return f"(SELECT id FROM tasks WHERE key = '{key}')"


def _attempt(key: str, number: int = 1) -> str:
    return f"task_id = {_task(key)} AND number = {number}"


def _trial(key: str, number: int = 1) -> str:
    return f"""trial_id IN (SELECT trials.trial_id FROM trials
        JOIN studies ON studies.study_id = trials.study_id
        JOIN attempts ON attempts.study = study_name AND attempts.trial_number = trials.number
        WHERE {_attempt(key, number).replace(" number", " attempts.number")})"""


def _set_outcome(text: str, key: str = "search#2") -> str:
    return f"UPDATE tasks SET outcome = '{text}' WHERE key = '{key}'"


_OF_TRIALS = ("values", "intermediate_values", "params", "user_attributes", "system_attributes")
_BLOB = r"logits of teachers#\w+: expected a blob of SHA-256 [0-9a-f]{12}"
_A_BLOB = "digest IN (SELECT MIN(digest) FROM blobs)"

# how to damage it -> the one line about it, as a pattern; the trials' numbers are those of one worker's order
DAMAGES: dict[str, tuple[list[str], str]] = {
    "a trial is deleted": (
        [f"DELETE FROM trial_{part} WHERE {_trial('search#2')}" for part in _OF_TRIALS]
        + [f"DELETE FROM trials WHERE {_trial('search#2')}"],
        "search#2 attempt 1 is done: expected trial 3 of study s, found none",
    ),
    "the last trial of a study is deleted": (
        [f"DELETE FROM trial_{part} WHERE {_trial('search#3')}" for part in _OF_TRIALS]
        + [f"DELETE FROM trials WHERE {_trial('search#3')}"],
        "search#3 attempt 1 is done: expected trial 4 of study s, found none",
    ),
    "the trial of a failed attempt is made COMPLETE": (
        [f"UPDATE trials SET state = 'COMPLETE' WHERE {_trial('search#1')}"],
        "search#1 attempt 1 is failed: expected trial 1 of study s to be FAIL, found COMPLETE",
    ),
    "the trial of a result is made FAIL": (
        [f"UPDATE trials SET state = 'FAIL' WHERE {_trial('search#2')}"],
        "search#2 attempt 1 is done: expected trial 3 of study s to be COMPLETE, found FAIL",
    ),
    "the trial of a result is made PRUNED": (
        [f"UPDATE trials SET state = 'PRUNED' WHERE {_trial('search#2')}"],
        "search#2 attempt 1 is done: expected trial 3 of study s to be COMPLETE, found PRUNED",
    ),
    "a trial that was told runs again": (
        [f"UPDATE trials SET state = 'RUNNING' WHERE {_trial('search#2')}"],
        "search#2 attempt 1 is done: expected trial 3 of study s to be COMPLETE, found RUNNING",
    ),
    "a trial says that it is of another task": (
        [f"UPDATE trial_user_attributes SET value_json = '\"search#3\"' WHERE key = 'task' AND {_trial('search#2')}"],
        "search#2 attempt 1 is done: expected trial 3 of study s, found one of search#3 attempt 1",
    ),
    "an attempt points at the trial of another task": (
        [f"UPDATE attempts SET trial_number = 4 WHERE {_attempt('search#2')}"],
        "search#2 attempt 1 is done: expected trial 4 of study s, found one of search#3 attempt 1",
    ),
    "an attempt points into another study": (
        [f"UPDATE attempts SET study = 's.confirm' WHERE {_attempt('search#0')}"],
        "search#0 attempt 1: expected a trial of study s, found one of s.confirm",
    ),
    "an attempt forgets its trial": (
        [f"UPDATE attempts SET trial_number = NULL WHERE {_attempt('search#2')}"],
        "search#2 attempt 1 is done, but has no trial",
    ),
    "a score is edited": (
        ["UPDATE tasks SET score = 0.999 WHERE key = 'search#2'"],
        r"search#2: expected one value, found score 0\.999, outcome 0\.\d+, trial 3 of study s 0\.\d+",
    ),
    "a trial's value is edited": (
        [f"UPDATE trial_values SET value = 0.999 WHERE {_trial('search#2')}"],
        r"search#2: expected one value, found score 0\.\d+, outcome 0\.\d+, trial 3 of study s 0\.999",
    ),
    "a trial's parameter is edited": (
        [f"UPDATE trial_params SET param_value = 7 WHERE param_name = 'temperature' AND {_trial('search#2')}"],
        r"trial 3 of study s: expected the parameters \{.*\} of search#2 attempt 1, found \{.*'temperature': 7\.0.*\}",
    ),
    "an attempt's parameters are edited": (
        ["UPDATE attempts SET params = '{\"alpha\": 2}' WHERE " + _attempt("transfer#source.scratch.0")],
        r"trial \d of study s.transfer: expected the parameters \{'alpha': 2\} of transfer#source.scratch.0 attempt 1,"
        r" found \{.*\}",
    ),
    "an attempt's parameters are no JSON": (
        ["UPDATE attempts SET params = '{' WHERE " + _attempt("transfer#source.scratch.0")],
        r"transfer#source.scratch.0 attempt 1: its parameters are not JSON \(.*\)",
    ),
    "the only attempt is dropped": (
        [f"DELETE FROM attempts WHERE {_attempt('search#2')}"],
        "search#2: expected attempt 1, found no attempt",
    ),
    "the first of two attempts is dropped": (
        [f"DELETE FROM attempts WHERE {_attempt('search#1')}"],
        "search#1: expected attempts 1, 2, found attempt 2",
    ),
    "an attempt too many": (
        [
            "INSERT INTO attempts (task_id, number, worker, host, pid, state, lease_until, started_at, told)"
            f" SELECT task_id, 2, worker, host, pid, 'running', lease_until, started_at, told FROM attempts"
            f" WHERE {_attempt('search#2')}"
        ],
        "search#2: expected attempt 1, found attempts 1, 2",
    ),
    "a second attempt is done": (
        [f"UPDATE attempts SET state = 'done' WHERE {_attempt('search#1')}"],
        "search#1 is done: expected attempt 2 done, found attempts 1, 2",
    ),
    "an attempt of a done task is running": (
        [f"UPDATE attempts SET state = 'running' WHERE {_attempt('search#1')}"],
        "search#1 is done: expected no attempt running, found attempt 1",
    ),
    "an attempt's state is a word we do not know": (
        [f"UPDATE attempts SET state = 'ended' WHERE {_attempt('search#1')}"],
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
        [f"UPDATE attempts SET retry_of = 0 WHERE {_attempt('search#1', 2)}"],
        "search#1 attempt 2: expected retry_of 1, found 0",
    ),
    "a retry names none": (
        [f"UPDATE attempts SET retry_of = NULL WHERE {_attempt('search#1', 2)}"],
        "search#1 attempt 2: expected retry_of 1, found None",
    ),
    "a retry's trial names another predecessor": (
        [f"UPDATE trial_user_attributes SET value_json = '0' WHERE key = 'retry_of' AND {_trial('search#1', 2)}"],
        "trial 2 of study s: expected retry_of 1 as search#1 attempt 2, found 0",
    ),
    "a retry had other parameters": (
        [f"UPDATE attempts SET params = '{{\"alpha\": 2}}' WHERE {_attempt('search#1', 2)}"],
        r"search#1 attempt 2: expected the parameters \{.*\}, found \{'alpha': 2\}",
    ),
    "an outcome is no JSON": (
        [_set_outcome('{"trial": ')],
        r"search#2: its outcome is not JSON \(.*\); type: kd-sweeps retry s",
    ),
    "an outcome without a result": (
        [_set_outcome("{}")],
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
    "the spec is no JSON": (
        ["UPDATE sweeps SET spec = 'seed = 1'"],
        r"the spec of the sweep is not JSON \(.*\)",
    ),
    "a revision is dropped": (
        ["DELETE FROM revisions WHERE number = 1"],
        r"the plan: expected the revisions \[1, 2\], found \[2\]",
    ),
    "a planned number is edited": (
        ["""UPDATE revisions SET planned = REPLACE(planned, '"search": 4', '"search": 5') WHERE number = 1"""],
        "search: expected 5 tasks as planned, found 4",
    ),
    "the planned numbers are no JSON": (
        ["UPDATE revisions SET planned = 'many' WHERE number = 1"],
        r"the plan: expected how many tasks each phase got, found no such counts in the revisions \[1\]",
    ),
    "a selection holds a point that nobody tried": (
        ["""UPDATE selections SET value = REPLACE(value, '"alpha": 0.', '"alpha": 3.') WHERE name = 'search.ranks'"""],
        r"selection search.ranks: expected parameters with which search#\d was done, found \{.*'alpha': 3\..*\}",
    ),
    "a selection names a task that there is not": (
        [
            'UPDATE selections SET value = \'{"ranks": [{"task": "search#77", "alpha": 0.5}]}\''
            " WHERE name = 'search.ranks'"
        ],
        r"selection search.ranks: expected parameters with which search#77 was done, found \{'alpha': 0\.5\}",
    ),
    "a selection is no JSON": (
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
    "a blob is gone": (
        [f"DELETE FROM blobs WHERE {_A_BLOB}"],
        f"{_BLOB}, found none; type: kd-sweeps retry s",
    ),
}


def test_a_finished_sweep_is_clean_and_every_task_is_counted(template: str) -> None:
    found = _audited(template)
    assert (found.violations, found.warnings, found.notes) == ([], [], [])
    counts = {stage.stage: (stage.planned, stage.done) for stage in found.stages}
    assert counts == {
        "teachers": (2, 2),
        "search": (4, 4),
        "baselines": (1, 1),
        "confirm": (1, 1),
        "native": (5, 5),
        "transfer": (20, 20),  # half of them by the extension
        "measure": (1, 1),
    }
    assert found.planned == found.accounted == 34


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_one_line_that_says_what_was_expected_and_what_was_found(url: str, damage: str) -> None:
    statements, line = DAMAGES[damage]
    sweep = _sweep(url)
    execute(url, *statements)
    found = _audited(url, sweep)
    assert len(found.violations) == 1, found.violations
    assert re.fullmatch(line, found.violations[0]), found.violations
    assert (found.warnings, found.notes) == ([], [])


def test_a_task_that_is_gone_is_missed_in_the_plan_and_by_its_trial(url: str) -> None:
    execute(url, f"DELETE FROM attempts WHERE {_attempt('search#3')}", "DELETE FROM tasks WHERE key = 'search#3'")
    found = _audited(url)
    assert found.violations == [
        "search: expected 4 tasks as planned, found 3",
        "trial 4 of study s is COMPLETE: expected it to be of search#3 attempt 1, found no such attempt",
    ]
    assert (found.planned, found.accounted) == (34, 33)


@contextlib.contextmanager
def _study(url: str, name: str = "s") -> Iterator[optuna.Study]:
    """The study as another tool sees it."""
    with contextlib.closing(adapter.open_studies(resolve(url))) as opened:
        yield optuna.load_study(study_name=name, storage=opened.storage)


def test_a_second_result_for_a_task_is_found(url: str) -> None:
    with _study(url) as study:
        ours = {"asked_by": "kd-sweeps", "task": "search#2", "attempt": 1}
        study.add_trial(optuna.trial.create_trial(value=0.5, user_attrs=ours))
    found = _audited(url)
    assert found.violations == [
        "trial 5 of study s is COMPLETE: expected it to be of search#2 attempt 1, found that has trial 3 of study s"
    ]


def test_a_pruned_trial_is_a_result_if_the_outcome_says_so(url: str) -> None:
    execute(url, f"UPDATE trials SET state = 'PRUNED' WHERE {_trial('search#2')}")
    execute(url, f"UPDATE trial_values SET value = 0.125 WHERE {_trial('search#2')}")  # Optuna's: the last epoch's
    execute(url, """UPDATE tasks SET outcome = REPLACE(outcome, '"trial": {', '"trial": {"state": "PRUNED", ')""")
    found = _audited(url)
    assert not [line for line in found.violations if line.startswith("search#2")]
    assert found.violations[0].startswith("teachers#source attempt 1 is done: expected trial 0 of study s.teachers")
    assert found.violations[0].endswith("to be PRUNED, found COMPLETE")


def test_trials_of_other_tools_are_a_warning_and_selecting_one_would_be_a_violation(url: str) -> None:
    with _study(url) as study:
        study.add_trial(optuna.trial.create_trial(value=1.0))
        study.ask()
        study.enqueue_trial({"temperature": 1.5})
    found = _audited(url)
    assert found.violations == []
    assert found.warnings == ["study s: trials 5, 6, 7 made by another tool, in no task's count, never selected"]
    foreign = '{"temperature": 1.5, "alpha": 0.25, "mean": 1.0}'
    execute(url, f"UPDATE selections SET value = '{foreign}' WHERE name = 'confirm.best'")
    assert _audited(url).violations == [
        "selection confirm.best: expected parameters with which a task was done,"
        " found {'temperature': 1.5, 'alpha': 0.25}"
    ]


def test_our_mark_removed_from_a_trial_makes_it_another_tools(url: str) -> None:
    execute(url, f"DELETE FROM trial_user_attributes WHERE key = 'asked_by' AND {_trial('search#2')}")
    found = _audited(url)
    assert found.violations == ["search#2 attempt 1 is done: expected trial 3 of study s, found one of another tool"]
    assert len(found.warnings) == 1


def test_trials_that_nobody_told_and_orphans_are_warnings_until_they_are_reaped(url: str) -> None:
    execute(
        url,
        f"UPDATE attempts SET told = {'0' if 'sqlite' in url else 'FALSE'} WHERE {_attempt('search#2')}",
        f"UPDATE trials SET state = 'RUNNING' WHERE {_trial('search#2')}",
        f"DELETE FROM trial_values WHERE {_trial('search#2')}",
    )
    with _study(url) as study:
        for _ in range(2):  # of a worker that died before it saved the number
            trial = study.ask()
            for key, value in {"asked_by": "kd-sweeps", "task": "search#3", "attempt": 1}.items():
                trial.set_user_attr(key, value)
    found = _audited(url)
    assert found.violations == []
    assert found.warnings == [
        "study s: the end of trial 3 was not told yet; type: kd-sweeps reap s",
        "study s: no attempt has the RUNNING trials 5, 6; type: kd-sweeps reap s",
    ]
    reap_now(resolve(url), "s")
    found = _audited(url)
    assert (found.violations, found.warnings) == ([], [])


def test_a_deleted_study_says_what_to_type_and_then_one_warning_says_what_is_gone(url: str) -> None:
    with _study(url) as study:
        optuna.delete_study(study_name="s", storage=study._storage)
    gone = _audited(url)
    assert gone.violations == [
        "study s is gone, deleted by another tool; the results are in our rows; to make it again, type:"
        " kd-sweeps create s"
    ]
    assert not create_sweep(resolve(url), "s", AUDITED).new
    vanished = (
        "study s: 5 trials deleted with it by another tool, before it was made again; the results are in our rows"
    )
    found = _audited(url)
    assert (found.violations, found.warnings) == ([], [vanished])
    # The new study counts from 0, so its trials have numbers that our attempts had in the old one.
    execute(url, _set_outcome("broken"))
    retry(resolve(url), "s")
    with Worker(resolve(url), "s", run=quadratic) as worker:
        assert worker.work() == 0
    found = _audited(url)
    assert (found.violations, found.warnings) == ([], [vanished])
    execute(url, f"UPDATE trials SET number = 1 WHERE {_trial('search#2', 2)}")
    assert len(_audited(url).violations) == 4, "its numbers do not run from 0, so each task misses its trial"


def test_a_result_that_was_destroyed_and_made_again_is_a_note(url: str) -> None:
    execute(url, _set_outcome('{"trial": '))
    retry(resolve(url), "s")
    waiting = _audited(url)
    assert (waiting.violations, waiting.warnings) == ([], [])
    with Worker(resolve(url), "s", run=quadratic) as worker:
        assert worker.work() == 0
    found = _audited(url)
    assert (found.violations, found.warnings) == ([], [])
    assert found.notes == [
        "trial 3 of study s is COMPLETE: the outcome of search#2 attempt 1 was destroyed later, and the task was"
        " tried again"
    ]


def test_a_trial_whose_worker_is_about_to_save_its_number_is_no_orphan_before_it_has_another(storage_url: str) -> None:
    url = created(storage_url)
    with contextlib.closing(adapter.open_studies(url)) as opened:
        sweep = records.find_sweep(opened.engine, "s")
        claim = claimed(opened.engine, sweep.id)
        attrs = {"task": claim.key, "attempt": 1}
        lost, saved = (
            opened.ask("s.teachers", {}, params={}, tpe_seed=None, attrs=attrs).number for _ in range(2)
        )  # the connection was cut, so that it asked twice
        assert audit(opened.engine, sweep).warnings == []
        assert save_trial(opened.engine, claim, study="s.teachers", number=saved, params={})
        opened.ask("s.teachers", {}, params={}, tpe_seed=None, attrs=attrs | {"attempt": 7})  # no such attempt
        found = audit(opened.engine, sweep)
    assert found.violations == []
    assert found.warnings == [f"study s.teachers: no attempt has the RUNNING trials {lost}, 2; type: kd-sweeps reap s"]


def test_a_damaged_blob_is_made_again_by_what_the_audit_says(url: str) -> None:
    execute(url, DAMAGES["a blob is truncated"][0][0])
    (line,) = _audited(url).violations
    assert line.endswith("type: kd-sweeps retry s")
    retry(resolve(url), "s")
    with Worker(resolve(url), "s", run=quadratic) as worker:
        assert worker.work() == 0
    found = _audited(url)
    assert (found.violations, found.warnings) == ([], [])


def test_a_lapsed_lease_says_whose_it_was_and_what_to_type(storage_url: str) -> None:
    url = created(storage_url)
    with contextlib.closing(adapter.open_studies(url)) as opened:
        sweep = records.find_sweep(opened.engine, "s")
        claimed(opened.engine, sweep.id, worker="good")
        assert audit(opened.engine, sweep).warnings == []
        claimed(opened.engine, sweep.id, worker="gone", lease_s=-90)
        found = audit(opened.engine, sweep)
    assert found.violations == []
    assert re.fullmatch(
        r"\w+#\w+ attempt 1: the lease of gone on h lapsed 9\d s ago; type: kd-sweeps launch s, which takes over, or"
        " kd-sweeps reap s",
        "".join(found.warnings),
    )
    stages = {stage.stage: (stage.planned, stage.waiting, stage.running) for stage in found.stages}
    assert stages["teachers"] == (2, 0, 2)
    assert stages["search"] == (4, 4, 0)


def test_a_missing_table_of_optuna_is_one_line(url: str) -> None:
    execute(url, "DROP TABLE trial_values")
    with pytest.raises(NotAStorage, match="trial_values"):
        _audited(url)


def test_a_sweep_that_is_deleted_meanwhile_is_one_line(url: str) -> None:
    sweep = _sweep(url)
    delete(resolve(url), "s")
    with pytest.raises(SweepNotFound, match="deleted"):
        _audited(url, sweep)


def test_what_is_written_while_it_reads_is_not_seen(url: str) -> None:
    engine = open_engine(resolve(url), read_only=True)
    sweep = records.find_sweep(engine, "s")
    written = []

    @event.listens_for(engine, "before_cursor_execute")
    def write_meanwhile(
        connection: object, cursor: object, statement: str, parameters: object, context: object, many: bool
    ) -> None:
        if "FROM attempts" in statement and not written:  # the tasks were read, the attempts come next
            written.append(statement)
            execute(url, f"DELETE FROM attempts WHERE {_attempt('search#2')}")

    found = audit(engine, sweep)
    engine.dispose()
    assert written
    assert found.violations == []
    assert len(_audited(url).violations) == 1


def test_trials_are_read_as_optuna_reads_them(storage_url: str) -> None:
    create = optuna.trial.create_trial
    space = {
        "real": optuna.distributions.FloatDistribution(1e-9, 20.0, log=True),
        "whole": optuna.distributions.IntDistribution(1, 9),
        "word": optuna.distributions.CategoricalDistribution(["a", None, True, 0.5]),
    }
    params = {"real": 0.1 + 0.2, "whole": 7, "word": None}
    with contextlib.closing(adapter.open_studies(created(storage_url))) as opened:
        study = optuna.load_study(study_name="s", storage=opened.storage)
        study.add_trial(create(value=1 / 3, params=params, distributions=space))
        study.add_trial(create(value=float("inf"), params=params | {"word": 0.5}, distributions=space))
        study.add_trial(create(value=float("-inf"), user_attrs={"asked_by": "kd-sweeps", "task": "x#1", "attempt": 2}))
        study.add_trial(create(state=optuna.trial.TrialState.PRUNED, value=0.25, intermediate_values={0: 0.25}))
        study.add_trial(create(state=optuna.trial.TrialState.FAIL))
        study.ask()
        study.enqueue_trial({"real": 1.0})
        expected = [(trial.number, trial.state.name, trial.value, trial.params) for trial in study.trials]
        with read(opened.engine) as connection:
            found = read_trials(connection, ["s", "s.confirm", "nowhere"])
    assert sorted(found) == ["s", "s.confirm"]
    assert [(trial.number, trial.state, trial.value, trial.params) for trial in found["s"]] == expected
    assert [(trial.ours, trial.task, trial.attempt) for trial in found["s"]][2] == (True, "x#1", 2)
    assert sum(trial.ours for trial in found["s"]) == 1


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
        f" finished_at, study, n - 95, params, told FROM attempts, c WHERE {_attempt('search#2')}",
        "trials": "trial_id, number, study_id, state SELECT 1000 + n, n - 95, study_id, state FROM trials, c"
        f" WHERE {_trial('search#2')}",
        "trial_values": "trial_id, objective, value, value_type SELECT 1000 + n, objective, value, value_type"
        f" FROM trial_values, c WHERE {_trial('search#2')}",
        "trial_params": "trial_id, param_name, param_value, distribution_json SELECT 1000 + n, param_name,"
        f" param_value, distribution_json FROM trial_params, c WHERE {_trial('search#2')}",
        "trial_user_attributes": "trial_id, key, value_json SELECT 1000 + n, key, CASE key WHEN 'task'"
        " THEN '\"search#' || n || '\"' ELSE value_json END FROM trial_user_attributes, c"
        f" WHERE {_trial('search#2')}",
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
        queries: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda *told, queries=queries: queries.append(told[2]))
        found = audit(engine, records.find_sweep(engine, "s"))
        engine.dispose()
        assert (found.violations, found.warnings) == ([], [])
        assert found.accounted == 34 + bulk
        counts.append(len(queries))
    assert counts[0] == counts[1]
