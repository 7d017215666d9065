"""`Spec`, the definition of a sweep: its tables, its roles and arms; parse and override.

A spec is TOML for users (`sweeps.spec.stored`), a plain dict in the database, and these frozen models in between. It is
stored with the sweep, so a worker needs only the storage URL and the sweep's name.
"""

import copy
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias, TypeVar, cast, get_args

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from kd.errors import CodeError
from sweeps.errors import SpecError
from sweeps.extensions import CUSTOM, KD, trainer_kind
from sweeps.hints import local
from sweeps.spec import tables
from sweeps.spec.tables import FIRST, Group
from sweeps.stats.advice import StrategyName, level_of
from sweeps.stats.estimates import percent
from sweeps.stats.verdict import RULE
from sweeps.terminal import joined
from sweeps.trainers.arms import Arm
from sweeps.trainers.protocol import Point, TrainerKind
from sweeps.trainers.score import Score

Role: TypeAlias = Literal["source", "target", "target2", "target3"]
ROLES: tuple[Role, ...] = get_args(Role)

SMOKE_TEST = "Smoke test: checks the installation; its numbers are no evidence."
"""What every surface says of a sweep of preset tiny."""

Name = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")  # a leading '-' would make it an option


class TrainerTable(tables.SpecModel):
    """The trainer: "kd" (the default), "custom" for your own training, or your own trainer."""

    kind: str = Field(default=KD, description="kd, custom, package.module:KIND or ./file.py:KIND")


class Spec(tables.SpecModel):
    """The tables of every trainer; a trainer's own class adds further ones."""

    # (table, key) that specs of the first versions lack: stored only if used, or their hash would change.
    LATER: ClassVar[tuple[tuple[str, str], ...]] = (
        *(("transfer", "rule"), ("transfer", "margin_share"), ("limits", "recipes")),
        *((role, "name") for role in ROLES),
    )
    UNUSED: ClassVar[tuple[Any, ...]] = (1,)  # values of those that count as unused, besides empty ones

    preset: str = Field(default="", description="where this spec started from")
    seed: int = Field(default=0, ge=0, lt=2**63, strict=True)
    note: str = Field(default="", description="shown in the report and in the dashboard")
    trainer: TrainerTable = TrainerTable()
    source: tables.RoleSpec
    target: tables.RoleSpec | None = None
    target2: tables.RoleSpec | None = None
    target3: tables.RoleSpec | None = None
    search: tables.Search
    confirm: tables.Confirm
    transfer: tables.Transfer
    outer: tables.Repeats = tables.Repeats()
    lease: tables.Lease = tables.Lease()
    limits: tables.Limits = tables.Limits()
    retry: tables.Retry = tables.Retry()
    code: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(
        default_factory=dict, description="SHA-256 of each file of your own code; filled in and checked"
    )

    _stored: dict[str, Any] | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _whole(self) -> "Spec":
        names = [self.role(name).dataset for name in self.roles]
        if len(set(names)) < len(names):
            keys = joined(f"{name}.dataset" for name in self.roles)
            raise ValueError(f"{keys} must differ: transfer is between two datasets")
        if (self.target3 and not self.target2) or (self.target2 and not self.target):
            raise ValueError(f"{self.roles[-1]} without {ROLES[len(self.roles) - 1]}: number the targets without a gap")
        if self.transfer.margin_share and not self.kind.features.untreated:
            unit = self.score.difference or f"the unit of the {self.score.name}"
            raise ValueError(
                f"transfer.margin_share: got {self.transfer.margin_share:g}, a share of the gain over an untreated arm,"
                f" and trainer {self.trainer.kind} has none; leave it out, and give transfer.margin in {unit}"
            )
        needed = [arm for arm in ("best", self.untreated_arm("source")) if arm]
        if not self.targets and not set(needed) <= set(self.arms("source")):
            raise ValueError(
                f"transfer.source_arms has {', '.join(self.transfer.source_arms)}; with one dataset the answer compares"
                f" {joined(needed)}, so it must have {'both' if len(needed) > 1 else 'it'}"
            )
        for own in (self, self.further):
            if own.confirm.top > own.search.trials:
                rounds = "outer.rounds" if own is not self and self.outer.rounds else "confirm.rounds"
                trials = "outer.trials" if own is not self and self.outer.trials else "search.trials"
                raise ValueError(
                    f"{rounds} begins with {own.confirm.top} points, more than {trials} ({own.search.trials})"
                )
        return self

    @property
    def kind(self) -> TrainerKind:
        """Its trainer; a subclass may derive it from its tables."""
        return trainer_kind(self.trainer.kind)

    @property
    def score(self) -> Score:
        """Its trainer's score, with the unit for display."""
        return self.kind.features.score

    def for_group(self, group: Group) -> Self:
        """Return the spec of a group's searches and comparison."""
        return self if group == FIRST else self.further

    @property
    def further(self) -> Self:
        """The spec of every group except the first, which may have cheaper searches."""
        search, confirm, transfer, outer = self.search, self.confirm, self.transfer, self.outer
        return self.model_copy(
            update={
                "search": search.model_copy(update={"trials": outer.trials or search.trials}),
                "confirm": confirm.model_copy(update={"rounds": outer.rounds or confirm.rounds}),
                "transfer": transfer.model_copy(update={"seeds": outer.seeds or transfer.seeds, "other_seeds": 0}),
            }
        )

    @property
    def groups(self) -> tuple[Group, ...]:
        teachers, searches = range(self.outer.teachers), range(self.outer.searches)
        return tuple(Group(teacher, search) for teacher in teachers for search in searches)

    @property
    def is_smoke_test(self) -> bool:
        """Whether the sweep only checks an installation: it is too small for its numbers to mean anything."""
        return self.preset == "tiny"

    @property
    def searches(self) -> tuple[Group, ...]:
        """The groups of the first teacher, in order: the subject of the verdict and the surfaces."""
        return tuple(group for group in self.groups if group.prepared == 0)

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles with a dataset: "source", and perhaps "target", "target2" and "target3"."""
        return tuple(name for name in ROLES if getattr(self, name) is not None)

    @property
    def targets(self) -> tuple[Role, ...]:
        """The roles transferred to, none with one dataset; the first one's verdict is the primary question."""
        return self.roles[1:]

    def role(self, name: str) -> tables.RoleSpec:
        part: tables.RoleSpec = getattr(self, name)
        return part

    def arms(self, role: str, group: Group = FIRST) -> tuple[str, ...]:
        """Return the arms compared on the dataset of a role; in a further group only those that its answer needs.

        By rule 3 these are every strategy and the arm that gains are counted from, with the seeds of every search.
        """
        table = self.kind.arms
        named = self.transfer.source_arms if role == "source" else self.transfer.target_arms
        standard = sorted((arm for arm in table.values() if arm.standard and arm.is_on(role)), key=lambda a: a.standard)
        arms = named or tuple(arm.key for arm in standard)
        if group != FIRST and not self.transfer.advises:
            return tuple(arm for arm in arms if table[arm].repeats) if role != "source" else ()
        if "best" in arms:
            arms = (*arms, *(arm.key for arm in table.values() if arm.added is not None and arm.added(self)))
        if group == FIRST:
            return arms
        if role == "source" and self.targets:
            return ()
        plain = self.kind.features.untreated
        repeated = {*self.kind.features.defaults, self.untreated_arm(role)}
        return tuple(arm for arm in arms if arm in repeated or (table[arm].repeats and arm != plain))

    def arm(self, key: str) -> Arm:
        return self.kind.arms[key]

    def untreated_arm(self, role: str) -> str:
        """Return the arm that gains are counted from on the dataset of a role; "" if the trainer has none."""
        return self.kind.untreated(self, role)

    @property
    def raced(self) -> str:
        """The untuned arm whose point every confirm trains as well; "" if none, or before rule 3."""
        return self.kind.raced(self) if self.transfer.advises else ""

    def tested_at(self, look: int) -> str:
        """Return the level of the tests at a look, counted from 1, in words; by rule 3, of each strategy."""
        if not self.transfer.advises:
            return f"at the {percent(self.transfer.level(look)):g} % level"
        plan = {"looks": self.transfer.looks, "look": look, "targets": len(self.targets) or 1}
        tested: list[tuple[StrategyName, str]] = [("default", "an untuned default")]
        if self.targets:
            tested.append(("elsewhere", "values from elsewhere"))
        levels = [f"{name} at {percent(level_of(key, **plan)):.3g} %" for key, name in tested]
        return f"which tests {joined(levels)}"

    @property
    def confirm_trainings(self) -> int:
        return self.confirm.trainings + (sum(seeds for _, seeds in self.confirm.rounds) if self.raced else 0)

    def counted_from(self, role: str) -> str:
        """Return the arm that the verdict counts gains from: before rule 3 the same for all datasets."""
        return self.untreated_arm(role) if self.transfer.advises else self.kind.features.untreated

    def recipe_arm(self, role: str) -> str:
        """Return the arm on the dataset of a role that stage recipes chooses among candidates; "": none."""
        return next((arm for arm in self.arms(role) if self.arm(arm).candidates is not None), "")

    def candidates(self, role: str) -> Sequence[Point]:
        """Return the candidates of that arm, if any."""
        rule = self.arm(arm).candidates if (arm := self.recipe_arm(role)) else None
        return rule(self, role) if rule is not None else ()

    def controls(self, role: str) -> tuple[str, ...]:
        """Return the control arms, which test other explanations of a gain."""
        return tuple(arm for arm in self.arms(role) if self.arm(arm).control)

    def seeds_of(self, role: str, arm: str) -> int:
        """Return the number of seeds of an arm in the first group; without a target, all arms have the same."""
        return self.transfer.seeds_of(role, arm) if self.targets else self.transfer.seeds

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as stored in the database, without unused keys that older sweeps lack."""
        if self._stored is not None:
            return copy.deepcopy(self._stored)
        dumped = self.model_dump(mode="json")
        values = {key: dumped[key] for key in self.names()}
        if not self.code:
            del values["code"]
        if self.trainer.kind == KD:
            values.pop("trainer", None)
        for table, key in self.LATER:
            part = values[table] or {}
            if key in part and (not part[key] or part[key] in self.UNUSED):
                del part[key]
        return values

    def as_called(self) -> "Spec":
        """Return the spec with the display names of its datasets; plain values and fingerprint stay the same."""
        named = [role for role in self.roles if self.role(role).name]
        if not named:
            return self
        changes: dict[str, Any] = {
            role: self.role(role).model_copy(update={"dataset": self.role(role).name}) for role in named
        }
        called = self.model_copy(update=changes)
        called._stored = self.as_dict()
        return called

    @property
    def fingerprint(self) -> str:
        """sha256 of the canonical JSON; two sweeps with the same one are the same experiment."""
        return fingerprint(self.as_dict())


SpecT = TypeVar("SpecT", bound=Spec)


def fingerprint(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain values as canonical JSON, 64 hex digits."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def parse(values: Mapping[str, Any], *, origin: str = "", new: bool = False) -> Spec:
    """Return the spec of plain values; raise a SpecError of one line that names the first wrong key.

    new: for a sweep to be created: today's rule and margin are the defaults. A stored spec without a rule has rule 1.
    """
    place = f"{origin}: " if origin else ""
    trainer = values.get("trainer") if isinstance(values, Mapping) else None  # a file or row may be anything
    name = trainer.get("kind", KD) if isinstance(trainer, Mapping) else KD
    try:
        kind = trainer_kind(str(name))
    except (CodeError, ValueError) as error:
        raise SpecError(f"{place}trainer.kind: got {name!r}; {error}") from None
    model = kind.spec
    transfer = values.get("transfer") if new else None
    if isinstance(transfer, Mapping):
        values = {**values, "transfer": {"rule": RULE, "margin_share": 0.0, **transfer}}
    try:
        spec: Spec = model.model_validate(values)
    except ValidationError as error:
        example = local().line("spec", "--train ./train.py:train" if name == CUSTOM else "quick")
        raise SpecError(f"{place}{tables.first_problem(error, model)} (a complete spec: {example})") from None
    return _with_margin(spec, transfer, place) if isinstance(transfer, Mapping) else spec


def _with_margin(spec: SpecT, transfer: Mapping[str, Any], place: str) -> SpecT:
    """Return a new spec with the default margin of today's rule, if it declares none.

    That is a share of the gain; one point if the trainer has no gain. Raise SpecError if its score has no points.
    """
    if "margin" in transfer or "margin_share" in transfer or spec.transfer.rule != RULE:
        return spec
    if not spec.kind.features.untreated:
        if (score := spec.score).difference == "points":
            return spec
        raise SpecError(
            f"{place}transfer.margin: missing, and trainer {spec.trainer.kind} has no untreated arm that it could be a"
            f" share of; give the {score.name}{f' in {score.difference}' if score.difference else ''} that may be lost"
        )
    share = {"margin_share": tables.MARGIN_SHARE}
    return spec.model_copy(update={"transfer": spec.transfer.model_copy(update=share)})


def named(presets: Mapping[str, SpecT], name: str) -> SpecT:
    """Return the preset of that name; SpecError lists those that exist."""
    if name in presets:
        return presets[name]
    hint = tables.meant(name, presets).strip()
    raise SpecError(f"no preset {name!r}; presets: {', '.join(presets)}{f'; {hint}' if hint else ''}")


def override(spec: SpecT, changes: Mapping[str, Any]) -> SpecT:
    """Return the spec with some dotted keys changed, for example {"search.trials": 100}.

    A margin in points replaces the share, as does an older rule, which has none.
    """
    return cast(SpecT, parse(changed(spec.as_dict(), changes)))


def changed(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change the plain values of a spec in the same way; return them."""
    if "transfer.margin" in changes or changes.get("transfer.rule", RULE) != RULE:
        changes = {"transfer.margin_share": 0.0, **changes}
    for dotted, value in changes.items():
        *groups, key = dotted.split(".")
        inner = values
        for group in groups:
            if inner.get(group) is None:  # a new target
                inner[group] = {}
            inner = inner[group]
            if not isinstance(inner, dict):
                raise SpecError(f"unknown key {dotted!r}; see: {local().line('spec', 'quick')}")
        inner[key] = value
    return values
