"""Describe an arm, a configuration of the comparison, in one row; list the arms that every trainer has."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sweeps.trainers.protocol import Point

BOTH, TARGETS = frozenset({"source", "target"}), frozenset({"target"})


@dataclass(frozen=True, kw_only=True)
class Context:
    """The inputs of an arm's rule.

    best_of: returns the confirmed point of a role, and freezes it. fact: returns a number from the preparation, by role
    and name. draw: returns a uniform point of the search space, by the seed of this repeat. chosen: returns the arm's
    candidate that validation chose on this dataset, and freezes it.
    """

    spec: Any
    role: str
    best_of: Callable[[str], Point]
    fact: Callable[[str, str], float]
    draw: Callable[[], Point]
    chosen: Callable[[], Point]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A configuration of the comparison.

    key: stored, so it never changes. label: in figures and tables; {source} and {dataset} are filled in. method: its
    clause in the section Methods. on: "target" is every target. standard: its place in a spec that lists no arms, from
    1; 0 if it must be listed. added: whether a spec has it without listing it. selects: whose search chose its point.
    candidates: points that validation chooses from on the dataset of a role, with separate seeds, in a phase without
    preparation; a dataset has at most one arm with candidates. prepared: whether it needs the preparation of its role.
    repeats: whether further searches train it, too. early: whether a comparison trains it first. control: what it
    explains, if it is a control. fixed_point: whether all its trainings have one point, for a table. settings: of its
    trainings, besides the point. chosen_in: the phase that chooses its settings, if any. owner: of a default, in a
    sentence.
    """

    key: str
    label: str
    method: str
    point: Callable[[Context], Point]
    on: frozenset[str] = BOTH
    standard: int = 0
    added: Callable[[Any], bool] | None = None
    selects: Literal["", "source", "own"] = ""
    candidates: Callable[[Any, str], Sequence[Point]] | None = None
    prepared: bool = True
    repeats: bool = False
    early: bool = False
    control: str = ""
    fixed_point: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)
    chosen_in: str = ""
    owner: str = "the"

    def is_on(self, role: str) -> bool:
        """Return whether it can be trained on the dataset of a role."""
        return ("source" if role == "source" else "target") in self.on


BEST = Arm(
    key="best",
    label="Tuned on {source}",
    method="`best`",
    point=lambda context: context.best_of("source"),
    standard=1,
    selects="source",
    repeats=True,
    early=True,
)
NATIVE = Arm(
    key="native",
    label="Tuned on {dataset} itself",
    method="`native`",
    point=lambda context: context.best_of(context.role),
    on=TARGETS,
    standard=5,
    selects="own",
    repeats=True,
    early=True,
)
RANDOM = Arm(
    key="random",
    label="Random {symbols}",
    method="drawn anew for each seed",
    point=lambda context: context.draw(),
    on=TARGETS,
    standard=6,
    fixed_point=False,
)
