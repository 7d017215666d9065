"""`Phase`: names of phases, keys of tasks and names of selections, written and parsed; dependencies of phases.

The first group on the source or the first target has plain names, as in a sweep without repeats: "search",
"native:confirm", "confirm.best". Everything else carries a tag: "search@t1s0" is the search of the second teacher,
"native:confirm@target2.t1s0" its confirmation on the second target.

A phase is the part of a stage that opens and closes together. The dependencies of phases are defined here alone; the
storage only ensures that no task is ready before they are met.
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
    """Properties of all tasks of a stage.

    kind: what a trainer does in them. keeps: whether some of them keep a model for the last stage to measure.
    """

    kind: RunKind
    keeps: bool = False


# By name, in display order. The kind of a phase begins with its stage.
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
    """Return what a trainer does in tasks of a stage; "train" for an unknown stage in an edited row."""
    return STAGES[stage].kind if stage in STAGES else "train"


_SCORED_ALONE = 3  # the first rule of the verdict by which test scores have their own phase

_NAME = re.compile(
    r"(?P<kind>teachers|search|native:search|native:confirm|confirm|recipes|transfer|baselines|measure)"
    r"(?::(?P<role>source|target\d?)|:(?P<round>\d+))?(?:@(?P<tag>.+))?"
)
# Names of stored selections: ranks of a search or of an earlier round of confirm, best of the last round.
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
    """A part of a stage that opens and closes together.

    kind: "teachers", "search", "native:confirm", ... role: of the dataset; "" if one phase serves all of them. round:
    of a confirm or of measure, from 1; 0 for the last one, and in all other phases.
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
        """The end of its name: "", "@t1s0", "@target2.t1s0"."""
        if self.kind in _NAMED_BY_ROLE:
            return tag_of("", self.group.preparation if self.kind == "teachers" else self.group.tag)
        return tag_of(self.role, self.group.tag)

    @property
    def prefix(self) -> str:
        """The beginning of its tasks' keys, such as "native.search@t1s0"; all rounds of a confirm share it."""
        return self.kind.replace(":", ".") + self.tag

    @property
    def selection(self) -> str:
        """The stored name of its selection, such as "native.best@target2.t1s0"; KeyError if it selects nothing."""
        if self.kind == "recipes":
            return f"{_SELECTIONS[self.kind]}:{self.role}"
        return (f"{_RANKS[self.kind]}:{self.round}" if self.round else _SELECTIONS[self.kind]) + self.tag

    @property
    def is_search(self) -> bool:
        """Whether trials can be added, while it is open."""
        return self.kind.endswith("search")

    @classmethod
    def parse(cls, name: str) -> "Phase":
        """Return the phase of a stored name; raise ValueError for any other text."""
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
        """Return the phase that makes a selection; raise ValueError for an unknown name."""
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
        """Return the phase that repeats the best trials of a search: the last round, or an earlier one, from 1."""
        return cls("confirm" if role == "source" else "native:confirm", role, group, round)

    @classmethod
    def teachers(cls, role: str, group: Group = FIRST) -> "Phase":
        return cls("teachers", role, replace(group, search=0))  # all searches of one teacher share it

    @classmethod
    def recipes(cls, role: str) -> "Phase":
        """Return the phase that chooses an arm's recipe on a dataset, for all groups."""
        return cls("recipes", role)

    @classmethod
    def transfer(cls, role: str, group: Group = FIRST) -> "Phase":
        return cls("transfer", role, group)


def tag_of(role: str, tag: str) -> str:
    """Return the end of a name; "" for the first group on the source or the first target."""
    parts = [part for part in (role if role not in ("source", "target") else "", tag) if part]
    return f"@{'.'.join(parts)}" if parts else ""


def teacher_key(role: str, group: Group = FIRST) -> str:
    return f"teachers#{role}{Phase.teachers(role, group).tag}"


def transfer_key(role: str, arm: str, repeat: int, group: Group = FIRST) -> str:
    return f"{Phase.transfer(role, group).prefix}#{role}.{arm}.{repeat}"


def recipe_key(role: str, rank: int, repeat: int) -> str:
    return f"{Phase.recipes(role).prefix}#{role}.{rank}.{repeat}"


def kept_student_key(role: str) -> str:
    """Return the key of the task whose student is kept, to be measured and exported."""
    return transfer_key(role, "best", 0)


def baseline_key(role: str, method: str) -> str:
    return f"baselines#{method}" if role == "target" else f"baselines#{role}.{method}"


def repeat_of(key: str) -> int | None:
    """Return the number of the repeat in the key of a confirm, recipes or transfer task; None for any other key."""
    prefix, _, last = key.partition("#")
    number = last.rpartition(".")[2]
    repeats = prefix.partition("@")[0] in ("confirm", "native.confirm", "recipes", "transfer")
    return int(number) if repeats and number.isdecimal() else None


def plan_phase(phase: Phase, *needs: Phase | Dependency, minimum: int = 0) -> PhasePlan:
    """Return the plan of a phase. A need given as a phase must succeed."""
    after = tuple(need if isinstance(need, Dependency) else Dependency(need.name) for need in needs)
    return PhasePlan(name=phase.name, stage=phase.stage, needs=after, minimum=minimum)


def teacher_phases(spec: Spec) -> list[PhasePlan]:
    phases = (Phase.teachers(role, group) for group in spec.groups if not group.search for role in spec.roles)
    return [plan_phase(phase, minimum=1) for phase in phases]


def group_phases(spec: Spec, group: Group) -> list[PhasePlan]:
    """Return the searches and confirms of a group, on each dataset."""
    search, rounds = spec.for_group(group).search, spec.for_group(group).confirm.rounds
    phases = []
    for role in spec.roles:
        before = Phase.search(role, group)
        lag = StartLag(search.lag, search.planned) if search.planned < search.trials else None
        taught = [Phase.teachers(role, group)] if spec.kind.features.prepares else []
        phases.append(replace(plan_phase(before, *taught, minimum=rounds[0][0]), lag=lag))
        for number, (_, seeds) in enumerate(rounds, start=1):
            kept = rounds[number][0] if number < len(rounds) else 1  # points for the next round
            confirm = Phase.confirm(role, group, round=number if number < len(rounds) else 0)
            phases.append(plan_phase(confirm, before, minimum=max(seeds, kept)))
            before = confirm
    return phases


def recipe_phases(spec: Spec) -> list[PhasePlan]:
    return [plan_phase(Phase.recipes(role), minimum=1) for role in spec.roles if spec.recipe_arm(role)]


def selections_of(spec: Spec, groups: Iterable[Group]) -> list[str]:
    return [Phase.confirm(role, group).name for group in groups for role in spec.roles]


def transfer_phases(spec: Spec, group: Group, selections: Sequence[str]) -> list[PhasePlan]:
    """Return the phases of a group that read the test, after every selection of the plan is frozen.

    selections: phases that select, of all groups planned at the same time.
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
    """Return whether test scores have their own task; by older rules the last task measures everything."""
    return spec.kind.features.measures and spec.transfer.rule >= _SCORED_ALONE


def score_phase(spec: Spec, selections: Sequence[str], others: Sequence[PhasePlan]) -> PhasePlan:
    """Return the phase that scores the kept models on the test, after all selections and the tasks that keep them.

    The kept students are those of the first group, whose comparison ends first.
    """
    kept = [Phase.teachers(role, group) for group in spec.groups if not group.search for role in spec.roles]
    kept += [Phase("baselines"), *(Phase.transfer(role) for role in spec.roles)]
    names = dict.fromkeys([*selections, *(phase.name for phase in kept)])
    planned = {other.name for other in others}
    needs = (Dependency(name, after_any_end=True) for name in names if name in planned)
    return plan_phase(Phase("measure", round=1), *needs)


def measure_phase(others: Sequence[PhasePlan]) -> PhasePlan:
    """Return the last phase of a plan, which waits for the end of all others, successful or not."""
    return plan_phase(Phase("measure"), *(Dependency(other.name, after_any_end=True) for other in others), minimum=1)


UNAVAILABLE = "unavailable"  # error class, and displayed state, of tasks that lack something, such as weights


def display_state(stage: str, state: str, error_class: str | None) -> str:
    """Return the state of a task for display: as stored, but "unavailable" for a task that cannot run on this machine.

    A sweep can finish without such a task, but not without a teacher: that is a failure, whatever the cause.
    """
    return UNAVAILABLE if (state, error_class) == ("failed", UNAVAILABLE) and stage != "teachers" else state


def display_stage(stage: str, stages: Collection[str]) -> str:
    """Return the display name of a stage: without a native search, transfer only compares arms."""
    return "compare" if stage == "transfer" and "native" not in stages else stage
