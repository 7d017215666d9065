"""`Plane`: where the trials of a search lie, drawn over two of its parameters or, where it has one, over their order.

Places are percent of the figure, so that the page draws it at any width without scaling dots and text.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, quantiles

from storage.records.live import TrialRecord
from storage.studies.space import Range, Whole
from sweeps.plan.phases import Phase
from sweeps.report.words import display_name
from sweeps.spec.model import Spec
from sweeps.terminal import number_of
from sweeps.trainers.protocol import Point, label

COLOURS = 6  # from the lowest to the highest score, as live.css has them
_PLANE = 2
_FEW = 10  # scores; of more, the lowest tenth shares a colour: one run that learnt nothing would take most of the scale
_WIDE = 1000  # a range over three decades has no room for 2 and 5 between the powers of ten


@dataclass(frozen=True)
class Tick:
    """A value at an axis. at: percent from its low end."""

    at: float
    label: str


@dataclass(frozen=True)
class Axis:
    """An axis of the plane."""

    title: str
    ticks: tuple[Tick, ...]


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A trial. x, y: percent from the left and from the top. look: classes of live.css. score: "" without one."""

    x: float
    y: float
    look: str
    task: str
    point: str
    score: str
    state: str

    @property
    def text(self) -> str:
        score = f"{self.score} on validation, " if self.score else ""
        return f"{self.task}: {self.point}; {score}{self.state}"


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The search on one dataset. low, high: the scores of the first and the last colour, "" before there are any."""

    title: str
    x: Axis
    y: Axis
    dots: tuple[Dot, ...]
    low: str
    high: str


def planes(spec: Spec, trials: Sequence[TrialRecord]) -> tuple[Plane, ...]:
    """Return a plane for each dataset whose search has started, the latest first; before that an empty one."""
    by_role = defaultdict[str, list[tuple[Phase, TrialRecord]]](list)
    for task in trials:  # the newest first
        phase = Phase.parse(task.phase)
        if phase.is_search or phase.kind.endswith("confirm"):
            by_role[phase.role].append((phase, task))
    return tuple(_Drawing(spec, role, tasks).plane() for role, tasks in (by_role or {"source": []}).items())


class _Drawing:
    def __init__(self, spec: Spec, role: str, tasks: Sequence[tuple[Phase, TrialRecord]]) -> None:
        self._spec, self._role, self._score = spec, role, spec.score
        self._trials = sorted((task for phase, task in tasks if phase.is_search), key=lambda task: task.id)
        self._confirms = [task for phase, task in tasks if not phase.is_search]
        self._order = {task.id: number for number, task in enumerate(self._trials)}
        self._axes = _axes(spec)
        scores = sorted(task.score for task in self._trials if task.score is not None)
        self._low, self._high = (scores[0], scores[-1]) if scores else (0.0, 0.0)
        self._lightest = quantiles(scores, n=10)[0] if len(scores) > _FEW else self._low
        self._is_scored = bool(scores)

    def plane(self) -> Plane:
        name = display_name(self._spec.role(self._role).shown)
        where = f" on {name}" if len(self._spec.roles) > 1 else ""
        x, y = self._titled()
        return Plane(
            title=f"Where the search{where} has looked",
            x=x,
            y=y,
            dots=tuple(self._dots()),
            low=self._score.text(self._lightest) if self._is_scored else "",
            high=self._score.text(self._high) if self._is_scored else "",
        )

    def _titled(self) -> tuple[Axis, Axis]:
        titles = self._spec.kind.features.axes
        axes = [Axis(titles.get(name, label(name)), _ticks(bounds)) for name, bounds in self._axes.items()]
        if len(axes) == _PLANE:
            return axes[0], axes[1]
        ends = [(0, self._low), (100, self._high)] if self._low < self._high else [(50, self._high)] * self._is_scored
        scores = tuple(Tick(at, self._score.text(value)) for at, value in ends)
        last = len(self._trials)
        order = [Tick(100 * self._across(number - 1), f"{number}") for number in sorted({1, last}) if last]
        return Axis("trial, in the order of the plan", tuple(order)), Axis(f"validation {self._score.name}", scores)

    def _dots(self) -> list[Dot]:
        """Return all dots, the best one and those that run last: they lie above the others."""
        confirmed, others = defaultdict[Point, list[float]](list), dict[Point, Dot]()
        for task in self._confirms:
            if task.score is not None:
                confirmed[Point.of(task.params)].append(task.score)
        order = sorted(self._trials, key=lambda task: (task.state == "running", task.score or -math.inf))
        dots = [self._dot(task, confirmed.get(Point.of(task.params), ())) for task in order]
        searched = {Point.of(task.params) for task in self._trials}
        for task in self._confirms:  # a default that competes with the searched points, and points being retrained now
            point = Point.of(task.params)
            if task.state == "running":
                dots.append(self._dot(task, ()))
            elif len(self._axes) == _PLANE and point in confirmed and point not in searched:
                others[point] = self._dot(task, confirmed[point], fmean(confirmed[point]))
        return [*others.values(), *dots]

    def _dot(self, task: TrialRecord, confirmed: Sequence[float], mean: float | None = None) -> Dot:
        point, value = Point.of(task.params), task.score if mean is None else mean
        look = "failed" if task.state == "failed" else "running" if value is None else f"s{self._colour(value)}"
        state = {"running": f"running on {task.worker}", "failed": "failed"}.get(task.state, "one training")
        if confirmed:
            look += " confirmed"
            seeds = number_of(len(confirmed), "new seed")
            word = "confirmed" if mean is not None else f"confirmed: {self._score.text(fmean(confirmed))}"
            state = f"{word}, mean of {seeds}" if len(confirmed) > 1 else f"{word} on {seeds}"
        x, y = self._place(task, point)
        score = "" if value is None else self._score.text(value)
        return Dot(x=x, y=y, look=look, task=task.key, point=point.text(), score=score, state=state)

    def _place(self, task: TrialRecord, point: Point) -> tuple[float, float]:
        if len(self._axes) == _PLANE:
            # A default may lie outside the search space: it is drawn at the edge.
            x, y = (min(max(part.fraction(float(point[name])), 0.0), 1.0) for name, part in self._axes.items())
            return 100 * x, 100 * (1 - y)
        same = (self._order[other.id] for other in self._trials if other.params == task.params)
        x = self._across(self._order.get(task.id, next(same, 0)))
        return 100 * x, 100 if task.score is None else 100 * (1 - self._height(task.score, self._low))

    def _across(self, number: int) -> float:
        return (number + 0.5) / max(len(self._trials), 1)

    def _height(self, score: float, low: float) -> float:
        part = (score - low) / (self._high - low) if self._high > low else 0.5
        return min(max(part, 0.0), 1.0)

    def _colour(self, score: float) -> int:
        if self._high <= self._lightest:
            return COLOURS - 1
        return min(int(COLOURS * self._height(score, self._lightest)), COLOURS - 1)


def _axes(spec: Spec) -> Mapping[str, Range]:
    """Return the first two parameters that are numbers, in the order in which the trainer names them."""
    space = spec.kind.space(spec)
    numeric = {
        name: Range(float(bounds.low), float(bounds.high), bounds.log)
        for name in spec.kind.searched(spec)
        if isinstance(bounds := space[name], Range | Whole)
    }
    return dict(list(numeric.items())[:_PLANE])


def _ticks(bounds: Range) -> tuple[Tick, ...]:
    low, high = bounds.low, bounds.high
    values = [low, (low + high) / 2, high]
    if bounds.log:
        powers = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
        between = (1, 2, 5) if high <= _WIDE * low else (1,)
        inside = [step * power for power in powers for step in between if low <= step * power <= high]
        values = inside if len(inside) > 1 else [low, high]
    return tuple(Tick(100 * bounds.fraction(value), f"{value:.3g}") for value in dict.fromkeys(values))
