"""Propose a point from a fixed history; importance of parameters."""

import copy
import importlib
from collections.abc import Callable, Sequence
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from storage.errors import SamplerUnusable
from storage.records.queries import Past
from storage.studies.space import Categorical, Range, Space, Whole

optuna.logging.set_verbosity(optuna.logging.ERROR)  # else each proposal logs the creation of a study


def propose(space: Space, history: Sequence[Past], *, sampler: str, seed: int) -> dict[str, Any]:
    """Return the point that a new sampler with this seed proposes for this history: the same on every machine.

    space: of every trial. history: in the order of trial numbers; higher scores are better. sampler: "tpe", "gp" (needs
    torch), "random", or "package.module:make". SamplerUnusable: a package is missing, or it is not a sampler.
    """
    wanted = distributions_of(space)
    maker = _maker(sampler)
    try:
        base = maker(seed)
        study = optuna.create_study(
            storage=_History([_frozen(point, wanted, number) for number, point in enumerate(history)]),
            sampler=base,
            directions=[StudyDirection.MAXIMIZE],
        )
        asking = create_trial(state=TrialState.RUNNING)
        asking.number = len(history)
        base.before_trial(study, asking)  # in which OptunaHub's AutoSampler chooses what it samples with
        together = base.sample_relative(study, asking, base.infer_relative_search_space(study, asking))
    except ImportError as error:
        package = error.name or getattr(error.__cause__, "name", None)  # Optuna's deferred imports: the cause names it
        if package is None:
            raise SamplerUnusable(f"sampler {sampler} cannot be imported: {' '.join(str(error).split())}") from error
        package = package.partition(".")[0]
        raise SamplerUnusable(f"sampler {sampler} needs the package {package}; type: pip install {package}") from error

    def value(name: str, distribution: BaseDistribution) -> Any:
        if distribution.single():
            bounds = space[name]
            return bounds.options[0] if isinstance(bounds, Categorical) else bounds.low
        if name in together and together[name] in space[name]:
            return together[name]
        return base.sample_independent(study, asking, name, distribution)

    return {name: value(name, distribution) for name, distribution in wanted.items()}


def check_sampler(name: str) -> None:
    """Raise SamplerUnusable if a sampler cannot propose points here."""
    unit = Range(0.0, 1.0)
    propose({"x": unit}, [Past({"x": x}, x) for x in (0.25, 0.75)], sampler=name, seed=0)


def _maker(name: str) -> Callable[[int], BaseSampler]:
    if name in _MAKERS:
        return _MAKERS[name]
    module, _, function = name.partition(":")
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SamplerUnusable(
            f"sampler {name}: {error}; it must be package.module:make, importable here (perhaps with PYTHONPATH)"
        ) from error

    def made(seed: int) -> BaseSampler:
        sampler = make(seed)
        if not isinstance(sampler, BaseSampler):
            raise SamplerUnusable(f"sampler {name}: it returned {sampler!r}, not an optuna.samplers.BaseSampler")
        return sampler

    return made


# No random start-up trials for TPE and GP: the plan spreads the first half of their search evenly.
_MAKERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed, n_startup_trials=1),
    "gp": lambda seed: GPSampler(seed=seed, n_startup_trials=1),
    "random": lambda seed: RandomSampler(seed=seed),
}


def _frozen(past: Past, distributions: dict[str, BaseDistribution], number: int) -> FrozenTrial:
    if past.trial is not None and past.trial.number == number:
        return cast(FrozenTrial, past.trial)
    ended = TrialState.FAIL if past.value is None or not past.params else TrialState.COMPLETE
    state = TrialState.RUNNING if past.running else ended
    params = {} if state is TrialState.FAIL or not past.params else dict(past.params)
    # `create_trial` would validate a thousand points again; they were validated when stored.
    past.trial = frozen = FrozenTrial(
        number=number,
        state=state,
        value=past.value if state is TrialState.COMPLETE else None,
        datetime_start=None,
        datetime_complete=None,
        params=params,
        distributions=distributions if params else {},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=number,
    )
    return frozen


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    return {name: _distribution(bounds) for name, bounds in space.items()}


def _distribution(bounds: Range | Whole | Categorical) -> BaseDistribution:
    if isinstance(bounds, Range):
        return FloatDistribution(bounds.low, bounds.high, log=bounds.log)
    if isinstance(bounds, Whole):
        return IntDistribution(bounds.low, bounds.high, log=bounds.log)
    return CategoricalDistribution(bounds.options)


class _History(InMemoryStorage):
    """A study storage whose trials are the given history."""

    get_best_trial = BaseStorage.get_best_trial  # of these trials; InMemoryStorage knows those that it stored itself

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._seen = trials

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        trials = [trial for trial in self._seen if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Do nothing: samplers share proposals with other processes this way; here there are none."""


def importances(space: Space, history: Sequence[Past]) -> dict[str, float]:
    """Return the share of the scores' variance that each parameter explains, largest first; they sum to 1.

    Computed by a random forest with a fixed seed, so the same trials give the same shares. Trials without a value are
    left out. A parameter with one value explains nothing. Source: Hutter, Hoos & Leyton-Brown 2014, "An efficient
    approach for assessing hyperparameter importance".
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # scikit-learn: not for workers

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a notebook may have reset it: else the new study is logged
    study = optuna.create_study(direction="maximize")
    distributions = distributions_of(space)
    study.add_trials(
        [
            create_trial(params=dict(point.params or {}), distributions=distributions, value=point.value)
            for point in history
            if point.value is not None
        ]
    )
    free = [name for name, bounds in distributions.items() if not bounds.single()]
    return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0), params=free))
