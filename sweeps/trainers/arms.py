"""`Arm`: a configuration of the comparison in one row, and the arms that every trainer has."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sweeps.trainers.protocol import Point

BOTH, TARGETS = frozenset({"source", "target"}), frozenset({"target"})


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the rule of an arm may read.

    best_of: what was confirmed on the dataset of a role; it is frozen when it is asked for. fact: role and name of a
    number that the preparation found. draw: a point of the search space, uniform, by the seed of this repeat. chosen:
    which of the arm's candidates validation chose on this dataset; it is frozen likewise.
    """

    spec: Any
    role: str
    best_of: Callable[[str], Point]
    fact: Callable[[str, str], float]
    draw: Callable[[], Point]
    chosen: Callable[[], Point]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A configuration of the comparison: everything that is said and done of it.

    key: stored, so it never changes. label: in figures and tables, {source} and {dataset} filled in. method: its half
    sentence in the section Methods. on: "target" is every target. standard: its place in a spec that names no arms,
    from 1; 0: it has to be named. added: whether a spec has it that does not name it. selects: whose search chose its
    point. candidates: the points that it is chosen from on the dataset of a role, by validation on seeds of their own,
    in a phase that needs no preparation; a dataset has at most one such arm. prepared: whether it needs what is
    prepared for its role. repeats: whether further searches train it, too. early: whether it is among the first that a
    comparison trains. control: what it explains, if it is a control. fixed_point: whether all its trainings have one
    point, which a table can show. settings: what it is trained with beside its point. chosen_in: the phase that chooses
    its settings, if any. owner: of a default, for a sentence: whose it is.
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
    method="{parameters} tuned on {source}",
    point=lambda context: context.best_of("source"),
    standard=1,
    selects="source",
    repeats=True,
    early=True,
)
NATIVE = Arm(
    key="native",
    label="Tuned on {dataset} itself",
    method="{parameters} tuned on the target itself",
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
    method="{parameters} drawn anew for each seed",
    point=lambda context: context.draw(),
    on=TARGETS,
    standard=6,
    fixed_point=False,
)
