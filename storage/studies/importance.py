"""Say how much each parameter of a search mattered: functional ANOVA over its finished trials, by Optuna."""

from collections.abc import Sequence

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from storage.studies.sampler import Past, distributions_of
from storage.studies.space import Space


def importances(space: Space, history: Sequence[Past], *, seed: int = 0) -> dict[str, float]:
    """Return the share of the variance of the scores that each parameter explains, the largest first; they sum to 1.

    A random forest is fitted to the trials; its seed is fixed, so the same trials give the same shares.
    Source: Hutter, Hoos & Leyton-Brown 2014, "An efficient approach for assessing hyperparameter importance".

    Args:
        space: of every trial in the history.
        history: the finished trials; those without a value are left out. A parameter with one value explains nothing.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # as for a study of a storage: it would say that it was made
    study = optuna.create_study(direction="maximize")
    distributions = distributions_of(space)
    study.add_trials(
        [
            create_trial(params=dict(one.params), distributions=distributions, value=one.value)
            for one in history
            if one.value is not None
        ]
    )
    free = [name for name, bounds in distributions.items() if not bounds.single()]
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed), params=free)
    return dict(found)
