"""Judge runs of other programs: settings against the baseline, ties, luck, missing seeds, advice."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import Literal, TypeAlias

from sweeps.errors import SpecError, UnreadableRuns
from sweeps.judge import forms
from sweeps.judge.reading import Question, Runs, listed
from sweeps.judge.tables import normal
from sweeps.stats.baseline import (
    LEVEL,
    Against,
    Scores,
    against,
    expected_best,
    luck_of_choice,
    on_datasets,
    run_spreads,
    ties,
)
from sweeps.stats.estimates import FEWEST_RUNS, percent

Use: TypeAlias = Literal["use", "keep", "open"]

MOST_SETTINGS = 1_000  # tests in one family; more settings are a search without reruns


@dataclass(frozen=True, kw_only=True)
class BestRun:
    """The best single run of a setting, compared with the baseline's mean on its dataset.

    above: its distance above that mean. beats_best: whether it beats the baseline's best run there. runs: of the
    setting there. tried: runs of all settings but the baseline, on the baseline's datasets. luck, luck_of_all: the
    expected distance above the mean of the best of `runs`, and of `tried`, runs of pure noise; None if no setting has
    two runs. is_luck: whether noise alone exceeds `above` with probability LEVEL or more, or is unknown.
    """

    dataset: str
    seed: str
    score: float
    above: float
    beats_best: bool
    runs: int
    tried: int
    luck: float | None
    luck_of_all: float | None
    is_luck: bool


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting; the baseline, or the base of `Compared`.

    mean: over the datasets that all settings have or, without any, over its own. missing: by dataset, seeds that it
    lacks and others have.
    """

    name: str
    runs: int
    mean: float
    missing: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Compared(Setting):
    """A setting compared with the baseline.

    best_run: None without a dataset of the baseline. is_same: whether every pair has equal scores.
    """

    against: Against
    best_run: BestRun | None
    is_same: bool


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The advice. use: "use" a setting shown to be better, "keep" the baseline, or "open" for too little evidence.

    setting: to use meanwhile. rival: the setting to test further. seeds: their total number for it and the baseline, on
    every dataset, that would show its estimated lead with 80 % power; None if unknown.
    """

    use: Use
    setting: str
    rival: str = ""
    seeds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the runs show. Levels are as in the file; positive differences are better.

    others: best first. common: datasets that all settings have. is_improvement: whether a setting is shown to be better
    than the baseline, at `level` for all together. best: the setting to use, or with the best mean. ties: settings
    whose difference from it has an interval that includes 0. luck_of_choice: expected lead of the best setting over the
    baseline if all were equally good.
    """

    runs: Runs
    base: Setting
    others: tuple[Compared, ...]
    datasets: tuple[str, ...]
    common: tuple[str, ...]
    seeds: tuple[str, ...]
    is_improvement: bool
    best: str
    ties: tuple[str, ...]
    luck_of_choice: float | None
    advice: Advice
    margin: float | None
    level: float = LEVEL

    @property
    def baseline(self) -> str:
        return self.base.name

    @property
    def settings(self) -> tuple[Setting, ...]:
        return self.base, *self.others

    def other(self, name: str) -> Compared | None:
        """Return the setting of that name; None for the baseline."""
        return next((setting for setting in self.others if setting.name == name), None)

    def shown(self, score: float) -> float:
        """Return a score or a difference in the displayed unit."""
        return percent(score) if self.runs.percent else score


def judge(runs: Runs, question: Question) -> Judgement:
    """Compare every setting with the baseline.

    Raises:
        SpecError: the baseline is unknown or not a setting, or the unit does not fit.
        UnreadableRuns: nothing can be compared.
    """
    if len(runs.scores) < 2:
        (name,) = runs.scores
        study = ", or one more --study" if "://" in runs.source else ""
        raise UnreadableRuns(
            f"{runs.source}: one setting, {name}, and nothing to compare it with; its columns are"
            f" {listed(runs.columns)}: name others with --setting{study}"
        )
    if len(runs.scores) > MOST_SETTINGS:
        raise UnreadableRuns(
            f"{runs.source}: {len(runs.scores):,} settings; allowed: at most {MOST_SETTINGS:,}; rerun the best few"
            " on fresh seeds and judge those"
        )
    _check_unit(runs, question)
    baseline = _baseline(runs, question.baseline)
    known = _Runs(runs, baseline)
    compared = against(known.scores, baseline, margin=question.margin)
    if all(item.difference is None for item in compared):
        raise UnreadableRuns(
            f"{runs.source}: no setting has a dataset in common with {baseline}; nothing can be compared"
        )
    order = sorted(compared, key=lambda item: -(item.difference.mean if item.difference is not None else -math.inf))
    lead, advice = order[0], _advice(baseline, order, len(known.seeds))
    above = lead.difference is not None and lead.difference.mean > 0
    best = advice.setting if advice.use == "use" else lead.setting if above else baseline
    return Judgement(
        runs=runs,
        base=known.setting(baseline),
        others=tuple(map(known.compared, order)),
        datasets=tuple(known.seeds),
        common=known.common,
        seeds=tuple(dict.fromkeys(seed for seeds in known.seeds.values() for seed in seeds)),
        is_improvement=any(item.better for item in compared),
        best=best,
        ties=ties(known.scores, best),
        luck_of_choice=luck_of_choice(known.scores, baseline),
        advice=advice,
        margin=question.margin,
    )


def _check_unit(runs: Runs, question: Question) -> None:
    if not question.percent:
        return
    outside = next((score for scores in runs.scores.values() for score in scores.values() if not 0 <= score <= 1), None)
    if outside is not None:
        raise SpecError(
            f"--unit percent: got a score of {outside:g}; allowed: fractions from 0 to 1. Scores that are percentages"
            " already need no --unit"
        )


def _baseline(runs: Runs, named: str) -> str:
    settings = [*runs.scores]
    if named:
        wanted = normal(named).lower()
        for like in (
            [name for name in settings if name in (named, normal(named))],
            [name for name in settings if name.lower() == wanted],
            [name for name in settings if wanted in _words(name)],
        ):
            if len(like) == 1:
                return like[0]
        raise SpecError(f"--baseline: got {named!r}, which is not a setting; settings: {listed(settings)}")
    for usual in forms.BASELINE:
        like = [name for name in settings if usual in _words(name)]
        if len(like) == 1:
            return like[0]
    raise SpecError(f"{runs.source}: which setting is the baseline? Name it: --baseline, of {listed(settings)}")


def _words(setting: str) -> list[str]:
    """Return the name of a setting, or each of its values: ["none", "0.1"] for "method=none, lr=0.1"."""
    return [part.partition("=")[2].strip() or part.strip() for part in setting.lower().split(",")]


class _Runs:
    """All runs with higher scores better, the baseline's means, and the spread of single runs."""

    def __init__(self, runs: Runs, baseline: str) -> None:
        sign = -1.0 if runs.minimize else 1.0
        self.scores: dict[str, Scores] = {
            name: {key: sign * score for key, score in scores.items()} for name, scores in runs.scores.items()
        }
        self.baseline, self._read = self.scores[baseline], runs.scores
        self.seeds: dict[str, dict[str, None]] = {}
        for scores in runs.scores.values():
            for dataset, seed in scores:
                self.seeds.setdefault(dataset, {})[seed] = None
        self._base = on_datasets(self.baseline)
        self._spread = run_spreads(self.scores)
        others = [key for name, scores in runs.scores.items() if name != baseline for key in scores]
        self._tried = sum(dataset in self._base for dataset, _ in others)
        on = [{dataset for dataset, _ in scores} for scores in runs.scores.values()]
        self.common = tuple(dataset for dataset in self.seeds if all(dataset in datasets for datasets in on))

    def setting(self, name: str) -> Setting:
        scores = self._read[name]
        on = on_datasets(scores)
        missing = {
            dataset: seeds
            for dataset, known in self.seeds.items()
            if (seeds := tuple(seed for seed in known if (dataset, seed) not in scores))
        }
        mean = fmean(fmean(on[dataset]) for dataset in self.common or on)
        return Setting(name=name, runs=len(scores), mean=mean, missing=missing)

    def compared(self, item: Against) -> Compared:
        scores = self.scores[item.setting]
        shared = scores.keys() & self.baseline.keys()
        return Compared(
            **vars(self.setting(item.setting)),
            against=item,
            best_run=self._best_run(item.setting),
            is_same=bool(shared) and all(scores[key] == self.baseline[key] for key in shared),
        )

    def _best_run(self, name: str) -> BestRun | None:
        ours, counts = self.scores[name], on_datasets(self.scores[name])
        means = {dataset: fmean(scores) for dataset, scores in self._base.items()}
        above = {key: score - means[key[0]] for key, score in ours.items() if key[0] in means}
        if not above:
            return None
        key = max(above, key=lambda key: above[key])
        dataset, seed = key
        count, tried, spread = len(counts[dataset]), self._tried, self._spread.get(dataset)
        return BestRun(
            dataset=dataset,
            seed=seed,
            score=self._read[name][key],
            above=above[key],
            beats_best=ours[key] > max(self._base[dataset]),
            runs=count,
            tried=tried,
            luck=None if spread is None else spread * expected_best(count),
            luck_of_all=None if spread is None else spread * expected_best(tried),
            is_luck=spread is None or above[key] <= spread * _rare_best(tried, len(self._base[dataset])),
        )


def _rare_best(runs: int, of_baseline: int) -> float:
    """Return by how much the best of some runs exceeds the baseline's mean with probability LEVEL, for sd 1."""
    return NormalDist().inv_cdf((1 - LEVEL) ** (1 / runs)) * math.sqrt(1 + 1 / of_baseline)


def _advice(baseline: str, order: list[Against], datasets: int) -> Advice:
    """order: best first."""
    better = [item for item in order if item.better]
    if better:
        return Advice(use="use", setting=better[0].setting)
    above = [item for item in order if item.difference is not None and item.difference.mean > 0]
    hopeful = [item for item in above if item.p is not None]
    if not hopeful and (above or all(item.p is None for item in order)):
        return Advice(use="open", setting=baseline, rival=order[0].setting, seeds=FEWEST_RUNS)
    if not hopeful:
        return Advice(use="keep", setting=baseline)
    rival = min(hopeful, key=lambda item: item.needed or float("inf"))
    needed = None if rival.needed is None else -(-rival.needed // datasets)
    return Advice(use="open", setting=baseline, rival=rival.setting, seeds=needed)
