"""Propose the next point with TPE, from the trials so far and without a database."""

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from storage.studies.space import Range, Space


def propose(
    space: Space, trials: Sequence[FrozenTrial], *, directions: Sequence[StudyDirection], seed: int | None
) -> dict[str, Any]:
    """Return the point that `Study.ask` would give, with TPE and the same seed, on these trials.

    A study with a database writes the trial first, then each parameter, and reads everything twice in between. Here
    nothing is written, so that the trial can appear in one transaction, complete.

    Args:
        trials: all of the study; those that are RUNNING count as bad, so that two workers do not try the same. One of
            another tool whose parameter of this name is of another kind is passed over: Optuna would refuse to ask.
    """
    wanted = distributions_of(space)
    comparable = [trial for trial in trials if _is_comparable(trial, wanted)]
    sampler = tpe_sampler(seed)
    study = optuna.create_study(storage=_History(comparable), sampler=sampler, directions=[*directions])
    asking = optuna.trial.create_trial(state=TrialState.RUNNING)
    together = sampler.sample_relative(study, asking, sampler.infer_relative_search_space(study, asking))

    def value(name: str, distribution: BaseDistribution) -> Any:
        if distribution.single():
            bounds = space[name]
            return bounds.low if isinstance(bounds, Range) else bounds.options[0]
        if name in together and together[name] in space[name]:
            return together[name]
        return sampler.sample_independent(study, asking, name, distribution)

    return {name: value(name, distribution) for name, distribution in wanted.items()}


def _is_comparable(trial: FrozenTrial, wanted: dict[str, BaseDistribution]) -> bool:
    return all(type(trial.distributions.get(name, bounds)) is type(bounds) for name, bounds in wanted.items())


def tpe_sampler(seed: int | None) -> TPESampler:
    """Return the sampler of every search. It needs no random start: the plan spreads a search's first half evenly."""
    return TPESampler(seed=seed, n_startup_trials=1)


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    """Return the space as Optuna's distributions."""
    return {
        name: FloatDistribution(bounds.low, bounds.high, log=bounds.log)
        if isinstance(bounds, Range)
        else CategoricalDistribution(bounds.options)
        for name, bounds in space.items()
    }


class _History(InMemoryStorage):
    """The trials of a study as they were at one moment."""

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._seen = trials

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        """Return the trials in one of the states; without states all of them."""
        return [trial for trial in self._seen if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write nothing: TPE stores its proposal for others to see; here the trial appears together with it."""
