"""`SoFar`: the best point of each dataset by validation, before there is an answer, beside what was not tuned."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from storage.records.live import TrialRecord
from sweeps.plan.phases import Phase
from sweeps.plan.points import planned_arm
from sweeps.report.words import display_name
from sweeps.spec.model import Spec
from sweeps.spec.tables import FIRST, Group
from sweeps.stats.estimates import as_shown, estimate
from sweeps.terminal import number_of
from sweeps.trainers.protocol import Point
from sweeps.trainers.score import Score


@dataclass(frozen=True)
class Level:
    """A mean score in words. interval: "" where there is none. detail: what the mean is over."""

    label: str
    score: str
    interval: str
    detail: str


@dataclass(frozen=True)
class SoFar:
    """What is known of one dataset. point: of `best`, of the first search where there are several."""

    dataset: str
    point: str
    best: Level
    others: tuple[Level, ...]


def so_far(spec: Spec, trials: Sequence[TrialRecord]) -> tuple[SoFar, ...]:
    """Return what the newest tasks say, for each dataset that has a trial; the source comes first."""
    parsed = [(Phase.parse(task.phase), task) for task in trials if task.score is not None]
    return tuple(
        known
        for role in spec.roles
        if (known := _of_role(spec, role, [(phase, task) for phase, task in parsed if phase.role == role])) is not None
    )


def _of_role(spec: Spec, role: str, tasks: Sequence[tuple[Phase, TrialRecord]]) -> SoFar | None:
    searched = [task for phase, task in tasks if phase.is_search]
    if not searched:
        return None
    dataset, default = display_name(spec.role(role).shown), spec.raced
    untuned = planned_arm(spec, role, default) if default else None
    fresh = _fresh(tasks)
    tuned = {group: _best(points, untuned) for group, points in fresh.items() if set(points) - {untuned}}
    if not tuned:
        top = max(searched, key=lambda task: (task.score or 0.0, -task.id))
        best = _level(spec.score, "Tuned", [top.score or 0.0], "training")
        detail = f"the best of {number_of(len(searched), 'single training')}: partly luck"
        return SoFar(dataset, Point.of(top.params).text(), replace(best, detail=detail), ())
    rivals, arms = list[Level](), _by_arm(tasks)
    raced = [points[untuned] for points in fresh.values() if untuned in points] if untuned is not None else []
    if default := default or next(iter(spec.kind.features.defaults), ""):
        scores, unit = _over(raced) if raced else (arms[default], "seed")
        rivals += [_level(spec.score, f"{spec.arm(default).owner} default", scores, unit)] if scores else []
    if scores := arms[spec.counted_from(role)]:
        rivals.append(_level(spec.score, spec.kind.features.without, scores, "seed"))
    value, unit = _over([scores for _, scores in tuned.values()])
    point, _ = tuned.get(FIRST, next(iter(tuned.values())))
    return SoFar(dataset, point.text(), _level(spec.score, "Tuned", value, unit), tuple(rivals))


def _fresh(tasks: Sequence[tuple[Phase, TrialRecord]]) -> Mapping[Group, Mapping[Point, Sequence[float]]]:
    """Return the scores of each confirmed point, by search."""
    scores = defaultdict[Group, dict[Point, list[float]]](dict)
    for phase, task in tasks:
        if phase.kind.endswith("confirm"):
            scores[phase.group].setdefault(Point.of(task.params), []).append(task.score or 0.0)
    return dict(sorted(scores.items(), key=lambda item: (item[0].prepared, item[0].search)))


def _best(points: Mapping[Point, Sequence[float]], untuned: Point | None) -> tuple[Point, Sequence[float]]:
    """Return the tuned point with the best mean among those with the most seeds."""
    tuned = {point: scores for point, scores in points.items() if point != untuned}
    most = max(map(len, tuned.values()))
    return max(((point, scores) for point, scores in tuned.items() if len(scores) == most), key=lambda p: fmean(p[1]))


def _by_arm(tasks: Sequence[tuple[Phase, TrialRecord]]) -> Mapping[str, Sequence[float]]:
    scores = defaultdict[str, list[float]](list)
    for phase, task in tasks:
        if phase.kind == "transfer":
            scores[str(task.params.get("arm"))].append(task.score or 0.0)
    return scores


def _over(searches: Sequence[Sequence[float]]) -> tuple[Sequence[float], str]:
    """Return what a mean and its interval are over: searches, or the seeds where there is one search."""
    return ([fmean(scores) for scores in searches], "search") if len(searches) > 1 else (searches[0], "new seed")


def _level(score: Score, label: str, values: Sequence[float], unit: str) -> Level:
    mean = estimate(values)
    assert mean is not None
    known, interval = as_shown(mean, score.bounds), ""
    if known.low is not None and known.high is not None:
        low, high = sorted((known.low, known.high), key=score.level)
        interval = f"95 % CI {score.number(low)} to {score.number(high)}"
    units = f"{known.n} {unit}{'es' if unit == 'search' else 's'}"
    detail = f"mean of {units}" if known.n > 1 else f"1 {unit}"
    return Level(f"{label[0].upper()}{label[1:]}", score.text(known.mean), interval, detail)
