"""storage.studies.sampler: what TPE proposes without a database is what it would propose with one."""

import optuna
import pytest
from optuna.trial import TrialState

from storage.studies.sampler import distributions_of, propose, tpe_sampler
from storage.studies.space import Choice, Range, Space

SPACE: Space = {
    "temperature": Range(1.0, 20.0, log=True),
    "alpha": Range(0.0, 1.0),
    "arm": Choice(("best", "scratch")),
    "fixed": Range(2.0, 2.0),
    "only": Choice(("one",)),
}


def study_with(finished: int, running: int, *, space: Space = SPACE) -> optuna.Study:
    """A study in memory; half of the running trials have no parameters yet, as those of other tools at first."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for n in range(finished):
        trial = study.ask(distributions_of(space))
        if n % 5 == 4:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, (n * 7 % 11) / 11)
    for n in range(running):
        study.ask(distributions_of(space) if n % 2 else None)
    return study


@pytest.mark.parametrize(("finished", "running"), [(0, 0), (1, 0), (2, 3), (40, 0), (40, 6)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_proposal_is_that_of_optunas_own_ask(finished: int, running: int, seed: int) -> None:
    study = study_with(finished, running)
    ours = propose(SPACE, study.trials, directions=study.directions, seed=seed)
    study.sampler = tpe_sampler(seed)
    assert ours == study.ask(distributions_of(SPACE)).params


def test_trials_of_another_space_do_not_hinder_a_proposal() -> None:
    study = study_with(20, 0, space={"alpha": Range(0.0, 50.0), "other": Range(0.0, 9.0)})
    for seed in range(5):
        found = propose(SPACE, study.trials, directions=study.directions, seed=seed)
        assert list(found) == list(SPACE)
        assert all(value in SPACE[name] for name, value in found.items())


def test_trials_whose_parameters_are_of_another_kind_are_passed_over() -> None:
    study = study_with(20, 0, space={"alpha": Range(0.0, 1.0)})
    expected = propose({"alpha": Range(0.0, 1.0)}, study.trials, directions=study.directions, seed=0)
    foreign = study_with(20, 1, space={"alpha": Choice(("low", "high"))}).trials
    space: Space = {"alpha": Range(0.0, 1.0)}
    assert propose(space, [*study.trials, *foreign], directions=study.directions, seed=0) == expected


def test_proposing_writes_nothing() -> None:
    study = study_with(10, 2)
    before = study.trials
    propose(SPACE, study.trials, directions=study.directions, seed=0)
    assert study.trials == before
