"""Describe a plan in words: what create and run print before anything runs."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy

from storage.studies.space import Choice, Range, Whole
from storage.url import masked
from sweeps.analysis.units import percent
from sweeps.plan.expected import expected_core_seconds
from sweeps.plan.space import search_space
from sweeps.plan.tasks import STAGES, Plan
from sweeps.service.needs import needs
from sweeps.spec import presets
from sweeps.spec.losses import formula
from sweeps.spec.model import Spec
from sweeps.spec.tables import DatasetSpec
from sweeps.stats.estimates import resolvable
from sweeps.stats.nested import FEWEST_SEARCHES
from sweeps.terminal import number_of


def describe_plan(spec: Spec, plan: Plan, url: sqlalchemy.URL, found: Sequence[str] = ()) -> list[str]:
    """Return six lines: what is searched, on which data, by which models, the work, the verdict, where it is stored.

    Args:
        found: lines about the user's own datasets, to stand below that of the data.
    """
    searches = spec.outer.teachers * spec.outer.searches
    trials = f"{spec.search.trials} trials" + (f", {searches} searches" if searches > 1 else "")
    trainings = sum(plan.count(stage) for stage in STAGES if stage != "measure")
    minutes = number_of(_rounded(expected_core_seconds(spec) / 60), "core-minute")
    return [
        f"search   {_space(spec)}: {trials}{' on each dataset' if spec.targets else ''}",
        f"data     {' -> '.join(_images(spec.role(role)) for role in spec.roles)}",
        *found,
        f"models   {_models(spec)}",
        f"work     {trainings:,} trainings, about {minutes}",
        f"verdict  {_resolution(spec)}" if spec.targets else f"answer   {_one_dataset(spec)}",
        f"storage  {masked(url)}",
    ]


def describe_details(spec: Spec, plan: Plan) -> list[str]:
    """Return every setting that matters, then the phases and the tasks: what `create -v` adds."""
    counts = ", ".join(f"{stage} {plan.count(stage)}" for stage in STAGES)
    inside = Counter(task.phase for task in plan.tasks)
    return [
        *(_described(name, spec.role(name)) for name in spec.roles),
        f"space    {_ranges(spec)}; "
        f"Adam {spec.training.learning_rate:g} ({spec.training.schedule}), batch {spec.training.batch_size}",
        f"loss     {formula(spec.training.distillation)}",
        *([f"outer    {_repeats(spec)}"] if spec.outer.teachers * spec.outer.searches > 1 else []),
        f"tasks    {len(plan.tasks)}: {counts}",
        *([f"power    {_power(spec)}"] if spec.targets else []),
        *(f"phase    {phase.name}: {number_of(inside[phase.name], 'task')}" for phase in plan.phases),
        *(f"{task.key}  {task.payload}" for task in plan.tasks),
    ]


def needed_elsewhere(spec: Spec) -> list[str]:
    """Return one line for each thing that a worker on another machine needs beside the storage."""
    return [f"a worker elsewhere needs {need.what} {need.how}" for need in needs(spec)]


def on_two_cores(spec: Spec) -> str:
    """Return how long a sweep is expected to take there, for example "10 minutes"."""
    minutes = expected_core_seconds(spec) / 60 / 2
    value, unit = (minutes, "minute") if minutes < 120 else (minutes / 60, "hour")
    return number_of(_rounded(value), unit)


def _rounded(value: float) -> int:
    """Return 1 or more, with two digits that count: what is expected is known no better."""
    return max(1, round(float(f"{value:.2g}")))


def _space(spec: Spec) -> str:
    """Say what is searched: "T 1 to 20, alpha 0 to 1, epochs 5 to 20, batch_size 32 | 64"."""
    space = search_space(spec)
    ranges = {"T": spec.search.temperature, "alpha": spec.search.alpha, **spec.search.space}
    return ", ".join(f"{name} {_tried(space.get(name), low, high)}" for name, (low, high) in ranges.items())


def _tried(bounds: Range | Whole | Choice | None, low: float, high: float) -> str:
    if isinstance(bounds, Choice):  # of a range of batch sizes few are tried, and its high end may not be
        return str(bounds)
    return f"{low:g}" + (f" to {high:g}" if high > low else "")


def _ranges(spec: Spec) -> str:
    """Say the same with how each range is drawn from."""
    names = {"temperature": "T"}
    return ", ".join(
        f"{names.get(name, name)} {bounds if isinstance(bounds, Choice) else f'{_scale(bounds)} {bounds}'}"
        for name, bounds in search_space(spec).items()
    )


def _scale(bounds: Range | Whole) -> str:
    return "uniform" if isinstance(bounds, Range) and not bounds.log else "log-uniform"


def _one_dataset(spec: Spec) -> str:
    """Say what is compared where there is no target."""
    return f"best against no distillation and the untuned defaults, on {number_of(spec.transfer.seeds, 'fresh seed')}"


def _images(role: DatasetSpec) -> str:
    name = role.name or Path(role.dataset).name  # of a file its name alone
    return f"{name} ({role.images:,} images)"


def _models(spec: Spec) -> str:
    """Say who teaches whom, once where it is the same on every dataset."""
    parts = [spec.role(role) for role in spec.roles]
    teachers, students = {part.teacher for part in parts}, {part.student for part in parts}
    if len(students) > 1:
        return "; ".join(f"{part.teacher} teaches {part.student} on {_short(part)}" for part in parts)
    if len(teachers) == 1:
        return f"{parts[0].teacher} teaches {parts[0].student}"
    return f"{', '.join(f'{part.teacher} on {_short(part)}' for part in parts)} teach {parts[0].student}"


def _short(role: DatasetSpec) -> str:
    return role.name or Path(role.dataset).stem


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


def _described(name: str, role: DatasetSpec) -> str:
    views = f", {role.views} views of each image" if role.augment != "none" else ""
    return (
        f"{name:<8} {role.shown}: {role.images} images{views}, teacher {role.teacher}, student {role.student}, "
        f"{role.epochs} epochs"
    )


def _counted(spec: Spec) -> tuple[int, str, tuple[float, float, str] | None]:
    """Return how many units the verdict counts, what they are, and the sd between them as far as it was measured."""
    searches = spec.outer.searches >= FEWEST_SEARCHES
    number, unit = (spec.outer.searches, "searches") if searches else (spec.transfer.seeds, "seeds")
    known = presets.SEARCH_SD if searches else presets.PAIRED_SD
    return number, unit, known.get((spec.role("target").dataset, spec.role("target").student))


def _resolution(spec: Spec) -> str:
    """Say what the plan can tell apart, in a line: the distances from the margin by the lowest and the highest sd."""
    number, unit, sds = _counted(spec)
    margin = f"margin {spec.transfer.margin:g}; {number} {unit if number > 1 else 'seed'}"
    if number < 2:
        return f"{margin}; a verdict needs 2"
    if sds is None:
        return f"{margin}; what they resolve on {_short(spec.role('target'))} is not known"
    low, high = (resolvable(sd, number, level=spec.transfer.level(1)) for sd in sds[:2])
    return f"{margin} resolve {low:.2g} to {high:.2g} points from it (80 % power)"


def _power(spec: Spec) -> str:
    """Say what the resolution rests on."""
    _, unit, sds = _counted(spec)
    first = f"look 1 of {spec.transfer.looks}, decided at {percent(spec.transfer.level(1)):g} %"
    if sds is None:
        return f"{first}; the sd between {unit} on {_short(spec.role('target'))} was not measured beforehand"
    return f"{first}; sd between {unit} {sds[0]:g} to {sds[1]:g} points ({sds[2]})"
