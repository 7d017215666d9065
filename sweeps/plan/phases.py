"""Names of phases, keys and selections, written and parsed; what each phase depends on.

What belongs to the first group on the source or the first target has plain names, as in a sweep without an outer
level: "search", "native:confirm", "confirm.best". Everything else carries its tag: "search@t1s0" is the search of the
second teacher, "native:confirm@target2.t1s0" what was confirmed for it on the second target.

A phase is the part of a stage that opens and closes together. What each one needs is written here and nowhere else;
storage only keeps the promise that no task is ready before its needs are met.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from storage.queue.phases import Dependency, StartLag
from storage.queue.plans import PhasePlan
from sweeps.distill.arms import AUTOKERAS_ARM
from sweeps.spec.model import Spec


def groups(spec: Spec) -> Iterator[str]:
    """Yield every group of the sweep, "" first; "t1s2" is the second teacher's third search."""
    for teacher in range(spec.outer.teachers):
        for search in range(spec.outer.searches):
            yield f"t{teacher}s{search}" if teacher or search else ""


def searches(spec: Spec) -> list[str]:
    """Return the groups of the first teacher, the first search first: what the verdict and the surfaces are about."""
    return [group for group in groups(spec) if teacher_of(group) == ""]


def teacher_of(group: str) -> str:
    """Return the tag of the group's teachers: "" or "t1". All searches of one teacher share it."""
    teacher = group.partition("s")[0]
    return "" if teacher in ("", "t0") else teacher


def tagged(name: str, group: str, role: str = "target") -> str:
    """Return the name with the tag of what it belongs to; the source and the first target have none."""
    parts = [part for part in (role if role not in ("source", "target") else "", group) if part]
    return f"{name}@{'.'.join(parts)}" if parts else name


def search_phase(role: str, group: str = "") -> str:
    """Return the phase that searches on the dataset of a role."""
    return tagged("search" if role == "source" else "native:search", group, role)


def confirm_phase(role: str, group: str = "", *, earlier: int = 0) -> str:
    """Return the phase that repeats the best of that search: the last round, or an `earlier` one, from 1."""
    name = "confirm" if role == "source" else "native:confirm"
    return tagged(f"{name}:{earlier}" if earlier else name, group, role)


def ranks_of(role: str, group: str = "", *, after: int = 0) -> str:
    """Return the selection of the points that a round of confirm repeats: what round `after` left; 0: the search."""
    source = role == "source"
    if after:
        return tagged(f"{'confirm' if source else 'native.confirm'}.ranks:{after}", group, role)
    return tagged("search.ranks" if source else "native.ranks", group, role)


def best_of(role: str, group: str = "") -> str:
    """Return the selection that holds what was confirmed there."""
    return tagged("confirm.best" if role == "source" else "native.best", group, role)


def teacher_phase(role: str, group: str = "") -> str:
    """Return the phase that trains the teacher of a role; all searches of one teacher share it."""
    return tagged(f"teachers:{role}", teacher_of(group))


def transfer_phase(role: str, group: str = "") -> str:
    """Return the phase that compares the arms on the dataset of a role."""
    return tagged(f"transfer:{role}", group)


def transfer_key(role: str, arm: str, repeat: int, group: str = "") -> str:
    """Return the key of the task that trains one arm with one seed."""
    return f"{tagged('transfer', group)}#{role}.{arm}.{repeat}"


def repeat_of(key: str) -> int | None:
    """Return the number of the repeat in the key of a task of confirm or transfer; None for any other task."""
    stage, _, last = key.partition("#")
    number = last.rpartition(".")[2]
    repeats = untagged(stage)[0] in ("confirm", "native.confirm", "transfer")
    return int(number) if repeats and number.isdecimal() else None


def kept_student_key(role: str) -> str:
    """Return the key of the task whose student is kept: it is measured, and can be exported."""
    return transfer_key(role, "best", 0)


def untagged(name: str) -> tuple[str, str]:
    """Split a name from its tag: "native.best@target2.t1s0" is ("native.best", "@target2.t1s0")."""
    base, at, tag = name.partition("@")
    return base, at + tag


def search_of(role: str | None, group: str) -> str:
    """Return what names the search of a task among those in the same study; "" is the first one's."""
    return untagged(tagged("", group, role or "target"))[1]


def make_phase(name: str, *needs: str | Dependency, minimum: int = 0) -> PhasePlan:
    """Return a phase of the stage that its name begins with. A need that is a name has to have succeeded."""
    after = tuple(need if isinstance(need, Dependency) else Dependency(need) for need in needs)
    return PhasePlan(name=name, stage=untagged(name)[0].split(":")[0], needs=after, minimum=minimum)


def teacher_phases(spec: Spec) -> list[PhasePlan]:
    """Return the phases that train the teachers, one for each teacher and dataset."""
    tags = dict.fromkeys(map(teacher_of, groups(spec)))
    return [make_phase(teacher_phase(role, tag), minimum=1) for tag in tags for role in spec.roles]


def group_phases(spec: Spec, group: str) -> list[PhasePlan]:
    """Return the phases of a group that select: its searches and their confirms, on each dataset."""
    search, rounds = spec.for_group(group).search, spec.for_group(group).confirm.rounds
    phases = []
    for role in spec.roles:
        name = search_phase(role, group)
        lag = StartLag(search.lag, search.planned) if search.planned < search.trials else None
        phases.append(replace(make_phase(name, teacher_phase(role, group), minimum=rounds[0][0]), lag=lag))
        for number, (_, seeds) in enumerate(rounds, start=1):
            kept = rounds[number][0] if number < len(rounds) else 1  # points that the next round needs
            confirm = confirm_phase(role, group, earlier=number if number < len(rounds) else 0)
            phases.append(make_phase(confirm, name, minimum=max(seeds, kept)))
            name = confirm
    return phases


def transfer_phases(spec: Spec, group: str, known: Collection[str]) -> list[PhasePlan]:
    """Return the phases of a group that read the test: not before every selection of the plan is frozen.

    Args:
        known: the groups that are planned at the same time.
    """
    phases = []
    for role in spec.roles:
        if not spec.arms(role, group):
            continue
        own = {confirm_phase("source", group), confirm_phase(role, group)}
        selections = [confirm_phase(searched, other) for other in known for searched in spec.roles]
        needs = [Dependency(name, after_any_end=name not in own) for name in selections]
        if AUTOKERAS_ARM in spec.arms(role, group):
            needs.append(Dependency("baselines", after_any_end=True))
        phases.append(make_phase(transfer_phase(role, group), *needs, minimum=1))
    return phases


def measure_phase(others: Sequence[PhasePlan]) -> PhasePlan:
    """Return the last phase of a plan: it waits until all the others have ended, whatever came of them."""
    return make_phase("measure", *(Dependency(other.name, after_any_end=True) for other in others), minimum=1)


UNAVAILABLE = "unavailable"
"""The error class of what this machine does not have, such as weights; and the state that is shown for it."""


def display_state(stage: str, state: str, error_class: str | None) -> str:
    """Return the state of a task as people see it: as stored, but "unavailable" for what cannot run on this machine.

    The sweep is finished without it. Without a teacher it is not: that is a failure, whatever the cause.
    """
    return UNAVAILABLE if (state, error_class) == ("failed", UNAVAILABLE) and stage != "teachers" else state


def display_stage(stage: str, stages: Collection[str]) -> str:
    """Return what a stage is called: without a native search nothing is transferred, the arms are only compared.

    Args:
        stages: those of the sweep that have tasks.
    """
    return "compare" if stage == "transfer" and "native" not in stages else stage
