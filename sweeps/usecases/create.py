"""Create a sweep; describe its plan."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import sqlalchemy

from kd.errors import CodeError
from kd.tools import code
from storage.db.engine import create_lock, create_tables, exist, opened_engine
from storage.errors import NotAStorage, SamplerUnusable, SpecConflict, SweepNotFound, Unreachable
from storage.failpoints import failpoint
from storage.queue import plans
from storage.records import queries
from storage.studies import ownership
from storage.studies.space import SAMPLERS, Categorical, Range, Whole, study_name
from storage.tables import RevisionRecord
from storage.url import masked
from sweeps.errors import AnotherSpec, SpecError
from sweeps.extensions import CUSTOM, KD, attribute, require, trainer_extra, trainer_kind
from sweeps.hints import PORTABLE, local
from sweeps.plan.phases import STAGES, scores_alone
from sweeps.plan.plan import Plan, expected_core_seconds, make_plan, rounded
from sweeps.spec.model import ROLES, Spec, named, override, parse
from sweeps.spec.stored import check_name, difference, frozen_code
from sweeps.stats import estimates, verdict
from sweeps.terminal import number_of
from sweeps.trainers.protocol import label
from sweeps.workers.environment import provenance

if TYPE_CHECKING:  # Optuna takes a second to import
    from storage.studies.studies import Studies


@dataclass(frozen=True)
class Created:
    """A created sweep: its spec with the hashes of its data, its plan, and whether it is new.

    data_lines: description of the user's own datasets.
    """

    spec: Spec
    plan: Plan
    new: bool
    data_lines: tuple[str, ...] = ()


def create_sweep(
    url: sqlalchemy.URL, name: str, spec: Spec, *, data_dir: Path | None = None, dry_run: bool = False
) -> Created:
    """Write a sweep with all its tasks and studies, unless it exists.

    The sweep row is the commit point: a creation killed before it has no effect, and the next one completes it. A study
    that was deleted in the dashboard is recreated, empty.

    Args:
        dry_run: check and plan only; nothing is written, and `new` is False.

    Raises:
        SpecError: the name, a dataset, a model or the sampler cannot be used, or another spec has this name.
        storage.errors.StorageError: the storage cannot be written.
    """
    require("train", "create")
    check_name(name)
    spec = freeze(spec, data_dir=data_dir)
    _check_text(spec)
    known: list[RevisionRecord] = []
    with contextlib.suppress(Unreachable) if dry_run else contextlib.nullcontext():  # a plan needs no database
        known = find(url, name)
    if known:
        spec = by_its_rule(known, spec)
        refuse_another(name, known, spec)  # models need no check: only missing studies are recreated
    else:
        spec.kind.try_code(spec, data_dir)
    _check_sampler(spec.search.sampler)
    plan = make_plan(spec)
    lines = tuple(spec.kind.data_lines(spec, data_dir))
    return Created(spec, plan, new=not dry_run and _write(url, name, spec, plan), data_lines=lines)


def _check_text(spec: Spec) -> None:
    texts = {"note": spec.note} | {f"{role}.dataset": spec.role(role).dataset for role in spec.roles}
    for key, value in texts.items():
        if any("\ud800" <= char <= "\udfff" for char in value):  # Python's form of bytes that are not UTF-8
            raise SpecError(f"{key}: got {value!r}; allowed: UTF-8 text")


def _check_sampler(name: str) -> None:
    if name in SAMPLERS and not SAMPLERS[name].needs:
        return  # always available
    from storage.studies.sampler import check_sampler  # as in `_write`

    try:
        check_sampler(code.importable(name))
    except (CodeError, SamplerUnusable) as error:
        raise SpecError(f"search.sampler: {error}") from None


def _write(url: sqlalchemy.URL, name: str, spec: Spec, plan: Plan) -> bool:
    from storage.studies.studies import open_studies  # Optuna takes a second, which a refused spec need not wait

    with create_lock(url), contextlib.closing(open_studies(url, create=True)) as studies:
        failpoint("create-locked")
        owner = prepare_tables(studies, name, plan.stages)
        failpoint("create-tables")
        exists = queries.is_sweep(studies.engine, name)
        if exists:
            sweep = queries.find_sweep(studies.engine, name)
            # It may have been created meanwhile, with another spec.
            refuse_another(name, queries.revisions(studies.engine, sweep.id), spec)
            owner = ownership.owner_of(studies.engine, sweep.id)
        make_studies(studies, owner, spec, plan.stages)
        if not exists:
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
        return not exists


def prepare_tables(studies: "Studies", name: str, stages: Sequence[str]) -> ownership.Owner:
    """Create our tables, and return the owner of a new sweep's studies. Run it inside `create_lock`.

    Raise SpecConflict, before any change, if a database without our tables has a study of such a name.
    """
    new = ownership.Owner(name, uuid4().hex)
    if not exist(studies.engine):
        ownership.refuse_foreign(studies, new, [study_name(name, stage) for stage in stages])
    create_tables(studies.engine)
    return new


def make_studies(studies: "Studies", owner: ownership.Owner, spec: Spec, stages: Sequence[str]) -> None:
    """Create the studies of a sweep, or complete an interrupted creation. Run it inside `create_lock`.

    Raise SpecConflict if another program's study has one of their names; that study is unchanged.
    """
    names = [study_name(owner.sweep, stage) for stage in stages]
    existing = ownership.reserve(studies, owner, names)
    try:
        for stage, name in zip(stages, names, strict=True):
            _make_study(studies, name, stage, owner, spec, complete=name in existing)
            failpoint("study-made")
    except SpecConflict:  # created by another program meanwhile
        ownership.free(studies.engine, owner.identity)  # first: a reserved name would make that study look like ours
        for name in set(ownership.owned(studies, owner)) - existing:
            studies.delete(name)
        raise
    failpoint("studies-made")


def _make_study(
    studies: "Studies", name: str, stage: str, owner: ownership.Owner, spec: Spec, *, complete: bool
) -> None:
    formula, times = spec.kind.formula(spec), stage == "measure" and not scores_alone(spec)
    metric = spec.score.key("test" if stage == "measure" else "val")
    studies.create(
        name,
        direction="minimize" if times else "maximize",
        metric="latency_ms_p50" if times else metric,
        attrs={
            ownership.IDENTITY_ATTR: owner.identity,  # first: without it a study has no known owner
            "sweep": owner.sweep,
            "stage": stage,
            **({"loss": formula} if formula else {}),
            "fingerprint": spec.fingerprint,
        },
        note=_note(owner.sweep, stage, spec),
        complete=complete,
    )


@dataclass(frozen=True)
class SpecRequest:
    """The options of `run` and `create`, and arguments of `Sweep.create`, that determine a spec.

    base: a preset, or the spec of a file; None: preset quick. changes: dotted keys, as in `sweeps.spec.model.override`.
    source, targets: datasets. dataset: instead, a single one. teacher, student, epochs: of every dataset for which
    `changes` name no other. size: height and width, of every folder of images. train, command: a user's own training,
    with trainer "custom". space: its search space, by name, as in a spec. trials, seed: keys with a shorter name.
    """

    base: Spec | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    targets: Sequence[str] = ()
    teacher: str | None = None
    student: str | None = None
    dataset: str | None = None
    train: str | None = None
    command: str | None = None
    space: Mapping[str, Any] = field(default_factory=dict)
    trials: int | None = None
    seed: int | None = None
    epochs: int | None = None
    size: Sequence[int] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no option was given."""
        return all(value is None or value in ((), [], {}) for value in vars(self).values())

    @property
    def keys(self) -> dict[str, Any]:
        """The keys of the spec to change, trials and seed included."""
        short = {"search.trials": self.trials, "seed": self.seed}
        return {**self.changes, **{key: value for key, value in short.items() if value is not None}}

    @property
    def trainer(self) -> str:
        """The name of the trainer."""
        if self.train or self.command or self.space:
            return CUSTOM
        return KD if self.base is None else self.base.trainer.kind

    def refuse(self, *options: str) -> None:
        """Raise SpecError if one of these options is given, which the trainer does not have."""
        for option in options:
            if value := getattr(self, option):
                typed = "--target" if option == "targets" else f"--{option}"
                raise SpecError(f"{typed}: got {value!r}; trainer {self.trainer} has no such setting, so leave it out")

    def spec(self) -> Spec:
        """Return the spec; raise SpecError if the options make none."""
        if self.dataset and (self.source or self.targets):
            other = "--source" if self.source else "--target"
            raise SpecError(f"--dataset is one dataset alone, without a target; leave out --dataset or {other}")
        if len(self.targets) > len(ROLES) - 1:
            raise SpecError(f"--target: got {len(self.targets)} of them; allowed: at most {len(ROLES) - 1}")
        spec: Spec = trainer_kind(self.trainer).requested(self)
        return override(spec, self.keys)


def preset(name: str) -> Spec:
    presets: Mapping[str, Spec] = trainer_kind(KD).presets
    return named(presets, name)


def started_from(train: str) -> Spec:
    """Return a first spec for a user's training function; raise SpecError if it cannot be read."""
    spec: Spec = attribute("sweeps.custom.kind:started_from")(train)
    return spec


def requested(url: sqlalchemy.URL, name: str, request: SpecRequest, *, command: str = "create") -> Spec:
    """Return the spec that the options make; raise SpecError if they make none.

    Without options, return the spec of the existing sweep, whose studies may need recreating. command: "create", or
    "run", which trains as well; MissingExtra: its packages are not installed.
    """
    known = find(url, check_name(name)) if request.is_empty else []
    if known:
        return parse(known[-1].spec, origin=f"sweep {name}")
    require("train" if command == "create" else trainer_extra(request.trainer), command)
    return request.spec()


def find(url: sqlalchemy.URL, name: str) -> list[RevisionRecord]:
    """Return the revisions of a sweep, oldest first; none if the sweep or its storage does not exist."""
    try:
        with opened_engine(url) as engine:
            return queries.revisions(engine, queries.find_sweep(engine, name).id)
    except (NotAStorage, SweepNotFound):  # a file that is not a storage is reported by creating
        return []


def freeze(spec: Spec, *, data_dir: Path | None = None) -> Spec:
    """Return the spec in stored form: data and names checked, and hashes of data and code filled in.

    Raise SpecError or kd.errors.KdError, in one line, if it cannot be run.
    """
    frozen: Spec = spec.kind.freeze(spec, data_dir)
    return override(frozen, frozen_code(frozen))


def by_its_rule(known: list[RevisionRecord], spec: Spec) -> Spec:
    """Return the spec with the rule of the verdict that the sweep declared when it was created."""
    rule = known[0].spec["transfer"].get("rule", 1)
    return spec if spec.transfer.rule == rule else override(spec, {"transfer.rule": rule, "transfer.margin_share": 0.0})


def refuse_another(name: str, known: list[RevisionRecord], spec: Spec) -> None:
    """Raise AnotherSpec with the difference, unless a revision of the existing sweep has this spec."""
    stored = (revision.fingerprint for revision in known)
    # An older version omitted today's defaults, so the same values have another fingerprint.
    parsed = (parse(revision.spec, origin=f"sweep {name}").fingerprint for revision in known)
    if spec.fingerprint in itertools.chain(stored, parsed):
        return
    changes = difference(parse(known[0].spec, origin=f"sweep {name}").as_dict(), spec.as_dict())
    raise AnotherSpec(
        f"sweep {name} exists with another spec ({'; '.join(changes)}); choose another name, or resume the existing"
        f" one: {local().line('launch', name)}"
    )


def _note(name: str, stage: str, spec: Spec) -> str:
    described, score = [spec.kind.describe(spec, role) for role in spec.roles], spec.score
    paragraphs = [
        *([f"**{spec.note}**"] if spec.note else []),
        f"# {name}: stage {stage}",
        *(f"{note[0].upper()}{note[1:]}." for note in spec.kind.report().notes(spec)),
        f"Source: {described[0]}. Target: {'; '.join(described[1:])}." if spec.targets else f"Dataset: {described[0]}.",
        *([f"Values are minus the {score.name}, so that the highest is the best."] if score.minimize else []),
        f"`{PORTABLE.line('best', name)}` gives the confirmed best; the best trial here is the luckiest single run.\n",
    ]
    return "\n\n".join(paragraphs)


def describe_plan(spec: Spec, plan: Plan, url: sqlalchemy.URL, data_lines: Sequence[str] = ()) -> list[str]:
    """Return six lines: the search space, the data, the models, the work, the verdict, the storage.

    data_lines: about the user's own datasets, to follow the line of the data.
    """
    searches = spec.outer.teachers * spec.outer.searches
    trials = f"{spec.search.trials} trials" + (f", {searches} searches" if searches > 1 else "")
    trainings = sum(plan.count(stage) for stage in STAGES if stage != "measure")
    seconds = expected_core_seconds(spec)
    about = f", about {number_of(rounded(seconds / 60), 'core-minute')}" if seconds else ""  # else unknown
    seeds, summary = number_of(spec.transfer.seeds, "fresh seed"), spec.kind.summary(spec)
    return [
        f"search   {_space(spec)}: {trials}{' on each dataset' if spec.targets else ''}",
        *(f"{title:<8} {text}" for title, text in summary.items() if title == "data"),
        *data_lines,
        *(f"{title:<8} {text}" for title, text in summary.items() if title != "data"),
        f"work     {trainings:,} trainings{about}",
        f"answer   {_choice(spec)}"
        if spec.transfer.margin_share or (spec.transfer.advises and not spec.targets)
        else f"verdict  {_resolution(spec)}"
        if spec.targets
        else f"answer   best against {spec.kind.features.without} and the untuned defaults, on {seeds}",
        f"storage  {masked(url)}",
    ]


def describe_details(spec: Spec, plan: Plan) -> list[str]:
    """Return the settings, phases and tasks: what `create -v` adds."""
    counts = ", ".join(f"{stage} {plan.count(stage)}" for stage in STAGES)
    inside = Counter(task.phase for task in plan.tasks)
    return [
        *spec.kind.details(spec),
        f"space    {_ranges(spec)}",
        *([f"outer    {_repeats(spec)}"] if spec.outer.teachers * spec.outer.searches > 1 else []),
        f"tasks    {len(plan.tasks)}: {counts}",
        *([f"power    {_power(spec)}"] if spec.targets else []),
        *(f"phase    {phase.name}: {number_of(inside[phase.name], 'task')}" for phase in plan.phases),
        *(f"{task.key}  {task.payload}" for task in plan.tasks),
    ]


def needed_elsewhere(spec: Spec) -> list[str]:
    return [f"a worker elsewhere needs {need.what} {need.how}" for need in spec.kind.needs(spec)]


def _space(spec: Spec) -> str:
    """Return the search space in words: "T 1 to 20, alpha 0 to 1, epochs 5 to 20, batch_size 32 | 64"."""
    space, order = spec.kind.space(spec), list(getattr(spec.search, "space", ()))  # further ones in the spec's order
    names = sorted(space, key=lambda name: order.index(name) if name in order else -1)
    return ", ".join(f"{label(name)} {_range(space[name])}" for name in names)


def _range(bounds: Range | Whole | Categorical) -> str:
    if isinstance(bounds, Categorical):
        return str(bounds)
    whole = " in whole numbers" if isinstance(bounds, Whole) and not bounds.log else ""
    return f"{bounds.low:g}" + (f" to {bounds.high:g}" if bounds.high > bounds.low else "") + whole


def _ranges(spec: Spec) -> str:
    parts = []
    for name, bounds in spec.kind.space(spec).items():
        scale = "" if isinstance(bounds, Categorical) else "log-uniform " if bounds.log else "uniform "
        parts.append(f"{label(name)} {scale}{bounds}")
    return ", ".join(parts)


def _repeats(spec: Spec) -> str:
    outer, further = spec.outer, spec.further
    teachers = f"{outer.teachers} teachers on each dataset, " if outer.teachers > 1 else ""
    if outer.searches == 1:
        return f"{teachers}one search with each"
    return (
        f"{teachers}{outer.searches} searches: the first of {spec.search.trials} trials and"
        f" {spec.confirm_trainings} to confirm, further ones of {further.search.trials} and"
        f" {further.confirm_trainings}, compared on {further.transfer.seeds} seeds"
    )


def _units(spec: Spec) -> tuple[int, str, tuple[float, float, str] | None]:
    """Return the number of units of the verdict, their name, and the measured sd between them, if any."""
    searches = spec.outer.searches >= verdict.FEWEST_SEARCHES
    number, unit = (spec.outer.searches, "searches") if searches else (spec.transfer.seeds, "seeds")
    return number, unit, spec.kind.seed_sd(spec, searches=searches)


def _choice(spec: Spec) -> str:
    """Return what the answer will recommend, in a line."""
    searches, least = spec.outer.searches, verdict.FEWEST_SEARCHES
    if searches < least:
        return f"no recommendation: outer.searches is {searches}, and it takes {least} or more"
    role = spec.roles[min(1, len(spec.roles) - 1)]
    if spec.transfer.margin_share and spec.counted_from(role) in spec.arms(role):
        kept = f"{estimates.percent(1 - spec.transfer.margin_share):g} % of the gain"
        return f"the cheapest choice that keeps {kept}, tested over {searches} searches"
    lost = spec.score.amount(f"{spec.transfer.margin:g}")
    return f"the cheapest choice that loses less than {lost}, tested over {searches} searches"


def _resolution(spec: Spec) -> str:
    """Return the resolution of the plan, in a line: the detectable distances from the margin, by the sd's range."""
    number, unit, sds = _units(spec)
    margin = f"margin {spec.score.amount(f'{spec.transfer.margin:g}')}"
    if number < 2:
        return f"{margin}; 1 seed, but a verdict needs 2"
    if sds is None:
        return f"{margin}; the smallest difference that {number} {unit} detect on {_short(spec)} is unknown"
    low, high = (estimates.resolvable(sd, number, level=spec.transfer.level(1)) for sd in sds[:2])
    return f"{margin}; {number} {unit} detect a distance of {low:.2g} to {high:.2g} from it (80 % power)"


def _power(spec: Spec) -> str:
    _, unit, sds = _units(spec)
    first = f"planned evaluation 1 of {spec.transfer.looks} on the test set, {spec.tested_at(1)}"
    if spec.transfer.margin_share:
        return first
    if sds is None:
        return f"{first}; the sd between {unit} on {_short(spec)} is unknown"
    return f"{first}; sd between {unit} {sds[0]:g} to {spec.score.amount(f'{sds[1]:g}')} ({sds[2]})"


def _short(spec: Spec) -> str:
    target = spec.role("target")
    return target.name or Path(target.dataset).stem
