"""Count the tasks of a plan before it is made: counts within their bounds may still multiply to more than fits."""

from sweeps.errors import SpecError
from sweeps.spec.model import Spec

MOST_TASKS = 100_000
"""Of one sweep. Preset full has about 3,000; a plan of 100,000 is made in seconds."""


def tasks_of(spec: Spec) -> int:
    """Return how many tasks `sweeps.plan.tasks.make_plan` gives this spec, without making one."""
    groups = spec.outer.teachers * spec.outer.searches
    teachers = len(spec.roles) * spec.outer.teachers
    baselines = sum(len(spec.baselines_on(role)) for role in spec.roles)
    measure = 1
    return (
        teachers + baselines + _group(spec, "") + (groups - 1) * _group(spec.of_group("further"), "further") + measure
    )


def refuse_too_many(spec: Spec) -> None:
    """Check that a plan stays within MOST_TASKS.

    Raises:
        SpecError: it would not; says what multiplies.
    """
    count = tasks_of(spec)
    if count > MOST_TASKS:
        raise SpecError(
            f"the plan has {count:,} tasks; allowed: {MOST_TASKS:,}. It has {spec.outer.teachers:,} x"
            f" {spec.outer.searches:,} searches (outer.teachers, outer.searches) on each dataset, the first of"
            f" {spec.search.trials:,} trials (search.trials) compared on {spec.transfer.seeds:,} seeds"
            " (transfer.seeds): lower one of them"
        )


def _group(spec: Spec, group: str) -> int:
    compared = sum(spec.seeds_of(role, arm) for role in spec.roles for arm in spec.arms(role, group))
    return len(spec.roles) * (spec.search.trials + spec.confirm.trainings) + compared
