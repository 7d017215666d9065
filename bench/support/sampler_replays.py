"""Searches on a recorded surface with several samplers, and how far below the best their choices lie."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from storage.studies.sampler import tpe_sampler
from support.surfaces import Surface, interpolate
from sweeps.plan.seeds import derive
from sweeps.plan.tasks import sobol_points
from sweeps.spec.model import Spec, override
from sweeps.spec.presets import preset
from sweeps.stats.estimates import Estimate, estimate

BUDGETS = (10, 20, 40, 80)  # trials; preset quick has 20
PRODUCT = "Sobol + TPE"

Score: TypeAlias = Callable[[float, float], float]
"""Accuracy, a fraction, of (temperature, alpha)."""


@dataclass(frozen=True)
class Trial:
    """What one trial of a search proposed, and the score that the sampler saw."""

    temperature: float
    alpha: float
    score: float


Search: TypeAlias = Callable[[Spec, int, Score], list[Trial]]
"""So many trials over the ranges of a spec; all randomness comes from its seed."""


def product_search(spec: Spec, trials: int, score: Score) -> list[Trial]:
    """As a sweep does with one worker: a first half of Sobol points, then TPE, seeded anew for each trial."""
    study = _study(RandomSampler(seed=0))  # replaced before it is first asked
    done = []
    for point in sobol_points(spec, (trials + 1) // 2):
        done.append(Trial(point.temperature, point.alpha, score(point.temperature, point.alpha)))
        study.add_trial(optuna.create_trial(params=point.as_dict(), distributions=_space(spec), value=done[-1].score))
    for number in range(len(done), trials):
        study.sampler = tpe_sampler(derive(spec.seed, "sampler", "search", number))
        done.append(_run(study, spec, score))
    return done


def sobol_search(spec: Spec, trials: int, score: Score) -> list[Trial]:
    """The product's first half, all the way."""
    return [
        Trial(point.temperature, point.alpha, score(point.temperature, point.alpha))
        for point in sobol_points(spec, trials)
    ]


def sampler_search(make: Callable[[int], BaseSampler]) -> Search:
    """A search whose every trial is proposed by one of Optuna's samplers; `make` takes its seed."""

    def search(spec: Spec, trials: int, score: Score) -> list[Trial]:
        study = _study(make(derive(spec.seed, "sampler")))
        return [_run(study, spec, score) for _ in range(trials)]

    return search


SEARCHES: Mapping[str, Search] = {
    PRODUCT: product_search,
    "Sobol": sobol_search,
    "TPE": sampler_search(lambda seed: TPESampler(seed=seed)),
    "GP": sampler_search(lambda seed: GPSampler(seed=seed)),
    "random": sampler_search(lambda seed: RandomSampler(seed=seed)),
}


@dataclass(frozen=True)
class Regrets:
    """How one sampler did on one surface.

    Attributes:
        points: regret in points, by budget and then by replay; empty if it is unavailable.
        unavailable: what it lacks here; empty if nothing.
    """

    points: Mapping[int, Sequence[float]]
    unavailable: str = ""

    def mean(self, budget: int) -> Estimate:
        """Mean over the replays with its 95 % interval."""
        return _estimated(self.points[budget])

    def below(self, other: "Regrets", budget: int) -> Estimate:
        """How many points this lies below the other, paired by replay: > 0 is better."""
        pairs = zip(other.points[budget], self.points[budget], strict=True)
        return _estimated([theirs - ours for theirs, ours in pairs])


def compare(surface: Surface, *, replays: int) -> dict[str, Regrets]:
    """Every sampler on one surface: the seeds of the surface take turns in giving the score."""
    return {name: _regrets(surface, search, replays) for name, search in SEARCHES.items()}


def _regrets(surface: Surface, search: Search, replays: int) -> Regrets:
    points: dict[int, list[float]] = {budget: [] for budget in BUDGETS}
    try:
        for number in range(replays):
            for budget, found in regrets(surface, search, replay=number).items():
                points[budget].append(found)
    except ImportError as error:  # GPSampler imports torch when it first proposes
        return Regrets({}, unavailable=f"needs {error.name}")
    return Regrets(points)


def regrets(surface: Surface, search: Search, *, replay: int) -> dict[int, float]:
    """By budget, the points that the best-scored trial lies below the best cell on the seeds that did not score it."""
    selection = replay % surface.seeds
    fresh, seen = surface.fresh(selection), surface.last[selection]
    spec = _spec(surface, seed=replay)

    def score(temperature: float, alpha: float) -> float:
        return interpolate(surface, seen, temperature=temperature, alpha=alpha)

    # A search that plans ahead begins otherwise for each budget; any other only goes on.
    plans = search is product_search
    longest = [] if plans else search(spec, max(BUDGETS), score)
    found = {}
    for budget in BUDGETS:
        trials = search(spec, budget, score) if plans else longest[:budget]
        best = max(trials, key=lambda trial: trial.score)  # the first of equals, as `best` does
        worth = interpolate(surface, fresh, temperature=best.temperature, alpha=best.alpha)
        found[budget] = 100 * float(fresh.max() - worth)
    return found


def _spec(surface: Surface, *, seed: int) -> Spec:
    """A spec that searches exactly over the surface."""
    ranges = {
        f"search.{name}": [float(axis[0]), float(axis[-1])]
        for name, axis in {"temperature": surface.temperatures, "alpha": surface.alphas}.items()
    }
    return override(preset("quick"), {"seed": seed, **ranges})


def _space(spec: Spec) -> dict[str, BaseDistribution]:
    return {
        "temperature": FloatDistribution(*spec.search.temperature, log=True),
        "alpha": FloatDistribution(*spec.search.alpha),
    }


def _study(sampler: BaseSampler) -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=sampler)


def _run(study: optuna.Study, spec: Spec, score: Score) -> Trial:
    trial = study.ask(_space(spec))
    temperature, alpha = trial.params["temperature"], trial.params["alpha"]
    value = score(temperature, alpha)
    study.tell(trial, value)
    return Trial(temperature, alpha, value)


def _estimated(values: Sequence[float]) -> Estimate:
    found = estimate(values)
    assert found is not None
    return found
