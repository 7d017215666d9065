"""Expect the seconds of a sweep's tasks from its spec alone, before anything has run."""

from functools import cache

from sweeps.plan.names import groups
from sweeps.spec.model import Spec
from sweeps.spec.presets import MINUTES, PRESETS

# As measured in presets tiny and quick: a teacher's network is larger than a student's, and a comparison method is
# mostly a network trained on ImageNet. Roughly right is enough, since what has finished soon says it better.
_TEACHER = 6
_METHOD = 20
_CORES = 2  # of MINUTES


def expected_seconds(spec: Spec, stage: str, role: str | None) -> float:
    """Return the seconds that a task of a stage on the dataset of a role is expected to take on one core.

    Args:
        role: None for the stage measure, which takes about as long as a comparison method.
    """
    return _work(spec, stage, role) * _seconds_of_work(spec.preset if spec.preset in MINUTES else "quick")


def expected_core_seconds(spec: Spec) -> float:
    """Return the same for all tasks of a sweep together."""
    return _whole(spec) * _seconds_of_work(spec.preset if spec.preset in MINUTES else "quick")


def _work(spec: Spec, stage: str, role: str | None) -> float:
    """Return how much a task computes, in images that a student trains on."""
    part = spec.role(role or "source")
    if stage == "teachers":
        return _TEACHER * part.images * part.teacher_epochs
    return (_METHOD if stage in ("baselines", "measure") else 1) * part.images * part.epochs


def _whole(spec: Spec) -> float:
    # Counted by the spec: to lay out the plan itself takes a second.
    whole = _work(spec, "measure", None)
    for role in spec.roles:
        whole += spec.outer.teachers * _work(spec, "teachers", role)
        whole += len(spec.baselines_on(role)) * _work(spec, "baselines", role)
        for group in groups(spec):
            one = spec.of_group(group)
            compared = sum(one.seeds_of(role, arm) for arm in one.arms(role, group))
            whole += (one.search.trials + one.confirm.trainings + compared) * _work(spec, "search", role)
    return whole


@cache
def _seconds_of_work(preset: str) -> float:
    return MINUTES[preset] * 60 * _CORES / _whole(PRESETS[preset])
