"""The advice for each target, untuned default, values tuned elsewhere, or tuning here, and the cost of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum

from sweeps.findings.load import StoredSweep, identity, lacks_untreated, of_arm, scaled_scores
from sweeps.plan.jobs import ConfirmTask, SearchTask, StudentOutcome, TeacherOutcome, TeacherTask
from sweeps.plan.phases import Phase
from sweeps.plan.selection import Confirmed, confirmed_for
from sweeps.spec.tables import Group
from sweeps.stats.advice import STRATEGIES, Choice, Runs, StrategyName, Use, advise
from sweeps.trainers.protocol import Point


@dataclass(frozen=True, kw_only=True)
class RoleChoice:
    """The advice for one dataset, over the searches of the first teacher.

    role, dataset: of the target or, without targets, of the source. choice: None while trainings are missing, or if no
    tuned training, or no untreated one for a margin that is a share, gave a model. points: of each strategy in the
    first search; None if not known yet. seconds: mean core-seconds of one search of a strategy: teacher, search and
    confirm. same: number of searches in which elsewhere and here are one training, which is no evidence. done, planned:
    numbers of trainings on that dataset. left: those waiting, running or cancelled.
    """

    role: str
    dataset: str
    choice: Choice | None
    points: Mapping[StrategyName, Point | None]
    seconds: Mapping[StrategyName, float]
    same: int
    done: int
    left: int
    planned: int


def choices(stored: StoredSweep, confirmed: Mapping[str, Confirmed]) -> tuple[RoleChoice, ...]:
    """Return the advice for each target or, without targets, for the source; empty under an older rule."""
    if not stored.spec.transfer.advises:
        return ()
    return tuple(_choice(stored, role, confirmed) for role in stored.spec.targets or ("source",))


def _choice(stored: StoredSweep, role: str, confirmed: Mapping[str, Confirmed]) -> RoleChoice:
    spec, transfer, mine = stored.spec, stored.spec.transfer, stored.spec.searches
    arms = _arms(stored, role)
    done, left, planned = stored.progress(role)
    choice = None
    # Advice before the last seed would be another look.
    if not left and not lacks_untreated(stored, role):
        choice = advise(
            [_runs(stored, role, arms, group) for group in mine],
            margin=transfer.margin,
            margin_share=transfer.margin_share,
            looks=transfer.looks,
            look=max(len(stored.looks), 1),
            targets=len(spec.targets) or 1,
        )
    searched_on: Mapping[StrategyName, str] = {"elsewhere": "source", "here": role}
    strategies = [name for name in STRATEGIES if name in arms]
    points = {
        name: confirmed[searched_on[name]].best.point if searched_on[name] in confirmed else None
        for name in strategies
        if name in searched_on
    }
    if "default" in arms:
        points["default"] = _fixed(stored, role, arms["default"])
    return RoleChoice(
        role=role,
        dataset=spec.role(role).dataset,
        choice=choice,
        points={name: points[name] for name in strategies},
        seconds={name: _seconds(stored, searched_on[name]) if name in searched_on else 0.0 for name in strategies},
        same=sum(_is_same(stored, role, arms, group) for group in mine),
        done=done,
        left=left,
        planned=planned,
    )


def _arms(stored: StoredSweep, role: str) -> Mapping[Use, str]:
    """Return the trained arm of each strategy on a dataset, and the untreated one."""
    spec = stored.spec
    default, tuned = next(iter(spec.kind.features.defaults), ""), "best" if role == "source" else "native"
    arms: dict[Use, str] = {"default": default, "here": tuned, "untreated": spec.untreated_arm(role)}
    if role != "source":
        arms["elsewhere"] = "best"
    trained = spec.arms(role)
    return {use: arm for use, arm in arms.items() if arm in trained}


def _runs(stored: StoredSweep, role: str, arms: Mapping[Use, str], group: Group) -> Runs:
    return {use: scaled_scores(stored, role, arm, group) for use, arm in arms.items()}


def _fixed(stored: StoredSweep, role: str, arm: str) -> Point | None:
    done = (training.outcome for training in of_arm(stored.trainings, role, arm) if training.outcome is not None)
    known = next((outcome.point for outcome in done), None)
    return None if known is None else Point.of(stored.spec.kind.own_values(arm, known.as_dict()))


def _seconds(stored: StoredSweep, role: str) -> float:
    """Return the mean core-seconds of one search on a dataset, teacher included; 0 before one is done."""
    teachers = stored.finished(TeacherTask, TeacherOutcome, phase=Phase.teachers(role))
    searches = []
    for group in stored.spec.searches:
        search = stored.finished(SearchTask, StudentOutcome, phase=Phase.search(role, group))
        confirms = confirmed_for(Phase.confirm(role, group), stored.finished(ConfirmTask, StudentOutcome))
        if search and confirms:
            trained = [*(task.outcome for task in search), *(task.outcome for task in confirms)]
            searches.append(fsum(outcome.cpu_s for outcome in trained))
    return fsum(task.outcome.cpu_s for task in teachers) + (fsum(searches) / len(searches) if searches else 0.0)


def _is_same(stored: StoredSweep, role: str, arms: Mapping[Use, str], group: Group) -> bool:
    """Return whether elsewhere and here are the same trainings; within a search, either all are or none."""
    if "elsewhere" not in arms or "here" not in arms:
        return False
    both = (of_arm(stored.trainings, role, arms[use], group) for use in ("elsewhere", "here"))
    mine, other = ({identity(stored.spec, training) for training in trainings} - {None} for trainings in both)
    return bool(mine & other)
