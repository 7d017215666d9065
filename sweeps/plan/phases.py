"""`Phase`: names of phases, keys of tasks and names of selections, written and parsed; what each phase depends on.

What belongs to the first group on the source or the first target has plain names, as in a sweep without an outer
level: "search", "native:confirm", "confirm.best". Everything else carries its tag: "search@t1s0" is the search of the
second teacher, "native:confirm@target2.t1s0" what was confirmed for it on the second target.

A phase is the part of a stage that opens and closes together. What each one needs is written here and nowhere else;
storage only keeps the promise that no task is ready before its needs are met.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from storage.queue.phases import Dependency, StartLag
from storage.queue.plans import PhasePlan
from sweeps.spec.model import Spec
from sweeps.spec.tables import FIRST, Group
from sweeps.trainers.protocol import RunKind


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What is the same for all tasks of a stage.

    kind: what a trainer does in them. keeps: whether some of them keep a model, which the last stage may measure.
    """

    kind: RunKind
    keeps: bool = False


# By name, in the order in which people see them. A stage is what its phases' kinds begin with.
STAGES: Mapping[str, Stage] = MappingProxyType(
    {
        "teachers": Stage(kind="prepare", keeps=True),
        "search": Stage(kind="train"),
        "baselines": Stage(kind="reference", keeps=True),
        "confirm": Stage(kind="train"),
        "native": Stage(kind="train"),
        "recipes": Stage(kind="train"),
        "transfer": Stage(kind="train", keeps=True),
        "measure": Stage(kind="measure"),
    }
)


def run_kind(stage: str) -> RunKind:
    """Return what a trainer does in tasks of a stage; for one that somebody wrote into a row, what most tasks do."""
    return STAGES[stage].kind if stage in STAGES else "train"


_SCORED_ALONE = 3  # the rule of the verdict since which accuracies have a phase of their own

_NAME = re.compile(
    r"(?P<kind>teachers|search|native:search|native:confirm|confirm|recipes|transfer|baselines|measure)"
    r"(?::(?P<role>source|target\d?)|:(?P<round>\d+))?(?:@(?P<tag>.+))?"
)
# What a phase selects is stored as: ranks of a search or of an earlier round of confirm, best of the last round.
_SELECTIONS = {
    "search": "search.ranks",
    "native:search": "native.ranks",
    "confirm": "confirm.best",
    "native:confirm": "native.best",
    "recipes": "recipes.best",
}
_RANKS = {"confirm": "confirm.ranks", "native:confirm": "native.confirm.ranks"}
_NAMED_BY_ROLE = ("teachers", "recipes", "transfer")


@dataclass(frozen=True)
class Phase:
    """What opens and closes together.

    kind: "teachers", "search", "native:confirm", ... role: of the dataset; "" where one phase serves all of them.
    round: of a confirm or of measure, from 1; 0 is the last one, and everything else.
    """

    kind: str
    role: str = ""
    group: Group = FIRST
    round: int = 0

    @property
    def stage(self) -> str:
        return self.kind.partition(":")[0]

    @property
    def name(self) -> str:
        """The stored name, such as "native:confirm:1@target2.t1s0"."""
        if self.kind in _NAMED_BY_ROLE:
            return f"{self.kind}:{self.role}{self.tag}"
        return self.kind + (f":{self.round}" if self.round else "") + self.tag

    @property
    def tag(self) -> str:
        """What its name ends with: "", "@t1s0", "@target2.t1s0"."""
        if self.kind in _NAMED_BY_ROLE:
            return tag_of("", self.group.preparation if self.kind == "teachers" else self.group.tag)
        return tag_of(self.role, self.group.tag)

    @property
    def prefix(self) -> str:
        """What the keys of its tasks begin with, such as "native.search@t1s0"; all rounds of a confirm share it."""
        return self.kind.replace(":", ".") + self.tag

    @property
    def selection(self) -> str:
        """The stored name of what it selects, such as "native.best@target2.t1s0"; KeyError if it selects nothing."""
        if self.kind == "recipes":
            return f"{_SELECTIONS[self.kind]}:{self.role}"
        return (f"{_RANKS[self.kind]}:{self.round}" if self.round else _SELECTIONS[self.kind]) + self.tag

    @property
    def is_search(self) -> bool:
        """Whether it takes more trials; it does so only while it is open."""
        return self.kind.endswith("search")

    @classmethod
    def parse(cls, name: str) -> "Phase":
        """Return the phase of a stored name; raise a ValueError where it is none."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"no phase: {name!r}")
        kind, tag = match["kind"], match["tag"] or ""
        first, _, rest = tag.partition(".")
        own = first if first.startswith("target") else ""
        role = match["role"] or own or ("target" if kind.startswith("native") else "source")
        role = "" if kind in ("baselines", "measure") else role
        return cls(kind, role, Group.parse(rest if own else tag), int(match["round"] or 0))

    @classmethod
    def of_selection(cls, name: str) -> "Phase":
        """Return the phase that a selection is read from; raise a ValueError where the name is none."""
        base, at, tag = name.partition("@")
        base, colon, number = base.partition(":")
        if base == _SELECTIONS["recipes"]:
            return cls.parse(f"recipes{colon}{number}{at}{tag}")
        kinds = {selection: kind for kind, selection in (_RANKS if number else _SELECTIONS).items()}
        if base not in kinds:
            raise ValueError(f"no selection: {name!r}")
        return cls.parse(kinds[base] + colon + number + at + tag)

    @classmethod
    def search(cls, role: str, group: Group = FIRST) -> "Phase":
        return cls("search" if role == "source" else "native:search", role, group)

    @classmethod
    def confirm(cls, role: str, group: Group = FIRST, *, round: int = 0) -> "Phase":
        """Return the phase that repeats the best of that search: the last round, or an earlier one, from 1."""
        return cls("confirm" if role == "source" else "native:confirm", role, group, round)

    @classmethod
    def teachers(cls, role: str, group: Group = FIRST) -> "Phase":
        return cls("teachers", role, replace(group, search=0))  # all searches of one teacher share it

    @classmethod
    def recipes(cls, role: str) -> "Phase":
        """Return the phase that chooses an arm's recipe on the dataset of a role: one for all groups."""
        return cls("recipes", role)

    @classmethod
    def transfer(cls, role: str, group: Group = FIRST) -> "Phase":
        return cls("transfer", role, group)


def tag_of(role: str, tag: str) -> str:
    """Return the end of a name; the source, the first target and the first group have none."""
    parts = [part for part in (role if role not in ("source", "target") else "", tag) if part]
    return f"@{'.'.join(parts)}" if parts else ""


def teacher_key(role: str, group: Group = FIRST) -> str:
    return f"teachers#{role}{Phase.teachers(role, group).tag}"


def transfer_key(role: str, arm: str, repeat: int, group: Group = FIRST) -> str:
    return f"{Phase.transfer(role, group).prefix}#{role}.{arm}.{repeat}"


def recipe_key(role: str, rank: int, repeat: int) -> str:
    return f"{Phase.recipes(role).prefix}#{role}.{rank}.{repeat}"


def kept_student_key(role: str) -> str:
    """Return the key of the task whose student is kept: it is measured, and can be exported."""
    return transfer_key(role, "best", 0)


def baseline_key(role: str, method: str) -> str:
    return f"baselines#{method}" if role == "target" else f"baselines#{role}.{method}"


def repeat_of(key: str) -> int | None:
    """Return the number of the repeat in the key of a task of confirm, recipes or transfer; None for any other task."""
    prefix, _, last = key.partition("#")
    number = last.rpartition(".")[2]
    repeats = prefix.partition("@")[0] in ("confirm", "native.confirm", "recipes", "transfer")
    return int(number) if repeats and number.isdecimal() else None


def plan_phase(phase: Phase, *needs: Phase | Dependency, minimum: int = 0) -> PhasePlan:
    """Return a phase as storage takes it. A need that is a phase has to have succeeded."""
    after = tuple(need if isinstance(need, Dependency) else Dependency(need.name) for need in needs)
    return PhasePlan(name=phase.name, stage=phase.stage, needs=after, minimum=minimum)


def teacher_phases(spec: Spec) -> list[PhasePlan]:
    phases = (Phase.teachers(role, group) for group in spec.groups if not group.search for role in spec.roles)
    return [plan_phase(phase, minimum=1) for phase in phases]


def group_phases(spec: Spec, group: Group) -> list[PhasePlan]:
    """Return the phases of a group that select: its searches and their confirms, on each dataset."""
    search, rounds = spec.for_group(group).search, spec.for_group(group).confirm.rounds
    phases = []
    for role in spec.roles:
        before = Phase.search(role, group)
        lag = StartLag(search.lag, search.planned) if search.planned < search.trials else None
        taught = [Phase.teachers(role, group)] if spec.kind.features.prepares else []
        phases.append(replace(plan_phase(before, *taught, minimum=rounds[0][0]), lag=lag))
        for number, (_, seeds) in enumerate(rounds, start=1):
            kept = rounds[number][0] if number < len(rounds) else 1  # points that the next round needs
            confirm = Phase.confirm(role, group, round=number if number < len(rounds) else 0)
            phases.append(plan_phase(confirm, before, minimum=max(seeds, kept)))
            before = confirm
    return phases


def recipe_phases(spec: Spec) -> list[PhasePlan]:
    return [plan_phase(Phase.recipes(role), minimum=1) for role in spec.roles if spec.recipe_arm(role)]


def selections_of(spec: Spec, groups: Iterable[Group]) -> list[str]:
    return [Phase.confirm(role, group).name for group in groups for role in spec.roles]


def transfer_phases(spec: Spec, group: Group, selections: Sequence[str]) -> list[PhasePlan]:
    """Return the phases of a group that read the test: not before every selection of the plan is frozen.

    selections: of all groups that are planned at the same time.
    """
    phases = []
    for role in spec.roles:
        if not spec.arms(role, group):
            continue
        own = {Phase.confirm(searched, group).name for searched in ("source", role)}
        needs = [Dependency(name, after_any_end=name not in own) for name in selections]
        chosen = dict.fromkeys(filter(None, (spec.arm(arm).chosen_in for arm in spec.arms(role, group))))
        needs += [Dependency(name, after_any_end=True) for name in chosen]
        chooses = {other: Phase.recipes(other).name for other in spec.roles if spec.recipe_arm(other)}
        needs += [Dependency(name, after_any_end=other != role) for other, name in chooses.items()]
        phases.append(plan_phase(Phase.transfer(role, group), *needs, minimum=1))
    return phases


def scores_alone(spec: Spec) -> bool:
    """Return whether accuracies are measured beside other work; in plans of older rules the last task measures all."""
    return spec.kind.features.measures and spec.transfer.rule >= _SCORED_ALONE


def score_phase(spec: Spec, selections: Sequence[str], others: Sequence[PhasePlan]) -> PhasePlan:
    """Return the phase that scores the kept models on the test: after every selection is frozen, and their own tasks.

    The kept students are those of the first group, whose comparison ends before that of the others.
    """
    kept = [Phase.teachers(role, group) for group in spec.groups if not group.search for role in spec.roles]
    kept += [Phase("baselines"), *(Phase.transfer(role) for role in spec.roles)]
    names = dict.fromkeys([*selections, *(phase.name for phase in kept)])
    planned = {other.name for other in others}
    needs = (Dependency(name, after_any_end=True) for name in names if name in planned)
    return plan_phase(Phase("measure", round=1), *needs)


def measure_phase(others: Sequence[PhasePlan]) -> PhasePlan:
    """Return the last phase of a plan: it waits until all the others have ended, whatever came of them."""
    return plan_phase(Phase("measure"), *(Dependency(other.name, after_any_end=True) for other in others), minimum=1)


UNAVAILABLE = "unavailable"  # the error class of what a machine lacks, such as weights, and the state shown for it


def display_state(stage: str, state: str, error_class: str | None) -> str:
    """Return the state of a task as people see it: as stored, but "unavailable" for what cannot run on this machine.

    The sweep is finished without it. Without a teacher it is not: that is a failure, whatever the cause.
    """
    return UNAVAILABLE if (state, error_class) == ("failed", UNAVAILABLE) and stage != "teachers" else state


def display_stage(stage: str, stages: Collection[str]) -> str:
    """Return what a stage is called: without a native search nothing is transferred, the arms are only compared."""
    return "compare" if stage == "transfer" and "native" not in stages else stage
