"""The answers that a storage, a service and Python give, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field
from pydantic.dataclasses import dataclass as checked

from storage.audit.audit import Audit
from sweeps.query.best import Best
from sweeps.spec.tables import MOST

if TYPE_CHECKING:
    from sweeps.report.document import Badge
    from sweeps.stats.estimates import Estimate


@dataclass(frozen=True, kw_only=True)
class BestAnswer:
    """The best point. said: of a finished sweep its verdict, and where an untuned point was as good."""

    best: Best
    said: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AuditAnswer:
    """An audit. unavailable: how many tasks of each stage cannot run here. The rest is empty where rows are damaged.

    answer_hash: None until every task has ended. notes: what people are told of the bits of the answer.
    """

    audit: Audit
    unavailable: Mapping[str, int]
    answer_hash: str | None
    notes: tuple[str, ...]


@checked(frozen=True, kw_only=True)
class ExtendArgs:
    """By how much a sweep is extended: trials of every search, seeds of every arm, searches from other points."""

    trials: int = Field(default=0, ge=0, le=MOST)
    seeds: int = Field(default=0, ge=0, le=MOST)
    searches: int = Field(default=0, ge=0, le=MOST)


@dataclass(frozen=True, kw_only=True)
class Extended:
    """What an extension adds. tasks: how many. look: which look at the test images it spends, in words."""

    tasks: int
    look: str


@dataclass(frozen=True, kw_only=True)
class Counted:
    """How many tasks that concerns: those that run (pause), are left (resume), or were taken back (cancel)."""

    tasks: int


@dataclass(frozen=True, kw_only=True)
class Retried:
    """The keys of the tasks that wait again."""

    tasks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BestPoint:
    """The best point of a sweep.

    Attributes:
        temperature: > 0.
        alpha: weight of the labels, in [0, 1].
        more: what else was searched, by name; empty in most sweeps.
        accuracy: on validation images, fractions: `mean`, `low` and `high` of its 95 % interval (or None), `n`.
        confirmed: whether it was trained again on fresh seeds; else it is the luckiest single run, with n = 1.
        loss: the formula.
        code: Python that trains with it, by library: "kd", "keras", "pytorch".
    """

    temperature: float
    alpha: float
    more: Mapping[str, int | float]
    accuracy: "Estimate"
    confirmed: bool
    loss: str
    code: Mapping[str, str]

    def __str__(self) -> str:
        """Return it in words: "T = 6.8, alpha = 0.724: validation 97.41 %, n=3"."""
        values = {"T": self.temperature, "alpha": self.alpha, **self.more}
        point = ", ".join(f"{name} = {value:.4g}" for name, value in values.items())
        text = f"{point}: validation {100 * self.accuracy.mean:.2f} %, n={self.accuracy.n}"
        return text if self.confirmed else f"{text}, unconfirmed"

    def _repr_pretty_(self, printer: object, cycle: bool) -> None:
        printer.text(str(self))  # type: ignore[attr-defined]  # IPython's; the code alone would fill a page


def best_point(best: "Best") -> BestPoint:
    """Return the answer of `sweeps.query.best` as a user of Python reads it."""
    return BestPoint(
        temperature=best.point.temperature,
        alpha=best.point.alpha,
        more=dict(best.point.more),
        accuracy=best.accuracy,
        confirmed=best.confirmed,
        loss=best.loss,
        code=best.paste,
    )


@dataclass(frozen=True)
class Verdict:
    """The verdict. word: such as "TRANSFERS"; text: the word, and what it means."""

    word: str
    text: str

    def __str__(self) -> str:
        """Return the text."""
        return self.text


def verdict(badge: "Badge") -> Verdict:
    """Return the verdict that a page wears."""
    return Verdict(badge.text.partition(":")[0], badge.text)


class Svg(str):
    """A figure as SVG text; a notebook draws it."""

    __slots__ = ()

    def _repr_svg_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        """Return how much it is, not the text: a dictionary of figures fits on a line."""
        return f"<SVG, {len(self) / 1000:.0f} kB>"
