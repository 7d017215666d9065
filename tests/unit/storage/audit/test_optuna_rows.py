"""storage.audit.rows: trials are read as Optuna reads them, from tables of the version that was tested."""

import contextlib

import optuna
import pytest

from storage.audit.rows import read_trials
from storage.db.transaction import read
from storage.errors import NotAStorage
from storage.records import queries
from storage.studies.ownership import owner_of
from storage.studies.studies import open_studies
from tests.support.sweeps.audit_checks import audited
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.small_sweeps import created


def test_trials_are_read_as_optuna_reads_them(storage_url: str) -> None:
    create = optuna.trial.create_trial
    space = {
        "real": optuna.distributions.FloatDistribution(1e-9, 20.0, log=True),
        "whole": optuna.distributions.IntDistribution(1, 9),
        "word": optuna.distributions.CategoricalDistribution(["a", None, True, 0.5]),
    }
    params = {"real": 0.1 + 0.2, "whole": 7, "word": None}
    with contextlib.closing(open_studies(created(storage_url))) as opened:
        study = optuna.load_study(study_name="s", storage=opened.storage)
        study.add_trial(create(value=1 / 3, params=params, distributions=space))
        study.add_trial(create(value=float("inf"), params=params | {"word": 0.5}, distributions=space))
        study.add_trial(create(value=float("-inf"), user_attrs={"asked_by": "kd-sweeps", "task": "x#1", "attempt": 2}))
        study.add_trial(create(state=optuna.trial.TrialState.PRUNED, value=0.25, intermediate_values={0: 0.25}))
        study.add_trial(create(state=optuna.trial.TrialState.FAIL))
        study.ask()
        study.enqueue_trial({"real": 1.0})
        expected = [(trial.number, trial.state.name, trial.value, trial.params) for trial in study.trials]
        owner = owner_of(opened.engine, queries.find_sweep(opened.engine, "s").id)
        optuna.create_study(study_name="s.mine", storage=opened.storage)
        with read(opened.engine) as connection:
            found, others = read_trials(connection, ["s", "s.confirm", "s.mine", "nowhere"], owner)
    assert others == ["s.mine"]
    assert sorted(found) == ["s", "s.confirm"]
    assert [(trial.number, trial.state, trial.value, trial.params) for trial in found["s"]] == expected
    assert [(trial.ours, trial.task, trial.attempt) for trial in found["s"]][2] == (True, "x#1", 2)
    assert sum(trial.ours for trial in found["s"]) == 1


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
def test_tables_of_a_version_that_was_not_tested_are_refused_in_one_line(url: str) -> None:
    execute(url, "UPDATE alembic_version SET version_num = 'v9.0.0.a'")
    with pytest.raises(
        NotAStorage, match=r"Optuna tables of version v9\.0\.0\.a, .* tested with v3\.2\.0\.a"
    ) as caught:
        audited(url)
    assert "\n" not in str(caught.value)
