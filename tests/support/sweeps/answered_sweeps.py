"""Finished sweeps whose every number was planted, over seeds or over searches, for what is said about them.

Imports no pytest.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import sqlalchemy

from sweeps.spec.model import Spec, override
from tests.support.sweeps.planted_sweeps import NATIVE, PLANTED, SPREAD, Points, worked

# One search on each dataset, four seeds, three looks of which the first is at 3 %: t[.97, 3] = 2.951, so with a
# standard deviation of 1 the one-sided bounds are mean -+ 1.48, and the 95 % intervals mean -+ 1.59.
OVER_SEEDS = override(
    PLANTED,
    {
        "search.trials": 2,
        "confirm.top": 1,
        "confirm.seeds": 1,
        "transfer.looks": 3,
        "transfer.source_arms": ["best", "scratch", "default-keras"],
        "transfer.target_arms": ["best", "scratch", "native", "random", "default-keras"],
    },
)
# Two searches more, each as small as one can be, with two seeds.
OVER_SEARCHES = override(
    OVER_SEEDS, {"outer.searches": 3, "outer.trials": 2, "outer.rounds": [[1, 1]], "outer.seeds": 2}
)
HALF = 3.182446 / 2  # of a 95 % interval of four differences with standard deviation 1: t[.975, 3] / sqrt(4)


def accuracies(
    regret: float | Sequence[float] = 0.5, *, gain: float = 5.0, untuned: float = 4.0, source: float = 5.0
) -> dict[str, Points]:
    """Test accuracies in points of every arm, by the beginning of a task's key or by arm.

    Args:
        regret: native - best on the target, or that of each search; its standard deviation over seeds is 1.
        gain: best - scratch on the target, with the same standard deviation.
        untuned: best - default-keras there, likewise.
        source: best - scratch on the source, likewise.
    """
    first, *further = [regret] if isinstance(regret, float) else regret
    planted_arms: dict[str, Points] = {
        "transfer#source.best": _lower(0.0, noise=1.0),
        "transfer#source.scratch": _lower(source),
        "transfer#source.default-keras": _lower(source),
        "transfer#target.default-keras": _lower(first + untuned),
        "transfer#target.random": _lower(first + gain),
    }
    for number, one in enumerate([first, *further]):
        key = f"transfer@t0s{number}" if number else "transfer"
        planted_arms |= {
            f"{key}#target.native": NATIVE,
            f"{key}#target.best": _lower(one, noise=1.0),
            f"{key}#target.scratch": _lower(one + gain),
        }
    return planted_arms


def _lower(points: float, *, noise: float = 0.0) -> list[float]:
    return [native - points - noise * spread for native, spread in zip(NATIVE, SPREAD, strict=True)]


def answered(folder: Path, planned: Mapping[str, Points], spec: Spec = OVER_SEEDS) -> sqlalchemy.URL:
    """A finished sweep "s" with those test accuracies."""
    return worked(f"sqlite:///{folder}/s.db", spec, planned)
