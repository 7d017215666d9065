"""Name what belongs to a group: a repeat of the outer level, with one teacher per dataset and one search.

What belongs to the first group on the source or the first target has plain names, as in a sweep without an outer
level: "search", "native:confirm", "confirm.best". Everything else carries its tag: "search@t1s0" is the search of the
second teacher, "native:confirm@target2.t1s0" what was confirmed for it on the second target.
"""

from collections.abc import Iterator

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
