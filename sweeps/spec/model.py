"""`Spec`, the whole of a sweep: its tables, its roles and arms; parse and override.

A spec is TOML for people (`sweeps.spec.stored`), a plain dict in the database, and these frozen models in between.
It is stored with the sweep, so a worker needs only the storage URL and the sweep's name.
"""

import copy
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from sweeps.distill.arms import AUTOKERAS_ARM, DEFAULT_PAPER, SCRATCH_TUNED
from sweeps.distill.spec import Baselines, DatasetSpec, Training, check_parameters, known
from sweeps.errors import SpecError
from sweeps.hints import local
from sweeps.spec import tables
from sweeps.stats.verdict import RULE

Role: TypeAlias = Literal["source", "target", "target2", "target3"]
ROLES: tuple[Role, ...] = get_args(Role)

# (table, key) of what specs of the first versions do not have: stored only where it is used.
_LATER = (("search", "space"), ("training", "distillation"), ("training", "loss_parameters"), ("transfer", "rule"))
_UNUSED = ("kd", 1)  # beside what is empty

_WRITTEN = ("mnist", "digits", "digits-rgb")

Name = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")  # one that begins with '-' is an option to every command


class Spec(tables.SpecModel):
    """The whole sweep."""

    preset: str = Field(default="", description="where this spec started from")
    seed: int = Field(default=0, ge=0, lt=2**63, strict=True)
    note: str = Field(default="", description="shown in the report and in the dashboard")
    source: DatasetSpec
    target: DatasetSpec | None = None
    target2: DatasetSpec | None = None
    target3: DatasetSpec | None = None
    training: Training = Training()
    search: tables.Search
    confirm: tables.Confirm
    transfer: tables.Transfer
    outer: tables.Repeats = tables.Repeats()
    baselines: Baselines = Baselines()
    lease: tables.Lease = tables.Lease()
    limits: tables.Limits = tables.Limits()
    retry: tables.Retry = tables.Retry()
    code: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(
        default_factory=dict,
        description="sha256 of each file of one's own code; filled in and checked likewise",
    )

    _stored: dict[str, Any] | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _whole(self) -> "Spec":
        names = [self.role(name).dataset for name in self.roles]
        if len(set(names)) < len(names):
            keys = " and ".join(f"{name}.dataset" for name in self.roles)
            raise ValueError(f"{keys} must differ: transfer is between two datasets")
        for part in map(self.role, self.roles):
            if part.augment == "flip-crop" and part.dataset in _WRITTEN:
                raise ValueError(
                    f"{part.dataset}: augment flip-crop mirrors the images, and a mirrored digit is no digit"
                )
        if (self.target3 and not self.target2) or (self.target2 and not self.target):
            raise ValueError(f"{self.roles[-1]} without {ROLES[len(self.roles) - 1]}: number the targets without a gap")
        if not self.targets and not {"best", "scratch"} <= set(self.transfer.source_arms):
            raise ValueError(
                f"transfer.source_arms has {', '.join(self.transfer.source_arms)}; with one dataset the answer compares"
                " best and scratch, so it must have both"
            )
        for group in ("", "further"):
            own = self.for_group(group)
            if own.confirm.top > own.search.trials:
                rounds = "outer.rounds" if group and self.outer.rounds else "confirm.rounds"
                trials = "outer.trials" if group and self.outer.trials else "search.trials"
                raise ValueError(
                    f"{rounds} begins with {own.confirm.top} points, more than {trials} ({own.search.trials})"
                )
        if self.targets and AUTOKERAS_ARM in self.transfer.target_arms and AUTOKERAS_ARM not in self.baselines.methods:
            raise ValueError(f"transfer.target_arms has {AUTOKERAS_ARM}, so baselines.methods must have it, too")
        loss = self.training.distillation
        check_parameters(
            loss, "search.space", [name for name in self.search.space if name not in tables.TRAINING_PARAMS]
        )
        check_parameters(loss, "training.loss_parameters", list(self.training.loss_parameters))
        if "epochs" in self.search.space and "scratch-same-cost" in {
            arm for role in self.roles for arm in self.arms(role)
        }:
            raise ValueError(
                "search.space has epochs, so the arms cannot have scratch-same-cost: what a search costs varies"
            )
        for part in map(self.role, self.roles):
            largest = max(self.training.batch_size, *self.search.space.get("batch_size", (1,)))
            if 0 < part.images < largest:
                raise ValueError(f"{part.dataset}: images ({part.images}) is less than one batch ({largest})")
        return self

    def for_group(self, group: str) -> "Spec":
        """Return the spec by which a group is searched and compared: a further one may have cheaper searches."""
        if not group:
            return self
        search, confirm, transfer, outer = self.search, self.confirm, self.transfer, self.outer
        return self.model_copy(
            update={
                "search": search.model_copy(update={"trials": outer.trials or search.trials}),
                "confirm": confirm.model_copy(update={"rounds": outer.rounds or confirm.rounds}),
                "transfer": transfer.model_copy(update={"seeds": outer.seeds or transfer.seeds, "other_seeds": 0}),
            }
        )

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that have a dataset: "source", "target" and perhaps "target2" and "target3"."""
        return tuple(name for name in ROLES if getattr(self, name) is not None)

    @property
    def targets(self) -> tuple[Role, ...]:
        """The roles that are transferred to, none with one dataset; the first one's verdict is the primary question."""
        return self.roles[1:]

    def role(self, name: str) -> DatasetSpec:
        """The dataset of a role of `roles`, and what is trained on it."""
        part: DatasetSpec = getattr(self, name)
        return part

    def arms(self, role: str, group: str = "") -> tuple[str, ...]:
        """Return the arms compared on the dataset of a role; in a further group those that its regret is made of.

        Another loss than kd is compared with the point of its paper, too. Where a search varies the training itself,
        one more arm shows what that alone gains: labels only, trained as best.
        """
        arms = self.transfer.arms(role, group)
        if group or "best" not in arms:
            return arms
        paper = (DEFAULT_PAPER,) if self.training.distillation != "kd" and known(self.training.distillation) else ()
        tuned = (SCRATCH_TUNED,) if any(name in tables.TRAINING_PARAMS for name in self.search.space) else ()
        return (*arms, *paper, *tuned)

    def untreated_arm(self, role: str) -> str:
        """Return the arm that tells what the teacher gains: labels only, trained as best where that was searched."""
        return SCRATCH_TUNED if SCRATCH_TUNED in self.arms(role) else "scratch"

    def seeds_of(self, role: str, arm: str) -> int:
        """Return how many seeds an arm of the first group has: without a target, every arm is what is asked about."""
        return self.transfer.seeds_of(role, arm) if self.targets else self.transfer.seeds

    def baselines_on(self, role: str) -> tuple[str, ...]:
        """Return the comparison methods on the dataset of a role; without a target, those of both run on the one."""
        if self.targets or role != "source":
            return self.baselines.on(role)
        return tuple(dict.fromkeys((*self.baselines.methods, *self.baselines.source_methods)))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as stored in the database. What is newer than many stored sweeps is left out where unused."""
        if self._stored is not None:
            return copy.deepcopy(self._stored)
        values = self.model_dump(mode="json")
        if not self.code:
            del values["code"]
        for table, key in (*_LATER, *((role, key) for role in self.roles for key in ("name", "size"))):
            if not values[table][key] or values[table][key] in _UNUSED:
                del values[table][key]
        return values

    def as_called(self) -> "Spec":
        """The spec with each dataset under the name that it is shown by; plain values and fingerprint stay the same."""
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


def fingerprint(values: Mapping[str, Any]) -> str:
    """Return the sha256 of plain values as canonical JSON, 64 hex digits."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def parse(values: Mapping[str, Any], *, origin: str, new: bool = False) -> Spec:
    """Return the spec in plain values; raise a SpecError of one line that names the first wrong key.

    Args:
        new: of a sweep to be made, which declares today's rule unless it names another; what was stored without one
            declared the first.
    """
    if new and isinstance(values.get("transfer"), Mapping):
        values = {**values, "transfer": {"rule": RULE, **values["transfer"]}}
    try:
        return Spec.model_validate(values)
    except ValidationError as error:
        raise SpecError(
            f"{origin}: {tables.first_problem(error, Spec)}; a complete one: {local().spec('quick')}"
        ) from None


def override(spec: Spec, changes: Mapping[str, Any], *, origin: str = "options") -> Spec:
    """Return the spec with some dotted keys changed, for example {"search.trials": 100}."""
    values = spec.as_dict()
    for dotted, value in changes.items():
        *groups, key = dotted.split(".")
        inner = values
        for group in groups:
            if inner.get(group) is None:  # a target that is not there yet
                inner[group] = {}
            inner = inner[group]
            if not isinstance(inner, dict):
                raise SpecError(f"{origin}: unknown key {dotted!r}; see: {local().spec('quick')}")
        inner[key] = value
    return parse(values, origin=origin)
