"""Does the verdict keep its promises? Simulated sweeps, nothing trained.

    python bench/null.py [--sweeps N]

Draws the test accuracies of the four arms with the noise of real sweeps and asks `sweeps.stats.verdict.decide` for
its word.
Three claims: where nothing differs, TRANSFERS and FAILS together come at most in 5 % of sweeps; where the true regret
is the margin itself, so does each of them; and the seeds and the smallest regrets that a report names are those that
are found with 80 % power. Writes the section "Verdicts" of bench/results/results.md;
exit code 1 if a claim does not hold.
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import stats

from support.page import RESULTS, Origin, table, write_section
from sweeps.stats.estimates import resolvable, seeds_needed
from sweeps.stats.verdict import WORDS, decide

ARMS = ("native", "best", "scratch", "random")
ALPHA = 0.05  # over all looks
LOOKS = (1, 3)
CLEAR = 5  # margins that native is above scratch and random where an effect is planted
NEAR = 0.02  # the power is predicted by an approximation that is good to about two points
SURE = 0.999  # of the binomial bounds: a page has some twenty of them
SEED = 20_260_101
NOTHING, EDGE, POWER = CLAIMS = (
    "where nothing differs, TRANSFERS and FAILS together come in no more than 5 % of sweeps",
    "where the true regret is the margin, TRANSFERS comes in no more than 5 % and FAILS in no more than 5 %",
    "regrets as far from the margin as `resolvable` says, and no regret with `seeds_needed`, are found with 80 % power",
)


@dataclass(frozen=True)
class Setting:
    """A preset's comparison on the target; all in points of test accuracy.

    seeds: of each arm, added at every look. seed_sd: what the arms of one repeat share. arm_sd: what each has for
    itself, so that one arm's sd is sqrt(seed_sd**2 + arm_sd**2), and that of a paired difference sqrt(2) * arm_sd.
    """

    name: str
    seeds: int
    margin: float
    seed_sd: float
    arm_sd: float

    @property
    def sd(self) -> float:
        """Of the paired differences."""
        return math.sqrt(2) * self.arm_sd


SETTINGS = (
    Setting("quick", 10, 1.0, 0.73, 0.69),  # as recorded on CIFAR-10: an arm 1.0, native - best 0.97
    Setting("full", 30, 0.3, 0.365, 0.345),  # assumed, not recorded: half the noise of quick
)


@dataclass
class Found:
    """The tables' rows, and for each claim whether it holds in each row that it is about."""

    null: list[list[object]] = field(default_factory=list)
    planted: list[list[object]] = field(default_factory=list)
    power: list[list[object]] = field(default_factory=list)
    claims: dict[str, list[bool]] = field(default_factory=lambda: {claim: [] for claim in CLAIMS})


def draw(
    rng: np.random.Generator, setting: Setting, *, sweeps: int, seeds: int, regret: float = 0.0, above: float = 0.0
) -> np.ndarray:
    """Test accuracies, points, shape (sweeps, arms, seeds): best is `regret` below native, the others `above` below."""
    expected = 70.0 - np.array([0.0, regret, above, above])
    shared = rng.normal(0, setting.seed_sd, (sweeps, 1, seeds))
    return expected[:, None] + shared + rng.normal(0, setting.arm_sd, (sweeps, len(ARMS), seeds))


def last_words(accuracies: np.ndarray, setting: Setting, *, looks: int) -> Counter[str]:
    """How often each word is the last one.

    After every look that says neither TRANSFERS nor FAILS as many seeds are added, until the looks are used up. Also
    after FLAT, where a user need not go on: who does has more chances to be wrong.
    """
    counts: Counter[str] = Counter()
    for sweep in accuracies.tolist():
        word = ""
        for look in range(1, looks + 1):
            word = _word([scores[: look * setting.seeds] for scores in sweep], setting.margin, ALPHA / looks)
            if word in ("TRANSFERS", "FAILS"):
                break
        counts[word] += 1
    return counts


def decided(accuracies: np.ndarray, setting: Setting, *, looks: int, rivals: int) -> int:
    """How many end with TRANSFERS or FAILS, if each of `rivals` is beaten at level / rivals: 2 is the rule, 1 is not.

    The arithmetic of `decide` once more and apart from it, over all sweeps at a time.
    """
    ended = np.zeros(len(accuracies), dtype=bool)
    for look in range(1, looks + 1):
        n = look * setting.seeds
        differences = accuracies[:, :1, :n] - accuracies[:, 1:, :n]  # native - best, - scratch, - random
        mean, error = differences.mean(axis=2), differences.std(axis=2, ddof=1) / math.sqrt(n)
        half = stats.t.isf(ALPHA / looks, n - 1) * error[:, 0]
        beats = mean[:, 1:] - stats.t.isf(ALPHA / looks / rivals, n - 1) * error[:, 1:] > 0
        ended |= beats.any(axis=1) & (np.abs(mean[:, 0] - setting.margin) > half)
    return int(ended.sum())


def check_null(found: Found, rng: np.random.Generator, setting: Setting, *, looks: int, sweeps: int) -> None:
    """All arms have the same expectation."""
    accuracies = draw(rng, setting, sweeps=sweeps, seeds=setting.seeds * looks)
    counts = last_words(accuracies, setting, looks=looks)
    wrong = counts["TRANSFERS"] + counts["FAILS"]
    shares = [f"{100 * counts[one] / sweeps:.1f}" for one in WORDS]
    whole = decided(accuracies, setting, looks=looks, rivals=1)
    found.null.append([setting.name, looks, setting.seeds, *shares, percent(wrong, sweeps), percent(whole, sweeps)])
    found.claims[NOTHING].append(_few(wrong, sweeps))


def check_planted(found: Found, rng: np.random.Generator, setting: Setting, *, looks: int, sweeps: int) -> None:
    """Native clearly above scratch and random, and best below it by none to three margins."""
    for share in (0.0, 0.5, 1.0, 2.0, 3.0):
        regret, above = share * setting.margin, CLEAR * setting.margin
        accuracies = draw(rng, setting, sweeps=sweeps, seeds=setting.seeds * looks, regret=regret, above=above)
        counts = last_words(accuracies, setting, looks=looks)
        found.planted.append([setting.name, looks, f"{regret:.2f}", *(percent(counts[one], sweeps) for one in WORDS)])
        if share == 1.0:
            found.claims[EDGE] += [_few(counts[one], sweeps) for one in ("TRANSFERS", "FAILS")]


def check_power(found: Found, rng: np.random.Generator, setting: Setting, *, looks: int, sweeps: int) -> None:
    """One look at its level: the distances of `resolvable` from the margin, and the seeds that no regret needs."""
    level = ALPHA / looks
    distance = resolvable(setting.sd, setting.seeds, level=level)
    enough = seeds_needed(setting.sd, setting.margin, level=level)
    assert enough is not None
    for one, seeds, regret, wanted in (
        ("TRANSFERS", setting.seeds, setting.margin - distance, "80"),
        ("FAILS", setting.seeds, setting.margin + distance, "80"),
        ("TRANSFERS", enough, 0.0, "80 or more"),
    ):
        accuracies = draw(rng, setting, sweeps=sweeps, seeds=seeds, regret=regret, above=CLEAR * setting.margin)
        right = sum(_word(sweep, setting.margin, level) == one for sweep in accuracies.tolist())
        found.power.append([setting.name, f"{level:.4f}", seeds, f"{regret:+.2f}", one, wanted, percent(right, sweeps)])
        low, high = stats.binom.ppf(1 - SURE, sweeps, 0.8 - NEAR), stats.binom.ppf(SURE, sweeps, 0.8 + NEAR)
        found.claims[POWER].append(bool(low <= right and (right <= high or wanted != "80")))


def percent(count: int, sweeps: int) -> str:
    """A share in percent with its exact 95 % binomial interval."""
    interval = stats.binomtest(count, sweeps).proportion_ci(0.95)
    return f"{100 * count / sweeps:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def page(found: Found, *, sweeps: int, origin: Origin) -> str:
    """The section, as Markdown."""
    words = [f"{one} %" for one in WORDS]
    settings = [
        [one.name, one.seeds, one.margin, f"{math.hypot(one.seed_sd, one.arm_sd):.2f}", f"{one.sd:.2f}"]
        for one in SETTINGS
    ]
    null_heads = ["preset", "looks", "seeds per look", *words, "TRANSFERS or FAILS %", "by the rule not taken %"]
    parts = [
        str(origin),
        f"{sweeps:,} simulated sweeps for each row, nothing trained. {_METHOD}",
        table(["preset", "seeds per look", "margin", "sd of an arm", "sd of native - best"], settings),
        "Nothing differs: all arms have the same expectation.",
        table(null_heads, found.null),
        _UNSHARED,
        f"Native is {CLEAR} margins above scratch and random, and best lies below it by the true regret, points.",
        table(["preset", "looks", "true regret", *words], found.planted),
        "One look: how often the regrets are found that the report calls resolvable, with the seeds it asks for.",
        table(["preset", "level", "seeds", "true regret", "word", "predicted %", "found %"], found.power),
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
    for check in (check_null, check_planted, check_power):
        for setting in SETTINGS:
            for looks in LOOKS:
                check(found, rng, setting, looks=looks, sweeps=sweeps)
    return found


def _word(sweep: Sequence[Sequence[float]], margin: float, level: float) -> str:
    arms = {arm: dict(enumerate(scores)) for arm, scores in zip(ARMS, sweep, strict=True)}
    verdict = decide(arms, margin=margin, level=level)
    assert verdict is not None
    return verdict.word


def _few(count: int, sweeps: int) -> bool:
    """Whether so many are no more than chance makes of a true share of ALPHA."""
    return bool(count <= stats.binom.ppf(SURE, sweeps, ALPHA))


_METHOD = f"""Accuracies are normal, with a part that the arms
of one repeat share and a part of each arm; the noise of quick is what its CIFAR-10 arms showed, that of full is assumed
to be half of it. Each look is decided at {ALPHA} / looks, and while it says neither TRANSFERS nor FAILS as many seeds
are added. Shares in percent [exact 95 % binomial interval]."""

_UNSHARED = """The rule not taken says FLAT only if native beats neither scratch nor random at the whole level each: two
chances to be lucky, and best is then mostly within the margin. So the two share the level (Bonferroni)."""

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
