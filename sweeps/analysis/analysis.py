"""What a sweep says about transfer: the verdict of each target, whether there was an optimum to find, the controls.

Everything here is pure Python on the stored outcomes: `report` prints it in a fraction of a second. What needs scipy
is in `secondary`.
"""

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean

from storage.records.queries import TaskRecord
from sweeps.analysis.comparison import Comparison
from sweeps.analysis.looks import Look
from sweeps.plan.names import best_of, confirm_phase, group_of, groups, search_phase, teacher_of
from sweeps.stats import variance
from sweeps.stats.estimates import Estimate, estimate, paired
from sweeps.stats.verdict import Verdict, decide


@dataclass(frozen=True, kw_only=True)
class TargetVerdict:
    """The answer for one target.

    verdict: None while trainings are missing; `done` of `planned` are there, `left` may still come: those that wait,
    run, or were cancelled. looks: those begun so far.
    """

    role: str
    dataset: str
    verdict: Verdict | None
    done: int
    left: int
    planned: int
    looks: tuple[Look, ...]


@dataclass(frozen=True)
class Point:
    """One trial of a search. accuracy: validation, points (1 point = 0.01). shared: of the Sobol half."""

    temperature: float
    alpha: float
    accuracy: float
    number: int
    shared: bool


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A search and its confirm on one dataset.

    best: (temperature, alpha) that was confirmed, None before. tied: confirmed candidates, best aside, that the
    confirm seeds cannot tell from it. icc: intraclass correlation of single runs at evenly spread points, in [0, 1],
    None where confirm is too small to tell. optimism: how much the trophy of the search fell when it was confirmed,
    accuracy points.
    """

    role: str
    dataset: str
    points: tuple[Point, ...]
    best: tuple[float, float] | None
    tied: tuple[tuple[float, float], ...]
    icc: float | None
    optimism: float | None

    @property
    def identified(self) -> bool | None:
        """Whether an optimum stands out of the noise; None where that cannot be told."""
        return None if self.icc is None else self.icc >= variance.IDENTIFIED_FROM


@dataclass(frozen=True, kw_only=True)
class Control:
    """One control on one dataset, test accuracy points.

    gain: control - scratch. beyond: best - control. best: best - scratch, which is to be explained.
    """

    arm: str
    role: str
    dataset: str
    gain: Estimate
    beyond: Estimate
    best: Estimate

    @property
    def explains(self) -> bool:
        """Whether best gains, the control gains as well, and best cannot be told from it: the gain is the control's."""
        return _above_zero(self.best) and _above_zero(self.gain) and not _above_zero(self.beyond)


def _above_zero(value: Estimate) -> bool:
    return value.low is not None and value.low > 0


@dataclass(frozen=True, kw_only=True)
class GroupRegret:
    """The regret on a target with one teacher and one search, points; seeds as in the verdict."""

    group: str
    teacher: str
    temperature: float
    alpha: float
    regret: Estimate


class Analysis:
    """The answer of one sweep, from what is stored of it."""

    def __init__(self, comparison: Comparison, looks: list[Look]) -> None:
        self.comparison = comparison
        self.spec = comparison.spec
        self.looks = tuple(look for look in looks if look.first_read is not None)

    def verdicts(self) -> list[TargetVerdict]:
        """One for each target; that of the first one is the answer to the primary question."""
        return [self._verdict(role) for role in self.spec.targets]

    def surfaces(self) -> list[Surface]:
        """The search of the source, then the native ones of the targets."""
        return [self._surface(role) for role in self.spec.roles]

    def controls(self) -> list[Control]:
        """The controls that ran, on every dataset; nothing where scratch or best is missing."""
        found = []
        for role in self.spec.roles:
            best, scratch = (self.comparison.tests(role, arm) for arm in ("best", "scratch"))
            for arm in self.spec.transfer.controls(role):
                ran = self.comparison.tests(role, arm)
                gain, beyond, whole = paired(ran, scratch), paired(best, ran), paired(best, scratch)
                if gain is not None and beyond is not None and whole is not None:
                    dataset = self.spec.role(role).dataset
                    found.append(Control(arm=arm, role=role, dataset=dataset, gain=gain, beyond=beyond, best=whole))
        return found

    def outer(self, role: str) -> list[GroupRegret]:
        """The regret of every teacher and search on a target; one entry without an outer level."""
        found = []
        for group in groups(self.spec):
            native, best = (self.comparison.tests(role, arm, group) for arm in ("native", "best"))
            regret, point = paired(native, best), self.comparison.selected(best_of("source", group))
            if regret is not None and point is not None:
                teacher = teacher_of(group) or "t0"
                values = {"temperature": point["temperature"], "alpha": point["alpha"]}
                found.append(GroupRegret(group=group or "t0s0", teacher=teacher, regret=regret, **values))
        return found

    def over_teachers(self, role: str) -> Estimate | None:
        """The regret with its t interval over teachers, the searches of each averaged: n = teachers."""
        regrets: dict[str, list[float]] = defaultdict(list)
        for one in self.outer(role):
            regrets[one.teacher].append(one.regret.mean)
        return estimate([fmean(values) for values in regrets.values()])

    def _verdict(self, role: str) -> TargetVerdict:
        arms = self.spec.transfer.arms(role)
        planned = [task for task in self.comparison.transfers(role) if group_of(task.payload) == ""]
        done = sum(task.state == "done" for task in planned)
        left = sum(task.state in ("waiting", "running", "cancelled") for task in planned)
        decided = None
        if not left:  # a verdict before the last seed is in would be one more look
            tests = {arm: self.comparison.tests(role, arm) for arm in arms}
            decided = decide(tests, margin=self.spec.transfer.margin, level=self.spec.transfer.level)
        return TargetVerdict(
            role=role,
            dataset=self.spec.role(role).dataset,
            verdict=decided,
            done=done,
            left=left,
            planned=len(planned),
            looks=self.looks,
        )

    def _surface(self, role: str) -> Surface:
        search, confirm = (self.comparison.done(phase) for phase in (search_phase(role), confirm_phase(role)))
        best = self.comparison.selected(best_of(role))
        ranked = _by_rank(confirm)
        noise = variance.noise_variance(_complete(ranked))
        shared = [100 * (task.score or 0.0) for task in search if "temperature" in task.payload]
        icc = None if noise is None else variance.intraclass_correlation(shared, noise)
        places = {rank: _place(tasks[0]) for rank, tasks in _tasks_by_rank(confirm).items()}
        tied: list[str] = []
        if best is not None and best["rank"] in ranked:
            others = {str(rank): scores for rank, scores in ranked.items() if rank != best["rank"]}
            tied = variance.tied(ranked[best["rank"]], others)
        trophy = max(search, key=lambda task: (task.score or 0.0, -task.id), default=None)
        fall = None
        if trophy is not None and trophy.score is not None and ranked.get(0):
            fall = variance.optimism(100 * trophy.score, list(ranked[0].values()))
        return Surface(
            role=role,
            dataset=self.spec.role(role).dataset,
            points=tuple(
                Point(*_place(task), 100 * (task.score or 0.0), number, "temperature" in task.payload)
                for number, task in enumerate(search)
            ),
            best=None if best is None else (best["temperature"], best["alpha"]),
            tied=tuple(places[int(rank)] for rank in tied),
            icc=icc,
            optimism=fall,
        )


def _tasks_by_rank(confirm: list[TaskRecord]) -> dict[int, list[TaskRecord]]:
    found: dict[int, list[TaskRecord]] = defaultdict(list)
    for task in confirm:
        found[task.payload["rank"]].append(task)
    return found


def _by_rank(confirm: list[TaskRecord]) -> dict[int, dict[int, float]]:
    """Accuracy in points by the candidate's rank and the repeat."""
    return {
        rank: {task.payload["repeat"]: 100 * (task.score or 0.0) for task in tasks}
        for rank, tasks in _tasks_by_rank(confirm).items()
    }


def _complete(ranked: dict[int, dict[int, float]]) -> list[list[float]]:
    """Candidates x seeds, as far as every candidate has them."""
    shared = set.intersection(*(set(scores) for scores in ranked.values())) if ranked else set()
    return [[scores[repeat] for repeat in sorted(shared)] for scores in ranked.values()]


def _place(task: TaskRecord) -> tuple[float, float]:
    outcome = task.outcome or {}
    return outcome["temperature"], outcome["alpha"]
