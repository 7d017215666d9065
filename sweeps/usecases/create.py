"""Create a sweep; describe its plan."""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import sqlalchemy

from kd.config import MODEL_NAMES
from kd.data import datasets
from kd.errors import CodeError, DataError, ModelError
from kd.teachers.logits_file import PREFIX, aligned, digest, read
from kd.teachers.names import parse_teacher
from kd.tools import code
from storage.db.engine import create_lock, create_tables, exist, open_engine
from storage.errors import NotAStorage, SamplerUnusable, SpecConflict, SweepNotFound, Unreachable
from storage.failpoints import failpoint
from storage.queue import plans
from storage.records import queries
from storage.studies import ownership
from storage.studies.ownership import IDENTITY_ATTR, Owner, owner_of
from storage.studies.space import Choice, Range, Whole, study_name
from storage.tables import RevisionRecord
from storage.url import masked
from sweeps.distill import freeze, presets
from sweeps.distill.space import search_space
from sweeps.distill.spec import DatasetSpec, formula
from sweeps.errors import AnotherSpec, SpecError
from sweeps.hints import PORTABLE, local
from sweeps.plan.plan import STAGES, Plan, expected_core_seconds, make_plan
from sweeps.spec.model import Spec, override, parse
from sweeps.spec.stored import check_name, difference, frozen_code, missing
from sweeps.stats.estimates import percent, resolvable
from sweeps.stats.verdict import FEWEST_SEARCHES
from sweeps.terminal import number_of
from sweeps.workers.environment import provenance

if TYPE_CHECKING:  # Optuna takes a second to import
    from storage.studies.studies import Studies


@dataclass(frozen=True)
class Created:
    """A sweep as it was written: its spec with the hashes of its data, its plan, and whether it is new.

    data_lines: what its own datasets hold, for people.
    """

    spec: Spec
    plan: Plan
    new: bool
    data_lines: tuple[str, ...] = ()


def create_sweep(
    url: sqlalchemy.URL, name: str, spec: Spec, *, data_dir: Path | None = None, dry_run: bool = False
) -> Created:
    """Write a sweep with all its tasks and studies; nothing if the same one is there.

    The sweep row is the commit point: a create that is killed before it leaves nothing that counts, and
    the next one completes it. A study that was deleted in the dashboard is made again, empty.

    Args:
        data_dir: folder that may hold mnist.npz and other files.
        dry_run: resolve and plan only; nothing is written, and `new` is False.

    Raises:
        SpecError: the name, a dataset, a model or the sampler cannot be used, or another spec has this name.
        storage.errors.StorageError: the storage cannot be written.
    """
    check_name(name)
    spec = resolve(spec, data_dir=data_dir)
    _check_text(spec)
    known: list[RevisionRecord] = []
    with contextlib.suppress(Unreachable) if dry_run else contextlib.nullcontext():  # a plan needs no database
        known = find(url, name)
    if known:
        spec = by_its_rule(known, spec)
        refuse_another(name, known, spec)  # and its models are not checked again: only its studies are made anew
    else:
        freeze.check_users_models(spec, data_dir=data_dir)
    _check_sampler(spec.search.sampler)
    plan = make_plan(spec)
    lines = tuple(freeze.data_lines(spec, data_dir))
    return Created(spec, plan, new=not dry_run and _write(url, name, spec, plan), data_lines=lines)


def _check_text(spec: Spec) -> None:
    texts = {"note": spec.note} | {f"{role}.dataset": spec.role(role).dataset for role in spec.roles}
    for key, value in texts.items():
        if any("\ud800" <= char <= "\udfff" for char in value):  # how Python keeps bytes that are no UTF-8
            raise SpecError(f"{key}: got {value!r}; allowed: UTF-8 text, or no report could be written of it")


def _check_sampler(name: str) -> None:
    if name in ("qmc", "tpe", "random"):
        return  # always there
    from storage.studies.sampler import check_sampler  # as in `_write`

    try:
        check_sampler(code.importable(name))
    except (CodeError, SamplerUnusable) as error:
        raise SpecError(f"search.sampler: {error}") from None


def _write(url: sqlalchemy.URL, name: str, spec: Spec, plan: Plan) -> bool:
    from storage.studies.studies import (
        open_studies,  # Optuna takes a second: a spec that is refused does not pay for it
    )

    with create_lock(url), contextlib.closing(open_studies(url, create=True)) as studies:
        failpoint("create-locked")
        owner = prepare_tables(studies, name, plan.stages)
        failpoint("create-tables")
        there = queries.is_sweep(studies.engine, name)
        if there:
            sweep = queries.find_sweep(studies.engine, name)
            # Perhaps made since we looked: its studies are not completed by our spec then.
            refuse_another(name, queries.revisions(studies.engine, sweep.id), spec)
            owner = owner_of(studies.engine, sweep.id)
        make_studies(studies, owner, spec, plan.stages)
        if not there:
            plans.insert_sweep(
                studies.engine,
                name=name,
                identity=owner.identity,
                spec=spec.as_dict(),
                fingerprint=spec.fingerprint,
                provenance=provenance(),
                phases=plan.phases,
                tasks=plan.tasks,
            )
        ownership.free(studies.engine, owner.identity)
        return not there


def prepare_tables(studies: "Studies", name: str, stages: Sequence[str]) -> Owner:
    """Make our tables, and return the identity of a new sweep. Run it inside `create_lock`.

    Raises:
        SpecConflict: a database without our tables has a study of such a name; nothing was made in it.
    """
    new = Owner(name, uuid4().hex)
    if not exist(studies.engine):
        ownership.refuse_foreign(studies, new, [study_name(name, stage) for stage in stages], new=True)
    create_tables(studies.engine)
    return new


def make_studies(studies: "Studies", owner: Owner, spec: Spec, stages: Sequence[str]) -> None:
    """Make the studies of a sweep, or complete what an interrupted creation left. Run it inside `create_lock`.

    Raises:
        SpecConflict: another program's study has one of their names; nothing of it was changed.
    """
    names = [study_name(owner.sweep, stage) for stage in stages]
    there = ownership.reserve(studies, owner, names)
    try:
        for stage, name in zip(stages, names, strict=True):
            _make_study(studies, name, stage, owner, spec, complete=name in there)
            failpoint("study-made")
    except SpecConflict:  # another program's, made since we looked
        ownership.free(studies.engine, owner.identity)  # first: by its reservation that one would count as left by us
        for name in set(ownership.owned(studies, owner)) - there:
            studies.delete(name)
        raise
    failpoint("studies-made")


def _make_study(studies: "Studies", name: str, stage: str, owner: Owner, spec: Spec, *, complete: bool) -> None:
    measure = stage == "measure"
    studies.create(
        name,
        direction="minimize" if measure else "maximize",
        metric="latency_ms_p50" if measure else "val_accuracy",
        attrs={
            IDENTITY_ATTR: owner.identity,  # first: a study without it may be anybody's
            "sweep": owner.sweep,
            "stage": stage,
            "loss": formula(spec.training.distillation),
            "fingerprint": spec.fingerprint,
        },
        note=_note(owner.sweep, stage, spec),
        complete=complete,
    )


def requested(url: sqlalchemy.URL, name: str, request: presets.SpecRequest) -> Spec:
    """Return the spec that the user asks for.

    Where nothing but the name of a sweep is given, that is the sweep itself: its studies may have to be made again.

    Raises:
        SpecError: they do not make a spec.
    """
    known = find(url, check_name(name)) if request.is_empty else []
    return parse(known[-1].spec, origin=f"sweep {name}") if known else request.spec()


def find(url: sqlalchemy.URL, name: str) -> list[RevisionRecord]:
    """Return the plans of a sweep, the first one first; none where there is no such sweep, or no storage."""
    try:
        engine = open_engine(url, read_only=True)
    except NotAStorage:
        return []  # nothing there, or something that creating will refuse with the reason
    try:
        return queries.revisions(engine, queries.find_sweep(engine, name).id)
    except SweepNotFound:
        return []
    finally:
        engine.dispose()


def by_its_rule(known: list[RevisionRecord], spec: Spec) -> Spec:
    """Return the spec with the rule of the verdict that the sweep declared when it was made: it keeps that one."""
    rule = known[0].spec["transfer"].get("rule", 1)
    return spec if spec.transfer.rule == rule else override(spec, {"transfer.rule": rule})


def refuse_another(name: str, known: list[RevisionRecord], spec: Spec) -> None:
    """Raise AnotherSpec with the difference, unless the sweep that is there has this spec or began with it."""
    # An older version left out what a spec has by default today: the same values under another fingerprint.
    same = (parse(revision.spec, origin=f"sweep {name}").fingerprint for revision in known)
    if spec.fingerprint in {*(revision.fingerprint for revision in known), *same}:
        return
    changes = difference(known[0].spec, spec.as_dict())
    raise AnotherSpec(
        f"sweep {name} exists with another spec ({'; '.join(changes)}); choose another name, or go on with "
        f"the one that is there: {local().launch(name)}"
    )


def resolve(spec: Spec, *, data_dir: Path | None = None) -> Spec:
    """Return the spec with its datasets and models checked, and the hash of each dataset and file of code filled in.

    Each dataset that has no published hash is read once.

    Raises:
        SpecError: a dataset is too small or other than the spec says, or a model has no such name.
        kd.errors.DataError: a dataset cannot be read.
    """
    spec = freeze.with_images(spec, data_dir)
    changes: dict[str, Any] = {}
    for key in spec.roles:
        role = spec.role(key)
        changes |= freeze.frozen_data(key, role, freeze.contents(role, data_dir))
        changes |= _check_teacher(key, role, data_dir)
        _check_model(f"{key}.student", role.student)
    changes |= freeze.frozen_loss(spec, freeze.contents(spec.source, data_dir).classes)
    frozen = override(spec, changes | frozen_code(spec))
    freeze.check_names(frozen)
    return frozen


def _check_teacher(key: str, role: DatasetSpec, data_dir: Path | None) -> dict[str, str]:
    """Return what is frozen of a teacher: where its logits are, and their hash, if they are a file."""
    name = role.teacher
    if not name.startswith(("pretrained:", "baseline:", PREFIX)):
        _check_model(f"{key}.teacher", name)
        return {}
    try:
        file = parse_teacher(name).logits
        return _frozen_logits(key, role, Path(file).expanduser().absolute(), data_dir) if file else {}
    except (ModelError, DataError) as error:
        raise SpecError(f"{key}.teacher: got {name!r}; {error}") from None


def _frozen_logits(key: str, role: DatasetSpec, path: Path, data_dir: Path | None) -> dict[str, str]:
    if role.augment != "none":
        raise SpecError(
            f"{key}.augment: got {role.augment!r}; a file has logits of the images themselves: allowed: none"
        )
    dataset = datasets.load(role.dataset, train_images=role.images, data_dir=data_dir, size=role.size)
    places = datasets.positions(role.dataset, train_images=role.images, data_dir=data_dir, size=role.size)
    actual = digest(aligned(read(path), dataset, places))
    if role.logits_hash and role.logits_hash != actual:
        raise SpecError(
            f"{key}.logits_hash: got {role.logits_hash[:12]}, but {path} has logits {actual[:12]} for these images;"
            " remove the line to take them"
        )
    return {f"{key}.teacher": f"{PREFIX}{path}", f"{key}.logits_hash": actual}


def _check_model(key: str, name: str) -> None:
    # The full check needs TensorFlow and comes with the first task; a typing error is caught here, at once.
    if ":" in name:
        if not code.is_there(name):
            raise SpecError(f"{key}: got {name!r}; {missing(name)}")
    elif name not in MODEL_NAMES:
        near = get_close_matches(name, MODEL_NAMES, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise SpecError(
            f"{key}: got {name!r}{hint}; allowed: {', '.join(MODEL_NAMES)}, package.module:build or ./file.py:build"
        )


def _note(name: str, stage: str, spec: Spec) -> str:
    def line(role: DatasetSpec) -> str:
        return f"{role.shown} ({role.images} images, teacher {role.teacher}, student {role.student})"

    placed = f"Dataset: {line(spec.source)}"
    if spec.targets:
        targets = "; ".join(line(spec.role(role)) for role in spec.targets)
        placed = f"Source: {line(spec.source)}. Target: {targets}"
    text = (
        f"# {name}: stage {stage}\n\n"
        f"Loss: `{formula(spec.training.distillation)}`; alpha weighs the labels.\n\n"
        f"{placed}.\n\n"
        f"`{PORTABLE.best(name)}` gives the confirmed best; the best trial here is the luckiest single run.\n"
    )
    return f"**{spec.note}**\n\n{text}" if spec.note else text


def describe_plan(spec: Spec, plan: Plan, url: sqlalchemy.URL, data_lines: Sequence[str] = ()) -> list[str]:
    """Return six lines: what is searched, on which data, by which models, the work, the verdict, where it is stored.

    Args:
        data_lines: about the user's own datasets, to stand below that of the data.
    """
    searches = spec.outer.teachers * spec.outer.searches
    trials = f"{spec.search.trials} trials" + (f", {searches} searches" if searches > 1 else "")
    trainings = sum(plan.count(stage) for stage in STAGES if stage != "measure")
    minutes = number_of(_rounded(expected_core_seconds(spec) / 60), "core-minute")
    seeds = number_of(spec.transfer.seeds, "fresh seed")
    return [
        f"search   {_space(spec)}: {trials}{' on each dataset' if spec.targets else ''}",
        f"data     {' -> '.join(_images(spec.role(role)) for role in spec.roles)}",
        *data_lines,
        f"models   {_models(spec)}",
        f"work     {trainings:,} trainings, about {minutes}",
        f"verdict  {_resolution(spec)}"
        if spec.targets
        else f"answer   best against no distillation and the untuned defaults, on {seeds}",
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
    return [f"a worker elsewhere needs {need.what} {need.how}" for need in freeze.requirements(spec)]


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
    parts = []
    for name, bounds in search_space(spec).items():
        scale = "uniform " if isinstance(bounds, Range) and not bounds.log else "log-uniform "
        parts.append(f"{'T' if name == 'temperature' else name} {'' if isinstance(bounds, Choice) else scale}{bounds}")
    return ", ".join(parts)


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
    outer, further = spec.outer, spec.for_group("further")
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
