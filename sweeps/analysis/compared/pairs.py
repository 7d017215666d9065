"""How the students of two sweeps differ on a dataset that both have: paired, where they share their seeds."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

from sweeps.analysis.findings import Findings
from sweeps.analysis.trainings import accuracies, awaited, identity, of_arm
from sweeps.stats.estimates import Paired, differences, estimate, holm, t_p_value


@dataclass(frozen=True, kw_only=True)
class Pair:
    """best of the first sweep - best of the second one on a dataset, in accuracy points of the test set.

    difference: over the seeds that both trained with; None where it is not known. p: two-sided, of the t test, from
    two seeds on, unless both sweeps have the same trainings; p_holm: the same, adjusted for all pairs that are shown
    together. why: "" or why there is no difference.
    """

    first: str
    second: str
    dataset: str
    difference: Paired | None
    p: float | None
    p_holm: float | None
    why: str


@dataclass(frozen=True)
class _Found:
    first: str
    second: str
    dataset: str
    values: tuple[float, ...]
    same: int
    why: str

    @property
    def difference(self) -> Paired | None:
        mean = estimate(self.values)
        return None if mean is None else Paired.of(mean, self.same)

    @property
    def p(self) -> float | None:
        """The p value; None where both sweeps have the same trainings, which is no test."""
        return None if self.same == len(self.values) else t_p_value(self.values)


def pairs(sweeps: Sequence[Findings]) -> tuple[Pair, ...]:
    """Return every pair of sweeps on every dataset that both have, by dataset.

    Every pair is one more chance to find something by luck, so their p values are Holm's, over all of them.
    """
    order = list(dict.fromkeys(one.spec.role(role).dataset for one in sweeps for role in one.spec.roles))
    found = [pair for first, second in combinations(sweeps, 2) for pair in _of_two(first, second)]
    found.sort(key=lambda one: order.index(one.dataset))
    tested = {str(number): p for number, one in enumerate(found) if (p := one.p) is not None}
    adjusted = holm(tested)
    return tuple(
        Pair(
            first=one.first,
            second=one.second,
            dataset=one.dataset,
            difference=one.difference,
            p=tested.get(str(number)),
            p_holm=adjusted.get(str(number)),
            why=one.why,
        )
        for number, one in enumerate(found)
    )


def _of_two(first: Findings, second: Findings) -> list[_Found]:
    """Return the differences of two sweeps; a dataset may be the source of one and a target of the other."""
    both = [(role, other) for role in first.spec.roles for other in second.spec.roles]
    return [_difference(first, role, second, other) for role, other in both if _same(first, role, second, other)]


def _same(first: Findings, role: str, second: Findings, other: str) -> bool:
    """Return whether two sweeps mean the same dataset: by its name, or by its content under another path."""
    mine, theirs = first.spec.role(role), second.spec.role(other)
    return mine.dataset == theirs.dataset or bool(mine.content_hash and mine.content_hash == theirs.content_hash)


def _difference(first: Findings, role: str, second: Findings, other: str) -> _Found:
    values, same = list[float](), 0
    why = _obstacle(first, role, second, other)
    if not why:
        mine, theirs = _by_seed(first, role), _by_seed(second, other)
        values = differences(mine, theirs)
        same = len(_results(first, role) & _results(second, other))
        why = "" if values else "not paired: other seeds" if mine and theirs else "no result"
    return _Found(first.name, second.name, first.spec.role(role).dataset, tuple(values), same, why)


def _obstacle(first: Findings, role: str, second: Findings, other: str) -> str:
    """Return why the two cannot be compared on a dataset, whatever their seeds; "" if they can."""
    mine, theirs = first.spec.role(role), second.spec.role(other)
    if mine.content_hash and theirs.content_hash and mine.content_hash != theirs.content_hash:
        return "not compared: other images under the same name"
    for found, part in ((first, role), (second, other)):
        if "best" not in found.spec.arms(part):
            return f"not compared: {found.name} trains no best there"
    if awaited(first.trainings, role) or awaited(second.trainings, other):
        return "not yet"
    return ""


def _by_seed(found: Findings, role: str) -> dict[int, float]:
    """Return the test accuracy in percent of best by the stored seed of its training: what the two have in common.

    The number of a repeat says nothing: in another sweep it has another seed.
    """
    seeds = {one.repeat: one.seed for one in of_arm(found.trainings, role, "best")}
    return {seeds[repeat]: value for repeat, value in accuracies(found.trainings, role, "best").items()}


def _results(found: Findings, role: str) -> set[Hashable]:
    """Return what each training of best is and gave: another sweep that has all of it has trained the same student.

    The specs may differ in what is no part of the point, so the results have to be the same as well.
    """
    done = [(one, one.outcome) for one in of_arm(found.trainings, role, "best") if one.outcome is not None]
    return {
        (identity(one), made.val_accuracy, made.test_accuracy, made.epoch_val_accuracy, made.parameters)
        for one, made in done
    }
