"""Sweeps in one storage whose students differ by planted points. Imports no pytest."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from sweeps.findings.findings import Findings
from sweeps.spec.model import Spec, override
from tests.support.sweeps import builders
from tests.support.sweeps.planted_sweeps import NATIVE, Points, below, worked
from tests.support.sweeps.small_sweeps import SMALL

COMPARED = override(
    SMALL,
    {
        "search.trials": 2,
        "transfer.seeds": 4,
        "transfer.looks": 1,
        "transfer.source_arms": ["best", "scratch", "default-keras"],
        "transfer.target_arms": ["best", "scratch", "native", "default-keras"],
    },
)
BASE = [60.0, 61.0, 59.0, 62.0]


def lower(points: float, *, noise: float = 1.0) -> list[float]:
    """Return accuracies by repeat that BASE exceeds by `points`, with differences of that standard deviation."""
    return below(points, spread=noise, base=BASE)


def arms(best: Points) -> dict[str, Points]:
    """Return test accuracies with that best: native is 70.5 on average, scratch 5 and default-keras 4 below BASE."""
    return {"native": NATIVE, "best": best, "scratch": lower(5.0, noise=0), "default-keras": lower(4.0, noise=0)}


def add(url: str, name: str, best: Points = BASE, *, stop_at: str = "", **changes: Any) -> None:
    """Add a sweep to the storage, and work to its end, or up to the first task whose key begins with `stop_at`."""
    worked(url, _spec(changes), arms(best), name=name, stop_at=stop_at)


def _spec(changes: Mapping[str, Any]) -> Spec:
    return override(COMPARED, {key.replace("__", "."): value for key, value in changes.items()})


def make_member(name: str, best: Points = BASE, *, until: str = "", **changes: Any) -> Findings:
    """Return the findings of one of them, without a storage."""
    return builders.make_findings(_spec(changes), arms(best), until=until, name=name)


@cache
def family() -> dict[str, Findings]:
    """Findings of "base", "same" (0 points), "worse" (1), "better" (-2) and "other" (-2, other seeds)."""
    members = [
        make_member("base"),
        make_member("same", lower(0.0)),
        make_member("worse", lower(1.0)),
        make_member("better", lower(-2.0)),
        make_member("other", lower(-2.0), seed=1, training__learning_rate=0.002),
    ]
    return {findings.name: findings for findings in members}
