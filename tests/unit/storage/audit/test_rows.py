"""storage.audit.rows: one snapshot, read in few queries; trials have the values that Optuna reads."""

import optuna
import pytest
from sqlalchemy import Engine, event

from storage.audit.audit import judge
from storage.audit.rows import read_rows, read_trials
from storage.db.engine import open_engine
from storage.db.transaction import read
from storage.errors import SweepNotFound
from storage.records import queries
from storage.studies.ownership import Owner
from storage.studies.studies import Studies
from storage.url import resolve
from sweeps.usecases.steering import delete
from tests.support.both_databases import both
from tests.support.sweeps.audit_checks import audited, sweep_of
from tests.support.sweeps.storage_sweeps import claimed, finished, new_sweep


def test_a_sweep_deleted_before_the_audit_gives_a_one_line_error(url: str) -> None:
    sweep = sweep_of(url)
    delete(resolve(url), "s")
    with pytest.raises(SweepNotFound, match="deleted"):
        audited(url, sweep)


@both
def test_changes_made_during_a_reading_are_not_seen(storage: Studies, engine: Engine) -> None:
    storage.create("s", metric="val_accuracy", attrs={"identity": "s", "stage": "search"}, note=None)
    sweep = new_sweep(engine, number=2)
    claims = [claimed(engine, sweep) for _ in range(2)]
    second, statements = open_engine(engine.url), []

    def write_meanwhile(connection: object, cursor: object, statement: str, *more: object) -> None:
        if "FROM attempts" in statement and not statements:  # the tasks have been read, the attempts have not
            statements.append(statement)
            assert finished(second, claims[0])

    event.listen(engine, "before_cursor_execute", write_meanwhile)
    try:
        states = [[attempt.state for attempt in read_rows(engine, sweep).attempts] for _ in range(2)]
    finally:
        event.remove(engine, "before_cursor_execute", write_meanwhile)
        second.dispose()
    assert statements
    assert [sorted(moment) for moment in states] == [["running", "running"], ["done", "running"]]


def test_34_tasks_with_a_trial_each_take_fewer_queries(template: str) -> None:
    engine = open_engine(resolve(template), read_only=True)
    sweep = queries.find_sweep(engine, "s")
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    audit = judge(read_rows(engine, sweep.id))
    engine.dispose()
    assert (audit.violations, audit.warnings, audit.accounted) == ([], [], 34)
    assert len(statements) < 20


@both
def test_trials_are_read_as_optuna_reads_them(storage: Studies, engine: Engine) -> None:
    create = optuna.trial.create_trial
    space = {
        "real": optuna.distributions.FloatDistribution(1e-9, 20.0, log=True),
        "whole": optuna.distributions.IntDistribution(1, 9),
        "word": optuna.distributions.CategoricalDistribution(["a", None, True, 0.5]),
    }
    params = {"real": 0.1 + 0.2, "whole": 7, "word": None}
    for name, stage in (("s", "search"), ("s.confirm", "confirm")):
        storage.create(name, metric="val_accuracy", attrs={"identity": "s", "stage": stage}, note=None)
    study = optuna.load_study(study_name="s", storage=storage.storage)
    study.add_trial(create(value=1 / 3, params=params, distributions=space))
    study.add_trial(create(value=float("inf"), params=params | {"word": 0.5}, distributions=space))
    study.add_trial(create(value=float("-inf"), user_attrs={"asked_by": "kd-sweeps", "task": "x#1", "attempt": 2}))
    study.add_trial(create(state=optuna.trial.TrialState.PRUNED, value=0.25, intermediate_values={0: 0.25}))
    study.add_trial(create(state=optuna.trial.TrialState.FAIL))
    study.ask()
    study.enqueue_trial({"real": 1.0})
    expected = [(trial.number, trial.state.name, trial.value, trial.params) for trial in study.trials]
    optuna.create_study(study_name="s.mine", storage=storage.storage)
    with read(engine) as connection:
        trials, others = read_trials(connection, ["s", "s.confirm", "s.mine", "nowhere"], Owner("s", "s"))
    assert others == ["s.mine"]
    assert sorted(trials) == ["s", "s.confirm"]
    assert [(trial.number, trial.state, trial.value, trial.params) for trial in trials["s"]] == expected
    assert [(trial.ours, trial.task, trial.attempt) for trial in trials["s"]][2] == (True, "x#1", 2)
    assert sum(trial.ours for trial in trials["s"]) == 1
