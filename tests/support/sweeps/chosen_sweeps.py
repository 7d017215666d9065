"""Sweeps with a recommendation, their accuracies planted by search. Imports no pytest."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from unittest import mock

from sweeps.distill.arms import ARMS
from sweeps.findings.findings import Findings, findings
from sweeps.spec.model import Spec, override
from tests.support.sweeps.answered_sweeps import OVER_SEEDS
from tests.support.sweeps.builders import stored, top_once
from tests.support.sweeps.planted_sweeps import Points

SEEDS = 3
BASE = 70.0  # percent of test accuracy that tuning on the target reaches, before noise
NOISE = (0.3, -0.2, 0.1, -0.4, 0.2, 0.0, -0.3, 0.3)  # of a search, points; their mean is 0

# Eight searches, as small as possible, that all train the default and a student without a teacher.
CHOSEN = override(
    OVER_SEEDS,
    {
        "transfer.rule": 2,
        "transfer.seeds": SEEDS,
        "transfer.target_arms": ["best", "scratch", "native", "default-keras"],
        "outer.searches": 8,
        "outer.trials": 2,
        "outer.rounds": [[1, 1]],
        "outer.seeds": SEEDS,
    },
)


def chosen(
    default: float | Sequence[float] = 0.3,
    elsewhere: float | Sequence[float] = 0.0,
    *,
    gain: float = 2.6,
    spec: Spec = CHOSEN,
    others: Mapping[str, Sequence[float]] = MappingProxyType({}),
    **options: Any,
) -> Findings:
    """Return the findings of such a sweep by rule 3.

    Args:
        default, elsewhere: points lost against tuning on the target, of all searches or of each.
        gain: points that tuning there gains over training without a teacher.
        others: what both lose on a further target.
        options: as of `stored`.
    """
    planted: dict[str, Points] = {"transfer#source": [BASE + 20] * SEEDS}
    every = {"target": (default, elsewhere)} | {role: (lost, lost) for role, lost in others.items()}
    for number in range(spec.outer.searches):
        native, seed_offsets = BASE + NOISE[number % len(NOISE)], [0.5, -0.5, 0.0][:SEEDS]
        for role, (untuned, best) in every.items():
            key = f"transfer@t0s{number}#{role}" if number else f"transfer#{role}"
            lost = {"native": 0.0, "default-keras": _of(untuned, number), "best": _of(best, number)}
            # The score without a teacher does not depend on the search.
            below = {arm: native - value for arm, value in lost.items()} | {"scratch": BASE - gain}
            planted |= {f"{key}.{arm}": [value + seed for seed in seed_offsets] for arm, value in below.items()}
    return judged(spec, planted, **options)


def judged(spec: Spec, planted: Mapping[str, Points], **options: Any) -> Findings:
    """Return the findings by rule 3 of a sweep with those accuracies, each search with all arms."""
    repeated = {key: replace(ARMS[key], repeats=True) for key in ("default-keras", "scratch")}
    with mock.patch.dict(ARMS, repeated), mock.patch("sweeps.stats.response.top", top_once):
        sweep = stored(spec, planted, **options)
        transfer = sweep.spec.transfer.model_copy(update={"rule": 3, "margin_share": 0.2})
        return findings(replace(sweep, spec=sweep.spec.model_copy(update={"transfer": transfer})))


def _of(lost: float | Sequence[float], number: int) -> float:
    return lost if isinstance(lost, float) else lost[number % len(lost)]
