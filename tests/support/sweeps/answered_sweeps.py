"""Finished sweeps with planted numbers, over seeds or over searches, for the tests of their answers.

Imports no pytest.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import sqlalchemy

from sweeps.spec.model import override
from tests.support.sweeps.planted_sweeps import NATIVE, PLANTED, Points, below, worked

# One search on each dataset, four seeds, three looks, the first at 3 %: t[.97, 3] = 2.951, so with a
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
# Two further searches, as small as possible, with two seeds.
OVER_SEARCHES = override(
    OVER_SEEDS, {"outer.searches": 3, "outer.trials": 2, "outer.rounds": [[1, 1]], "outer.seeds": 2}
)


def accuracies(
    regret: float | Sequence[float] = 0.5, *, gain: float = 5.0, untuned: float = 4.0, source: float = 5.0
) -> dict[str, Points]:
    """Return test accuracies in points of every arm, by the beginning of a task's key or by arm.

    Args:
        regret: native - best on the target, or that of each search; its standard deviation over seeds is 1.
        gain: best - scratch on the target, with the same standard deviation.
        untuned: best - default-keras there, likewise.
        source: best - scratch on the source, likewise.
    """
    first, *further = [regret] if isinstance(regret, float) else regret
    planted_arms: dict[str, Points] = {
        "transfer#source.best": below(0.0),
        "transfer#source.scratch": below(source, spread=0.0),
        "transfer#source.default-keras": below(source, spread=0.0),
        "transfer#target.default-keras": below(first + untuned, spread=0.0),
        "transfer#target.random": below(first + gain, spread=0.0),
    }
    for number, search_regret in enumerate([first, *further]):
        key = f"transfer@t0s{number}" if number else "transfer"
        planted_arms |= {
            f"{key}#target.native": NATIVE,
            f"{key}#target.best": below(search_regret),
            f"{key}#target.scratch": below(search_regret + gain, spread=0.0),
        }
    return planted_arms


def answered(folder: Path, planned: Mapping[str, Points]) -> sqlalchemy.URL:
    """Create a finished sweep "s" with those test accuracies; return its URL."""
    return worked(f"sqlite:///{folder}/s.db", OVER_SEEDS, planned)
