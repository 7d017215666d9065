"""Does the verdict keep its promises? Simulated sweeps, nothing trained.

    python bench/null.py [--sweeps N]

Draws the test accuracies of the four arms with the noise of real sweeps and asks `sweeps.stats.verdict.decide` for its
word. Native gains 0 to 5 margins over no distillation, and the transferred point lies 0 to 5 points below native. Three
claims: no wrong word comes in more than 5 % of sweeps; a point that costs three points or more is called FAILS in at
least 95 %, whatever native gains; and the seeds and the smallest regrets that a report names are those that are found
with 80 % power. Writes the section "Verdicts" of bench/results/results.md; exit code 1 if a claim does not hold.
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from scipy import stats

from support.page import RESULTS, Origin, table, write_section
from sweeps.stats.estimates import resolvable, seeds_needed
from sweeps.stats.verdict import KEPT, LEVELS, WORDS, Verdict, decide

ARMS = ("native", "best", "scratch", "random")
ALPHA = 0.05  # over all looks
LOOKS = (1, 3)
GAINS = (0.0, 0.5, 1.0, 1.5, 5.0)  # margins that native gains over scratch; over random half as much
REGRETS = (0.0, 0.5, 1.0, 1.5)  # margins that best lies below native
LARGE = (3.0, 5.0)  # the same in points
FOUND = 0.95  # share of FAILS that large regrets need
NEAR = 0.02  # the power is predicted by an approximation that is good to about two points
SURE = 0.999  # of the binomial bounds: a page has a hundred of them
SEED = 20_260_101
WRONG, COSTS, POWER = CLAIMS = (
    "no wrong word comes in more than 5 % of sweeps",
    f"where best lies {LARGE[0]:g} points or more below native, FAILS comes in {100 * FOUND:.0f} % or more",
    "regrets as far from the margin as `resolvable` says, and no regret with `seeds_needed`, are found with 80 % power",
)

Ending: TypeAlias = tuple[str, bool]
"""The last word of a sweep, and whether half of native's gain was the margin that applied."""


@dataclass(frozen=True)
class Setting:
    """A comparison on the target; all in points of test accuracy.

    unit, count: what the verdict counts, searches or seeds, and how many are added at every look. shared_sd: what the
    arms of one unit share. arm_sd: what each has for itself, so that one arm's sd is
    sqrt(shared_sd**2 + arm_sd**2), and that of a paired difference sqrt(2) * arm_sd.
    """

    name: str
    unit: str
    count: int
    margin: float
    shared_sd: float
    arm_sd: float

    @property
    def sd(self) -> float:
        """Of the paired differences."""
        return math.sqrt(2) * self.arm_sd

    @property
    def arms(self) -> tuple[str, ...]:
        """Those that the verdict sees; random belongs to no search."""
        return ARMS[:3] if self.unit == "searches" else ARMS


SETTINGS = (
    # As replayed on the recorded surface of CIFAR-10: between searches 0.31, a pair of seeds 0.44, four of them each.
    Setting("quick", "searches", 5, 1.0, 0.23, 0.27),
    Setting("one search", "seeds", 8, 1.0, 0.46, 0.31),
    Setting("full", "searches", 5, 0.3, 0.115, 0.135),  # assumed, not recorded: half the noise of quick
)


@dataclass(frozen=True)
class Truth:
    """What is planted, in points: native over scratch, native over random, native over best."""

    gain: float
    over_random: float
    regret: float

    def makes_wrong(self, ending: Ending, margin: float) -> bool:
        """Return whether that word is wrong here, at the declared margin or at half of the gain, whichever applied."""
        word, halved = ending
        edge = min(margin, KEPT * self.gain) if halved else margin
        if word == "TRANSFERS":
            return self.regret >= edge
        if word == "FAILS":
            return self.regret <= edge
        return word == "FLAT" and max(self.gain, self.over_random, self.regret) >= margin


@dataclass
class Found:
    """The tables' rows, and for each claim whether it holds in each row that it is about."""

    planted: list[list[object]] = field(default_factory=list)
    power: list[list[object]] = field(default_factory=list)
    claims: dict[str, list[bool]] = field(default_factory=lambda: {claim: [] for claim in CLAIMS})


def draw(rng: np.random.Generator, setting: Setting, truth: Truth, *, sweeps: int, seeds: int) -> np.ndarray:
    """Test accuracies, points, shape (sweeps, arms, seeds or searches)."""
    expected = 70.0 - np.array([0.0, truth.regret, truth.gain, truth.over_random])
    shared = rng.normal(0, setting.shared_sd, (sweeps, 1, seeds))
    drawn: np.ndarray = expected[:, None] + shared + rng.normal(0, setting.arm_sd, (sweeps, len(ARMS), seeds))
    return drawn[:, : len(setting.arms)]


def endings(accuracies: np.ndarray, setting: Setting, *, looks: int) -> Counter[Ending]:
    """How often each ending comes.

    After every look that says neither TRANSFERS nor FAILS as many seeds are added, until the looks are used up. Also
    after FLAT, where a user need not go on: who does has more chances to be wrong.
    """
    counts: Counter[Ending] = Counter()
    for sweep in accuracies.tolist():
        ending = ("", False)
        for look, level in enumerate(LEVELS[looks], start=1):
            found = _verdict([scores[: look * setting.count] for scores in sweep], setting.margin, level)
            ending = found.word, found.halved
            if found.word in ("TRANSFERS", "FAILS"):
                break
        counts[ending] += 1
    return counts


def check_planted(found: Found, rng: np.random.Generator, setting: Setting, *, looks: int, sweeps: int) -> None:
    """Every gain of native with every regret of best."""
    for gain in GAINS:
        for regret in (*(share * setting.margin for share in REGRETS), *LARGE):
            truth = Truth(gain * setting.margin, gain * setting.margin / 2, regret)
            drawn = draw(rng, setting, truth, sweeps=sweeps, seeds=setting.count * looks)
            counts = endings(drawn, setting, looks=looks)
            words = {word: sum(n for (one, _), n in counts.items() if one == word) for word in WORDS}
            wrong: Counter[str] = Counter()
            for ending, number in counts.items():
                wrong[ending[0]] += number * truth.makes_wrong(ending, setting.margin)
            word, most = wrong.most_common(1)[0]
            halved = sum(n for (_, half), n in counts.items() if half)
            shares = [f"{100 * words[one] / sweeps:.1f}" for one in WORDS]
            found.planted.append(
                [
                    setting.name,
                    looks,
                    f"{truth.gain:.2f}",
                    f"{regret:.2f}",
                    *shares,
                    f"{100 * halved / sweeps:.0f}",
                    f"{word} {percent(most, sweeps)}" if most else "none",
                ]
            )
            found.claims[WRONG].append(bool(most <= stats.binom.ppf(SURE, sweeps, ALPHA)))
            if regret in LARGE:
                found.claims[COSTS].append(bool(words["FAILS"] >= stats.binom.ppf(1 - SURE, sweeps, FOUND)))


def check_power(found: Found, rng: np.random.Generator, setting: Setting, *, looks: int, sweeps: int) -> None:
    """The first look, native clearly ahead: the distances of `resolvable`, and the seeds that no regret needs."""
    level = LEVELS[looks][0]
    distance = resolvable(setting.sd, setting.count, level=level)
    enough = seeds_needed(setting.sd, setting.margin, level=level)
    assert enough is not None
    for one, seeds, regret, wanted in (
        ("TRANSFERS", setting.count, setting.margin - distance, "80"),
        ("FAILS", setting.count, setting.margin + distance, "80"),
        ("TRANSFERS", enough, 0.0, "80 or more"),
    ):
        clear = 5 * setting.margin
        drawn = draw(rng, setting, Truth(clear, clear, regret), sweeps=sweeps, seeds=seeds)
        right = sum(_verdict(sweep, setting.margin, level).word == one for sweep in drawn.tolist())
        found.power.append([setting.name, f"{level:.4f}", seeds, f"{regret:+.2f}", one, wanted, percent(right, sweeps)])
        low, high = stats.binom.ppf(1 - SURE, sweeps, 0.8 - NEAR), stats.binom.ppf(SURE, sweeps, 0.8 + NEAR)
        found.claims[POWER].append(bool(low <= right and (right <= high or wanted != "80")))


def percent(count: int, sweeps: int) -> str:
    """A share in percent with its exact 95 % binomial interval."""
    interval = stats.binomtest(count, sweeps).proportion_ci(0.95)
    return f"{100 * count / sweeps:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def page(found: Found, *, sweeps: int, origin: Origin) -> str:
    """The section, as Markdown."""
    settings = [
        [
            one.name,
            f"{one.count} {one.unit}",
            one.margin,
            f"{math.hypot(one.shared_sd, one.arm_sd):.2f}",
            f"{one.sd:.2f}",
        ]
        for one in SETTINGS
    ]
    heads = ["setting", "looks", "gain", "regret", *(f"{one} %" for one in WORDS), "half of the gain applied %"]
    parts = [
        str(origin),
        f"{sweeps:,} simulated sweeps for each row, nothing trained. {_METHOD}",
        table(["setting", "per look", "margin", "sd of an arm", "sd of native - best"], settings),
        table([*heads, "most frequent wrong word %"], found.planted),
        "The first look, where native gains 5 margins: how often the regrets are found that the report calls"
        " resolvable, with the seeds that it asks for.",
        table(["setting", "level", "n", "true regret", "word", "predicted %", "found %"], found.power),
        _BOUNDS,
        "\n".join(
            f"- {claim}: **{'holds' if all(rows) else 'does not hold'}** ({sum(rows)} of {len(rows)})"
            for claim, rows in found.claims.items()
        ),
    ]
    return "\n\n".join(parts)


def measure(*, sweeps: int) -> Found:
    """All tables and claims, from a fixed seed."""
    found, rng = Found(), np.random.default_rng(SEED)
    for check in (check_planted, check_power):
        for setting in SETTINGS:
            for looks in LOOKS:
                check(found, rng, setting, looks=looks, sweeps=sweeps)
    return found


def _verdict(sweep: Sequence[Sequence[float]], margin: float, level: float) -> Verdict:
    arms = {arm: dict(enumerate(scores)) for arm, scores in zip(ARMS[: len(sweep)], sweep, strict=True)}
    verdict = decide(arms, margin=margin, level=level)
    assert verdict is not None
    return verdict


_METHOD = f"""Accuracies are normal, with a part that the
arms of one search, or of one seed, share and a part of each arm; the noise of quick is that of its searches replayed on
the recorded surface of CIFAR-10, that of full is assumed to be half of it. `gain`: points that native lies above no
distillation; above random it lies half as far. `regret`: points that best lies below native; where it equals the gain,
best stands for no distillation at all. Looks are decided at
{" and ".join(", ".join(map(str, LEVELS[looks])) for looks in LOOKS)}; while a look says neither TRANSFERS nor FAILS, as
many searches or seeds are added. A word is wrong where the truth is on the other side of the margin that applied, or on
it; FLAT where one of the three differences is a margin or more. Shares in percent [exact 95 % binomial interval]."""

_BOUNDS = f"""A claim holds in a row if the count stays within the {100 * SURE:.1f} % binomial bound of its share; a
power may be {100 * NEAR:.0f} points off besides, since its prediction is an approximation."""


def main() -> int:
    """Simulate, write the section, print it; 0 all claims hold, 1 one does not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=2000, metavar="N", help="for each row (default: 2000)")
    parser.add_argument("--page", type=Path, default=RESULTS, metavar="FILE", help="default: bench/results/results.md")
    options = parser.parse_args()
    if options.sweeps < 1:
        parser.error(f"--sweeps: got {options.sweeps}, allowed is a whole number >= 1")
    origin = Origin()
    found = measure(sweeps=options.sweeps)
    text = page(found, sweeps=options.sweeps, origin=origin)
    write_section("Verdicts", text, path=options.page)
    print(text)
    return 0 if all(map(all, found.claims.values())) else 1


if __name__ == "__main__":
    sys.exit(main())
