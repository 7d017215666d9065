"""How often the interval of a kept share holds the truth, with planted gains, shares and spreads."""

import random

from support.page import table
from support.transfer_matrix import ARMS, Pair, kept
from sweeps.analysis.units import percent

GAINS, SHARES = (0.0, 0.3, 1.0, 3.0), (0.0, 0.5, 1.0)  # points of native, and the share of them that best keeps


def simulated(sweeps: int, runs: int = 2_000) -> str:
    """Return a table: for each planted gain and share how often there is an interval, and how often it is right.

    Args:
        sweeps: how many a study has, at least 2.
        runs: studies drawn for each line.
    """
    draw, rows = random.Random(0), []
    for gain in GAINS:
        for share in SHARES:
            held = shown = 0
            for _ in range(runs):
                estimate = kept(_planted(draw, sweeps, gain, share), "best")
                if estimate is not None and estimate.low is not None and estimate.high is not None:
                    shown += 1
                    held += estimate.low <= share <= estimate.high
            right = f"{percent(held / shown):.1f} %" if shown else ""
            rows.append([gain, share, f"{percent(shown / runs):.1f} %", right])
    return table(["native's gain, points", "true share", "has an interval", "which holds the truth"], rows)


def _planted(draw: random.Random, sweeps: int, gain: float, share: float) -> list[Pair]:
    """Sweeps of three pairs. sd: 0.4 between sweeps, 0.3 between pairs, 0.2 of a mean over seeds; points."""
    found = []
    for number in range(sweeps):
        of_sweep = draw.gauss(0, 0.4)
        for target in ("a", "b", "c"):
            there = gain + draw.gauss(0, 0.3)
            gains = dict.fromkeys(ARMS, share * there + of_sweep + draw.gauss(0, 0.2)) | {
                "native": there + draw.gauss(0, 0.2)
            }
            found.append(Pair(sweep=str(number), source="s", target=target, gains=gains))
    return found
