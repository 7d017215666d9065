"""What a place answers beside the values of `sweeps.query`, with types that JSON can hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field
from pydantic.dataclasses import dataclass as checked

from storage.audit.audit import Audit
from sweeps.query.best import Best
from sweeps.spec.bounds import MOST


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
class More:
    """By how much a sweep is extended: trials of every search, seeds of every arm, searches from other points."""

    trials: int = Field(default=0, ge=0, le=MOST)
    seeds: int = Field(default=0, ge=0, le=MOST)
    searches: int = Field(default=0, ge=0, le=MOST)

    def as_keywords(self) -> dict[str, Any]:
        """Return the keyword arguments of `sweeps.service.steering.extend`."""
        return {"trials": self.trials, "seeds": self.seeds, "searches": self.searches}


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
