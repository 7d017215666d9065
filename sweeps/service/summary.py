"""Describe a plan in words: what create and run print before anything runs."""

import sqlalchemy

from kd.config import LOSS_FORMULA
from storage.url import masked
from sweeps.plan.tasks import STAGES, Plan
from sweeps.spec import presets
from sweeps.spec.model import Spec
from sweeps.spec.tables import DatasetSpec
from sweeps.stats.estimates import resolvable
from sweeps.stats.nested import FEWEST


def describe_plan(spec: Spec, plan: Plan, url: sqlalchemy.URL) -> list[str]:
    """Return the lines: where it is written, the data, what is searched, the tasks per stage."""
    low, high = spec.search.temperature
    a_low, a_high = spec.search.alpha
    outer = spec.outer
    counts = ", ".join(f"{stage} {plan.count(stage)}" for stage in STAGES)
    return [
        f"storage  {masked(url)}",
        *(_described(name, spec.role(name)) for name in spec.roles),
        f"search   T log-uniform [{low:g}, {high:g}], alpha uniform [{a_low:g}, {a_high:g}]; "
        f"Adam {spec.training.learning_rate:g} ({spec.training.schedule}), batch {spec.training.batch_size}",
        f"loss     {LOSS_FORMULA}",
        *([f"outer    {_repeats(spec)}"] if outer.teachers * outer.searches > 1 else []),
        f"tasks    {len(plan.tasks)}: {counts}",
        f"verdict  margin {spec.transfer.margin:g} points, {_counted(spec)}, {spec.transfer.looks} looks; "
        + _resolution(spec),
    ]


def _repeats(spec: Spec) -> str:
    """Say what is repeated, and how much cheaper a further search is."""
    outer, further = spec.outer, spec.of_group("further")
    teachers = f"{outer.teachers} teachers on each dataset, " if outer.teachers > 1 else ""
    if outer.searches == 1:
        return f"{teachers}one search with each"
    return (
        f"{teachers}{outer.searches} searches: the first of {spec.search.trials} trials and"
        f" {spec.confirm.trainings} to confirm, further ones of {further.search.trials} and"
        f" {further.confirm.trainings}, compared on {further.transfer.seeds} seeds"
    )


def _counted(spec: Spec) -> str:
    """Say what the verdict counts."""
    if spec.outer.searches >= FEWEST:
        return f"{spec.outer.searches} searches"
    return f"{spec.transfer.seeds} seeds"


def _described(name: str, role: DatasetSpec) -> str:
    views = f", {role.views} views of each image" if role.augment != "none" else ""
    return (
        f"{name:<8} {role.dataset}: {role.images} images{views}, teacher {role.teacher}, student {role.student}, "
        f"{role.epochs} epochs"
    )


def _resolution(spec: Spec) -> str:
    """Say what the planned searches or seeds can tell apart, as far as that is known before anything was trained."""
    searches = spec.outer.searches >= FEWEST
    number = spec.outer.searches if searches else spec.transfer.seeds
    if number < 2:
        return "a verdict needs 2 seeds"
    known = (presets.SEARCH_SD if searches else presets.PAIRED_SD).get((spec.target.dataset, spec.target.student))
    noise = "spread between searches" if searches else "seed noise"
    if known is None:
        return f"what they resolve depends on the {noise} on {spec.target.dataset}, which is not known beforehand"
    *sds, origin = known
    low, high = (resolvable(sd, number, level=spec.transfer.level(1)) for sd in sds)
    return (
        f"a regret {low:.2g} to {high:.2g} points from the margin is distinguished from it with 80 % power, given an"
        f" sd of {sds[0]:g} to {sds[1]:g} between {'searches' if searches else 'seeds'} ({origin})"
    )
