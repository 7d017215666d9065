"""storage.studies.studies: adding trials that have already ended, as an import does."""

from datetime import datetime

import optuna
import pytest
from optuna.trial import TrialState

from storage.errors import ParametersRefused, StudyMissing, StudyMixed
from storage.studies.space import Categorical, Range, Space, Trial
from storage.studies.studies import Studies
from tests.support.both_databases import both

SPACE: Space = {"temperature": Range(1.0, 20.0, log=True), "arm": Categorical(("best", "scratch"))}
DONE = Trial(
    state="COMPLETE",
    space=SPACE,
    params={"temperature": 4.0, "arm": "best"},
    value=0.5,
    attrs={"task": "search#0", "seed": 7},
    epoch_values=(0.25, None, 0.5),
    started_at=1_700_000_000.5,
    ended_at=1_700_000_009.25,
)
FAILED = Trial(state="FAIL", attrs={"reason": "x"}, started_at=1.0, ended_at=2.0)


@pytest.fixture(autouse=True)
def study(storage: Studies) -> None:
    storage.create("s", metric="val_accuracy", attrs={"sweep": "s", "stage": "search"}, note=None)


@both
def test_an_ended_trial_is_added_complete_under_the_next_number(storage: Studies) -> None:
    storage.add("s", [FAILED, DONE])
    failed, done = optuna.load_study(study_name="s", storage=storage.storage).trials
    assert (failed.number, failed.state, failed.params, failed.values) == (0, TrialState.FAIL, {}, None)
    assert (done.number, done.state, done.params, done.values) == (1, TrialState.COMPLETE, dict(DONE.params), [0.5])
    assert done.user_attrs == {"task": "search#0", "seed": 7}
    assert done.intermediate_values == {0: 0.25, 2: 0.5}
    assert done.datetime_start == datetime.fromtimestamp(DONE.started_at)
    assert done.datetime_complete == datetime.fromtimestamp(DONE.ended_at)


@pytest.mark.parametrize(
    ("trial", "message"),
    [
        ({"params": {"temperature": 50.0, "arm": "best"}}, "trial 0 of study s: .*50.0"),
        ({"params": {"other": 1.0}}, "trial 0 of study s"),
        ({"value": None}, "a COMPLETE trial needs a value, got None"),
    ],
)
def test_an_invalid_trial_is_refused(storage: Studies, trial: dict[str, object], message: str) -> None:
    with pytest.raises(ParametersRefused, match=message):
        storage.add("s", [Trial(**vars(DONE) | trial)])


def test_a_trial_of_another_tool_in_between_and_a_missing_study_are_errors(storage: Studies) -> None:
    optuna.load_study(study_name="s", storage=storage.storage).add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(StudyMixed, match="another tool is adding trials to it; type the command again"):
        storage.add("s", [DONE])
    with pytest.raises(StudyMissing):
        storage.add("t", [DONE])
