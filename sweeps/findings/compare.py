"""Compare several sweeps."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from typing import Any, TypeAlias

from sweeps.errors import SpecError
from sweeps.findings.findings import Findings
from sweeps.findings.load import identity, is_incomplete, of_arm, scaled_scores
from sweeps.spec.stored import changes
from sweeps.stats.estimates import Estimate, Paired, differences, estimate, holm, t_p_value
from sweeps.trainers.protocol import Point
from sweeps.trainers.score import ACCURACY, Score


@dataclass(frozen=True, kw_only=True)
class Pair:
    """best of the first sweep - best of the second on a dataset, in displayed test scores.

    difference: over common seeds, or None. p: two-sided t test, from two seeds on, unless both sweeps have the same
    trainings. p_holm: adjusted for all pairs. why: why there is no difference, or "".
    """

    first: str
    second: str
    dataset: str
    difference: Paired | None
    p: float | None
    p_holm: float | None
    why: str


def pairs(sweeps: Sequence[Findings]) -> tuple[Pair, ...]:
    """Return every pair of sweeps on each of their common datasets, by dataset.

    Every pair is another chance to find a difference by luck, so Holm adjusts p over all of them.
    """
    order = list(dict.fromkeys(findings.spec.role(role).dataset for findings in sweeps for role in findings.spec.roles))
    unadjusted = [
        _difference(first, role, second, other)
        for first, second in combinations(sweeps, 2)
        for role in first.spec.roles
        for other in second.spec.roles  # a dataset may be the source of one sweep and a target of the other
        if _same(first, role, second, other)
    ]
    unadjusted.sort(key=lambda pair: order.index(pair.dataset))
    adjusted = holm({str(number): pair.p for number, pair in enumerate(unadjusted) if pair.p is not None})
    return tuple(replace(pair, p_holm=adjusted.get(str(number))) for number, pair in enumerate(unadjusted))


def _same(first: Findings, role: str, second: Findings, other: str) -> bool:
    if first.spec.role(role).dataset == second.spec.role(other).dataset:
        return True
    # Also by content: the same data may be under another path.
    mine, theirs = first.spec.kind.content(first.spec, role), second.spec.kind.content(second.spec, other)
    return bool(mine) and mine == theirs


def _difference(first: Findings, role: str, second: Findings, other: str) -> Pair:
    values, same = list[float](), 0
    why = _obstacle(first, role, second, other)
    if not why:
        mine, theirs = _by_seed(first, role), _by_seed(second, other)
        values = differences(mine, theirs)
        same = len(_results(first, role) & _results(second, other))
        why = "" if values else "not paired: other seeds" if mine and theirs else "no result"
    mean = estimate(values)
    return Pair(
        first=first.name,
        second=second.name,
        dataset=first.spec.role(role).dataset,
        difference=None if mean is None else Paired.of(mean, same),
        p=None if same == len(values) else t_p_value(values),
        p_holm=None,
        why=why,
    )


def _obstacle(first: Findings, role: str, second: Findings, other: str) -> str:
    """Return why the two cannot be compared on a dataset for any seeds, or ""."""
    mine, theirs = first.spec.kind.content(first.spec, role), second.spec.kind.content(second.spec, other)
    if mine and theirs and mine != theirs:
        return "not compared: different images under the same name"
    for findings, its_role in ((first, role), (second, other)):
        if "best" not in findings.spec.arms(its_role):
            return f"not compared: {findings.name} trains no best there"
    if is_incomplete(first.trainings, role) or is_incomplete(second.trainings, other):
        return "not yet"
    return ""


def _by_seed(findings: Findings, role: str) -> dict[int, float]:
    # By stored seed: the same repeat of another sweep may have another seed.
    seeds = {training.work.repeat: training.work.seed for training in of_arm(findings.trainings, role, "best")}
    scores = scaled_scores(findings, role, "best")
    return {seeds[repeat]: value for repeat, value in scores.items()}


def _results(findings: Findings, role: str) -> set[Hashable]:
    # The specs may differ in keys that are not part of the point, so the results must be equal, too.
    return {
        (
            identity(findings.spec, training),
            outcome.val_accuracy,
            outcome.test_accuracy,
            outcome.epoch_val_accuracy,
            outcome.parameters,
        )
        for training in of_arm(findings.trainings, role, "best")
        if (outcome := training.outcome) is not None
    }


_NO_MATTER = ("preset", "note")  # keys without effect on training


def differing(sweeps: Sequence[Findings]) -> dict[str, tuple[Any, ...]]:
    """Return the dotted keys in which the specs differ, in the order of a spec, with the value of each sweep.

    A table that one sweep lacks, such as a target, is one key, whose values are the datasets; None for that sweep.
    """
    specs = [findings.spec.model_dump(mode="json") for findings in sweeps]
    differing_keys = {key for other in specs[1:] for key, _, _ in changes(specs[0], other)}
    ordered = dict.fromkeys(key for spec in specs for key in _in_order(spec))
    keys = [key for key in ordered if key in differing_keys and key not in _NO_MATTER]
    whole = tuple(f"{key}." for key in keys)
    # A content hash differs whenever its dataset does.
    follows = {f"{key.removesuffix('dataset')}content_hash" for key in differing_keys if key.endswith(".dataset")}
    separate = [key for key in keys if not key.startswith(whole) and key not in follows]
    return {key: tuple(_value(spec, key) for spec in specs) for key in separate}


def _in_order(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for key, value in values.items():
        keys.append(f"{prefix}{key}")
        keys += _in_order(value, f"{prefix}{key}.") if isinstance(value, Mapping) else []
    return keys


def _value(spec: Mapping[str, Any], dotted: str) -> Any:
    if dotted in spec:
        value = spec[dotted]
        return value["dataset"] if isinstance(value, Mapping) and "dataset" in value else value
    key, _, inner = dotted.partition(".")  # an inner key, such as a file's path, may contain dots
    return _value(spec[key], inner) if isinstance(spec.get(key), Mapping) else None


class Absent(StrEnum):
    """Why a number is missing. PLANNED: the sweep does not train for it. RESULT: all its trainings failed."""

    YET = "not yet"
    PLANNED = "not planned"
    RESULT = "no result"


Number: TypeAlias = Estimate | Absent


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One sweep on one of its datasets; differences are in displayed test scores.

    point: tuned on the source and confirmed, None before. gain: best - the untreated arm. tuning: best - the untuned
    default. regret: native - best, for targets. test: the stored test score of best. train_s: mean wall seconds of one
    training of best; None before the first.
    """

    sweep: str
    role: str
    dataset: str
    point: Point | None
    gain: Number
    tuning: Number
    regret: Number
    test: Number
    train_s: float | None


def standings(sweeps: Sequence[Findings]) -> tuple[Standing, ...]:
    """Return the standing of each sweep on each dataset, by sweep in the given order, then by role."""
    return tuple(_standing(findings, role) for findings in sweeps for role in findings.spec.roles)


def _standing(findings: Findings, role: str) -> Standing:
    dataset, chosen = findings.spec.role(role).dataset, findings.confirmed.get("source")
    plain = findings.spec.untreated_arm(role)
    default = next(iter(findings.spec.kind.features.defaults), "")
    best = next((row for row in findings.rows if (row.kind, row.method, row.dataset) == ("arm", "best", dataset)), None)
    return Standing(
        sweep=findings.name,
        role=role,
        dataset=dataset,
        point=None if chosen is None else chosen.best.point,
        gain=_number(findings, role, ("best", plain), findings.gain(role)),
        tuning=_number(findings, role, ("best", default), findings.between(role, "best", default)),
        regret=_regret(findings, role),
        test=_number(findings, role, ("best",), None if best is None else best.test),
        train_s=None if best is None else best.train_s,
    )


def _regret(findings: Findings, role: str) -> Number:
    verdict = next((verdict for verdict in findings.verdicts if verdict.role == role), None)
    return Absent.PLANNED if verdict is None else _number(findings, role, ("best", "native"), verdict.lost)


def _number(findings: Findings, role: str, arms: Sequence[str], value: Estimate | None) -> Number:
    if not set(arms) <= set(findings.spec.arms(role)):
        return Absent.PLANNED
    if is_incomplete(findings.trainings, role):
        return Absent.YET
    return Absent.RESULT if value is None else value


def _scored(score: Score) -> str:
    unit = f"in {score.unit}, " if score.unit else ""
    return f"{unit}{score.better} is better{f', shown times {score.scale:g}' if score.scale != 1 else ''}"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Several sweeps compared.

    names: in the requested order. sweeps: findings of those with a finished task, in that order. pending: the others.
    machine_kinds: processors and threads of the finished tasks; seconds are not comparable across several.
    """

    names: tuple[str, ...]
    sweeps: tuple[Findings, ...]
    pending: tuple[str, ...]
    standings: tuple[Standing, ...]
    pairs: tuple[Pair, ...]
    differing: Mapping[str, tuple[Any, ...]]
    machine_kinds: tuple[tuple[str, str], ...]

    @property
    def score(self) -> Score:
        """The score of all sweeps; accuracy before anything has finished."""
        return self.sweeps[0].spec.score if self.sweeps else ACCURACY

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(standing.dataset for standing in self.standings))


def compare(names: Sequence[str], sweeps: Sequence[Findings]) -> Compared:
    """Compare sweeps; names: the requested ones, sweeps: findings of those that have results, in that order.

    Raise SpecError if they have different scores, whose differences would be meaningless.
    """
    scores = {findings.name: f"{findings.spec.score.name} ({_scored(findings.spec.score)})" for findings in sweeps}
    if len(set(scores.values())) > 1:
        each = "; ".join(f"{name} scores {score}" for name, score in scores.items())
        raise SpecError(f"{each}; give sweeps that score the same to compare")
    kinds = {kind for findings in sweeps for kind in findings.provenance.machine_kinds}
    known = {findings.name for findings in sweeps}
    return Compared(
        names=tuple(names),
        sweeps=tuple(sweeps),
        pending=tuple(name for name in names if name not in known),
        standings=standings(sweeps),
        pairs=pairs(sweeps),
        differing=differing(sweeps),
        machine_kinds=tuple(sorted(kinds)),
    )
