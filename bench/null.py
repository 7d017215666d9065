"""Do the advice and the words keep their promises? Simulated sweeps, nothing trained.

    python bench/null.py [--sweeps N] [--only PART]

First the advice of rule 3 (support/advice.py): section "Advice" of bench/results/results.md. Then what `kd-sweeps
judge` calls an improvement (support/judge.py): section "Judge". Then the words of sweeps that declared rule 2: draws
the test accuracies of the arms and asks for the word of `sweeps.stats.verdict.decide`. With
normal noise as large as that of real sweeps: native gains 0 to 5 margins over no distillation, and the transferred
point lies 0 to 5 points below native; or the gain is half a point, of which the transferred point keeps all to nothing.
With the noise of the recorded surfaces, which is skewed and exactly 0 where both searches choose the same point: whole
sweeps of preset quick as it then was, their mean regret planted. Section "Verdicts", the worst rows first; exit code 1
if a claim does not hold.
"""

import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from scipy import stats

from support import advice, judge
from support.page import Origin, make_parser, percent, table, write_section
from support.surfaces import FOLDER, Array, Choice, Sweeps, planted, read_surface, world
from sweeps.stats.estimates import resolvable, seeds_needed, t_quantile
from sweeps.stats.verdict import FEWEST_SEARCHES, KEPT, LEVELS, WORDS, Arms, Verdict, decide

RULE = 2  # the words of rule 3 are those of the advice
ARMS = ("native", "best", "scratch", "random")
ALPHA = 0.05  # over all looks
LOOKS = (1, 3)
GAINS = (0.0, 0.5, 1.0, 1.5, 5.0)  # margins that native gains over scratch; over random half as much
REGRETS = (0.0, 0.5, 1.0, 1.5)  # margins that best lies below native
LARGE = (3.0, 5.0)  # the same in points
FOUND = 0.95  # share of FAILS that large regrets need
SMALL_GAIN, SMALL_GAIN_SD = 0.5, 0.19  # points, the sd between searches: as found on Fashion-MNIST with preset quick
SPREADS = (0.08, 0.15, 0.25)  # the sd of the regret between searches, points
KEEPS = (1.0, 0.75, 0.5, 0.25, 0.0)  # shares of the small gain that best keeps
SURFACES = ("mnist", "cifar10")  # source and target
PLANTED = (None, 0.0, 0.5, 1.0, 1.5)  # margins that quick loses on the surfaces; None: as recorded
KNOWN, COVERED = 0.15, 0.85  # what this rule is known to reach on the surfaces; the next one has to come to 5 and 95 %
NEAR = 0.03  # the power is predicted by an approximation, three points off with five units at 1 %
SURE = 0.999  # of the binomial bounds: a page has a hundred of them
SEED = 20_260_101
WRONG, COSTS, POWER, BESIDE, DRAWN = CLAIMS = (
    "with normal noise no wrong word comes in more than 5 % of sweeps",
    f"where best lies {LARGE[0]:g} points or more below native, FAILS comes in {100 * FOUND:.0f} % or more",
    "regrets as far from the margin as `resolvable` says, and no regret with `seeds_needed`, are found with 80 % power",
    "FLAT is never said beside a proven gain",
    f"on the recorded surfaces, where 5 % is not kept yet, no wrong word comes in more than {100 * KNOWN:.0f} %, and"
    f" the 95 % interval holds the truth in {100 * COVERED:.0f} % or more",
)

Ending: TypeAlias = tuple[str, bool, bool]
"""The last word of a sweep, whether half of native's gain was the margin that applied, and whether it was proven."""


@dataclass(frozen=True)
class Setting:
    """A comparison on the target; all in points of test accuracy.

    unit, count: what the verdict counts, searches or seeds, and how many are added at every look. shared_sd: what the
    arms of one unit share. arm_sd: what each has for itself, so that one arm's sd is sqrt(shared_sd**2 + arm_sd**2),
    and that of a paired difference sqrt(2) * arm_sd.
    """

    name: str
    unit: str
    count: int
    margin: float
    shared_sd: float
    arm_sd: float

    @property
    def sd(self) -> float:
        return math.sqrt(2) * self.arm_sd

    @property
    def arms(self) -> tuple[str, ...]:
        """Those that the verdict sees; random belongs to no search."""
        return ARMS[:3] if self.unit == "searches" else ARMS


SETTINGS = (
    # As replayed on the recorded surface of CIFAR-10: between searches 0.31, a pair of seeds 0.44, four of them each.
    Setting("quick", "searches", 5, 1.0, 0.23, 0.27),
    Setting("one search", "seeds", 8, 1.0, 0.46, 0.31),
)


@dataclass(frozen=True)
class Truth:
    """What is planted, in points: native over scratch, native over random, native over best."""

    gain: float
    over_random: float
    regret: float

    def makes_wrong(self, ending: Ending, margin: float) -> bool:
        """Return whether that word is wrong here, at the declared margin or at half of the gain, whichever applied."""
        word, halved, proven = ending
        edge = min(margin, KEPT * self.gain) if halved else margin
        if word == "TRANSFERS":
            return self.regret >= edge
        if word == "FAILS":
            return self.regret <= edge
        return word == "FLAT" and (proven or max(self.gain, self.over_random, self.regret) >= margin)


@dataclass
class Result:
    """The tables' rows, and for each claim whether it holds in each row that it is about.

    wrong, coverage: the share of the most frequent wrong word, and of the 95 % intervals that hold the truth, by row.
    """

    drawn: list[list[object]] = field(default_factory=list)
    small: list[list[object]] = field(default_factory=list)
    planted: list[list[object]] = field(default_factory=list)
    power: list[list[object]] = field(default_factory=list)
    claims: dict[str, list[bool]] = field(default_factory=lambda: {claim: [] for claim in CLAIMS})
    wrong: dict[str, float] = field(default_factory=dict)
    coverage: dict[str, float] = field(default_factory=dict)


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
    for look, level in enumerate(LEVELS[RULE][looks], start=1):
        ends = judged(accuracies[..., : look * setting.count], setting.margin, level)
        decided = np.array([look == looks or word in ("TRANSFERS", "FAILS") for word, *_ in ends], bool)
        counts.update(end for end, last in zip(ends, decided, strict=True) if last)
        accuracies = accuracies[~decided]
    return counts


def judged(accuracies: np.ndarray, margin: float, level: float) -> list[Ending]:
    """What `decide` says of each sweep, of all of them at once; a test compares both."""
    native, best, scratch = accuracies[:, 0], accuracies[:, 1], accuracies[:, 2]
    rivals = accuracies[:, :1] - accuracies[:, 2:]
    beats, within = _bounds(rivals, level / rivals.shape[1])[0], _bounds(rivals, level)[1]
    gains = native - scratch
    proven = (beats[:, 0] > 0) | (_bounds(gains, 0.025)[0] > 0)
    halved = (beats[:, 0] > 0) & (KEPT * gains.mean(axis=-1) < margin)
    beyond = np.where(halved[:, None], native - best - KEPT * gains, native - best - margin)
    low, high = _bounds(beyond, level)
    inside = _bounds(native - best, level)[1] < margin
    words = np.select(
        [low > 0, (high < 0) & inside & (beats > 0).any(axis=1), ~proven & inside & (within < margin).all(axis=1)],
        ["FAILS", "TRANSFERS", "FLAT"],
        "UNDECIDED",
    )
    return list(zip(words.tolist(), halved.tolist(), proven.tolist(), strict=True))


def _bounds(values: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    n = values.shape[-1]
    half = t_quantile(1 - level, n - 1) * values.std(axis=-1, ddof=1) / math.sqrt(n)
    return values.mean(axis=-1) - half, values.mean(axis=-1) + half


def check_planted(result: Result, rng: np.random.Generator, setting: Setting, *, looks: int, sweeps: int) -> None:
    """Every gain of native with every regret of best."""
    for gain in GAINS:
        for regret in (*(share * setting.margin for share in REGRETS), *LARGE):
            truth = Truth(gain * setting.margin, gain * setting.margin / 2, regret)
            drawn = draw(rng, setting, truth, sweeps=sweeps, seeds=setting.count * looks)
            counts = endings(drawn, setting, looks=looks)
            row: list[object] = [setting.name, looks, f"{truth.gain:.2f}", f"{regret:.2f}"]
            words = _add(result, result.planted, row, counts, truth, setting.margin)
            if regret in LARGE:
                result.claims[COSTS].append(bool(words["FAILS"] >= stats.binom.ppf(1 - SURE, sweeps, FOUND)))


def check_small(result: Result, rng: np.random.Generator, setting: Setting, *, looks: int, sweeps: int) -> None:
    """A gain of less than the margin, of which best keeps a part: half of the gain is the margin, once it is proven."""
    for spread in SPREADS:
        for keeps in KEEPS:
            truth = Truth(SMALL_GAIN, 0.0, (1 - keeps) * SMALL_GAIN)
            shape = (sweeps, setting.count * looks)
            native = np.full(shape, 70.0)
            best = native - rng.normal(truth.regret, spread, shape)
            scratch = native - rng.normal(truth.gain, SMALL_GAIN_SD, shape)
            counts = endings(np.stack([native, best, scratch], axis=1), setting, looks=looks)
            row: list[object] = [f"gain {SMALL_GAIN:g}", looks, f"{spread:.2f}", f"{100 * keeps:.0f} %"]
            _add(result, result.small, row, counts, truth, setting.margin)


def _add(
    result: Result, rows: list[list[object]], row: list[object], counts: Counter[Ending], truth: Truth, margin: float
) -> dict[str, int]:
    """Complete a row with what is counted, add it, and hold it against the claims; how often each word comes."""
    sweeps = counts.total()
    words = {word: sum(n for ending, n in counts.items() if ending[0] == word) for word in WORDS}
    wrong: Counter[str] = Counter()
    for ending, number in counts.items():
        wrong[ending[0]] += number * truth.makes_wrong(ending, margin)
    word, most = wrong.most_common(1)[0]
    halved = sum(n for (_, half, _), n in counts.items() if half)
    shares = [f"{100 * words[each] / sweeps:.1f}" for each in WORDS]
    rows.append([*row, *shares, f"{100 * halved / sweeps:.0f}", f"{word} {percent(most, sweeps)}" if most else "none"])
    result.claims[WRONG].append(bool(most <= stats.binom.ppf(SURE, sweeps, ALPHA)))
    result.claims[BESIDE].append(not sum(n for (last, _, proven), n in counts.items() if last == "FLAT" and proven))
    result.wrong[f"normal noise, {', '.join(map(str, row))}: {word}"] = most / sweeps
    return words


def check_drawn(result: Result, setting: Setting, *, sweeps: int) -> None:
    """Whole sweeps from the recorded surfaces, by the word at the margin and by a margin that is the true regret."""
    source, target = (world(read_surface(FOLDER / f"surface-{name}.csv")) for name in SURFACES)
    drawn = Sweeps(target, sweeps=sweeps, searches_each=setting.count * max(LOOKS), seed=SEED)
    for margins in PLANTED:
        lost = None if margins is None else margins * setting.margin
        best = drawn.best(source if lost is None else planted(drawn, source, lost, first=setting.count))
        regrets = drawn.regrets(best)
        name = "recorded" if lost is None else f"{margins:g} margins"
        for looks in LOOKS:
            _add_drawn(result, drawn, best, regrets, setting, name=name, looks=looks)


def _add_drawn(
    result: Result, drawn: Sweeps, best: list[Choice], regrets: Array, setting: Setting, *, name: str, looks: int
) -> None:
    truths = [float(regrets[:, : look * setting.count].mean()) for look in range(1, looks + 1)]
    truth, sweeps = Truth(drawn.gain, 0.0, truths[0]), len(regrets)
    wrong: Counter[str] = Counter({"TRANSFERS": 0, "FAILS": 0, "FLAT": 0})
    words, edges, held, beside = Counter[str](), Counter[str](), 0, 0
    means, halves = [], []
    for sweep in range(sweeps):
        arms = drawn.arms(best, sweep)
        verdicts = [
            _decided(arms[: look * setting.count], setting, level)
            for look, level in enumerate(LEVELS[RULE][looks], start=1)
        ]
        look = next((n for n, verdict in enumerate(verdicts) if verdict.word in ("TRANSFERS", "FAILS")), looks - 1)
        last = verdicts[look]
        words[last.word] += 1
        ending = last.word, last.halved, _proven(last)
        wrong[last.word] += truth.makes_wrong(ending, setting.margin)
        beside += last.word == "FLAT" and _proven(last)
        edges[next(filter(None, map(_beyond, verdicts, truths)), "")] += 1
        low, high = last.regret.low, last.regret.high
        assert low is not None
        assert high is not None
        held += low <= truths[look] <= high
        means.append(last.regret.mean)
        halves.append((high - low) / 2)
    del edges[""]  # Counter | Counter keeps the larger count of each word
    word, most = (wrong | edges).most_common(1)[0] if wrong | edges else ("FAILS", 0)
    result.drawn.append(
        [
            name,
            looks,
            f"{truth.regret:+.2f}",
            f"{100 * (regrets[:, : setting.count * looks] == 0).mean():.0f}",
            f"{np.std(means):.2f}",
            f"{np.mean(halves):.2f}",
            percent(held, sweeps),
            *(f"{100 * words[each] / sweeps:.1f}" for each in WORDS),
            *(percent(edges[each], sweeps) for each in ("TRANSFERS", "FAILS")),
            f"{word} {percent(most, sweeps)}",
        ]
    )
    row = f"recorded surfaces, {name}, {looks} look{'s' if looks > 1 else ''}"
    result.wrong[f"{row}: {word}"], result.coverage[row] = most / sweeps, held / sweeps
    kept = most <= stats.binom.ppf(SURE, sweeps, KNOWN) and held >= stats.binom.ppf(1 - SURE, sweeps, COVERED)
    result.claims[DRAWN].append(bool(kept))
    result.claims[BESIDE].append(not beside)


def _beyond(verdict: Verdict, truth: float) -> str:
    """The word that a margin at the true regret would get, which is then wrong; none if the bounds hold it."""
    return "TRANSFERS" if verdict.high < truth else "FAILS" if verdict.low > truth else ""


def check_power(result: Result, rng: np.random.Generator, setting: Setting, *, looks: int, sweeps: int) -> None:
    """The first look, native clearly ahead: the distances of `resolvable`, and the seeds that no regret needs."""
    level = LEVELS[RULE][looks][0]
    distance = resolvable(setting.sd, setting.count, level=level)
    enough = seeds_needed(setting.sd, setting.margin, level=level)
    assert enough is not None
    enough = max(enough, FEWEST_SEARCHES)
    for word, seeds, regret, wanted in (
        ("TRANSFERS", setting.count, setting.margin - distance, "80"),
        ("FAILS", setting.count, setting.margin + distance, "80"),
        ("TRANSFERS", enough, 0.0, "80 or more"),
    ):
        clear = 5 * setting.margin
        drawn = draw(rng, setting, Truth(clear, clear, regret), sweeps=sweeps, seeds=seeds)
        right = sum(ending[0] == word for ending in judged(drawn, setting.margin, level))
        row = [setting.name, f"{level:.4f}", seeds, f"{regret:+.2f}", word, wanted, percent(right, sweeps)]
        result.power.append(row)
        low, high = stats.binom.ppf(1 - SURE, sweeps, 0.8 - NEAR), stats.binom.ppf(SURE, sweeps, 0.8 + NEAR)
        result.claims[POWER].append(bool(low <= right and (right <= high or wanted != "80")))


def page(result: Result, *, sweeps: int) -> str:
    settings: list[list[object]] = []
    for setting in SETTINGS:
        sd_of_arm, per_look = math.hypot(setting.shared_sd, setting.arm_sd), f"{setting.count} {setting.unit}"
        settings.append([setting.name, per_look, setting.margin, f"{sd_of_arm:.2f}", f"{setting.sd:.2f}"])
    words = [f"{word} %" for word in WORDS]
    heads = [*words, "half of the gain applied %", "most frequent wrong word %"]
    parts = [
        f"{sweeps:,} simulated sweeps for each row, nothing trained; looks are decided at {_LEVELS}. The worst rows:",
        "\n".join(f"- {line}" for line in worst(result)),
        "\n".join(
            f"- {claim}: **{'holds' if all(rows) else 'does not hold'}** ({sum(rows)} of {len(rows)})"
            for claim, rows in result.claims.items()
        ),
        _BOUNDS,
        f"### Noise of the recorded surfaces\n\n{_DRAWN}",
        table([*_HEADS, *words, *_EDGES, "most frequent wrong word %"], result.drawn),
        f"### A gain smaller than the margin\n\n{_SMALL}",
        table(["setting", "looks", "sd of the regret", "best keeps", *heads], result.small),
        f"### Normal noise\n\n{_METHOD}",
        table(["setting", "per look", "margin", "sd of an arm", "sd of native - best"], settings),
        table(["setting", "looks", "gain", "regret", *heads], result.planted),
        "The first look, where native gains 5 margins: how often the regrets are found that the report calls"
        " resolvable, with the seeds that it asks for.",
        table(["setting", "level", "n", "true regret", "word", "predicted %", "found %"], result.power),
    ]
    return "\n\n".join(parts)


def worst(result: Result) -> list[str]:
    """The wrong words of more than 5 % of sweeps, at least the worst, and the worst coverage; the worst rows first."""
    ranked = sorted(result.wrong.items(), key=lambda row: -row[1])
    wrong = [row for row in ranked if row[1] > ALPHA] or ranked[:1]
    least, held = min(result.coverage.items(), key=lambda row: row[1])
    lines = [f"{row}, wrong in {100 * share:.1f} %" for row, share in wrong]
    return [*lines, f"{least}: the 95 % interval holds the truth in {100 * held:.1f} %"]


def measure(*, sweeps: int) -> Result:
    result, rng = Result(), np.random.default_rng(SEED)
    check_drawn(result, SETTINGS[0], sweeps=sweeps)
    for looks in LOOKS:
        check_small(result, rng, SETTINGS[0], looks=looks, sweeps=sweeps)
    for check in (check_planted, check_power):
        for setting in SETTINGS:
            for looks in LOOKS:
                check(result, rng, setting, looks=looks, sweeps=sweeps)
    return result


def _decided(searches: Sequence[Arms], setting: Setting, level: float) -> Verdict:
    verdict = decide(searches, margin=setting.margin, level=level, rule=RULE)
    assert verdict is not None
    return verdict


def _proven(verdict: Verdict) -> bool:
    """Whether native is proven better than scratch, by the test of the verdict or by the interval that is shown."""
    gain = verdict.gain
    return verdict.beats.get("scratch", 0.0) > 0 or (gain is not None and gain.low is not None and gain.low > 0)


_LEVELS = " and ".join(", ".join(f"{100 * level:g} %" for level in LEVELS[RULE][looks]) for looks in LOOKS)
_HEADS = ["regret", "looks", "true regret", "same point %", "sd", "half-width", "interval holds the truth %"]
_EDGES = [f"{word} at a margin of the true regret %" for word in ("TRANSFERS", "FAILS")]

_DRAWN = f"""Whole sweeps of preset quick as it was under rule 2, drawn from surface-{SURFACES[0]}.csv and
surface-{SURFACES[1]}.csv: smoothed means, the sample covariance of the recorded seeds, white noise. Both datasets
search the same Sobol points, so both may choose the same one, and the regret of that search is then exactly 0. The mean
regret of the first look is planted: the source's mean is mixed with its mirror image in alpha, or for a smaller regret
with the target's mean. The words are those at the declared margin. Beside them, how often a bound excludes the true
regret: the word that a margin just there would get, and wrongly. `sd` and `half-width` are those of the mean regret and
its 95 % interval at the last look. Shares in percent [exact 95 % binomial interval]."""

_SMALL = f"""Five searches a look, margin 1. Native gains {SMALL_GAIN:g} points, with a standard deviation between
searches of {SMALL_GAIN_SD:g}, as found on Fashion-MNIST; `best` keeps a part of them. Where half of the gain or less is
kept, TRANSFERS is wrong; where half or more, FAILS; FLAT beside a proven gain always."""

_METHOD = """Accuracies are normal, with a part that the
arms of one search, or of one seed, share and a part of each arm; the noise of quick is that of its searches replayed on
the recorded surface of CIFAR-10. `gain`: points that native lies above no
distillation; above random it lies half as far. `regret`: points that best lies below native; where it equals the gain,
best stands for no distillation at all. While a look says neither TRANSFERS nor FAILS, as many searches or seeds are
added. A word is wrong where the truth is on the other side of the margin that applied, or on it; FLAT where one of the
three differences is a margin or more."""

_BOUNDS = f"""A claim holds in a row if the count stays within the {100 * SURE:.1f} % binomial bound of its share; a
power may be {100 * NEAR:.0f} points off besides, since its prediction is an approximation."""


_SWEEPS = f"for each row of the words, and {advice.TIMES} times as many for each of the advice (default: 2000)"


PARTS = ("advice", "judge", "verdicts")


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--sweeps", type=int, default=2000, metavar="N", help=_SWEEPS)
    parser.add_argument("--only", choices=PARTS, metavar="PART", help=f"one of {', '.join(PARTS)} (default: all)")
    options = parser.parse_args()
    if options.sweeps < 1:
        parser.error(f"--sweeps: got {options.sweeps}, allowed is a whole number >= 1")
    claims: dict[str, list[bool]] = {}
    for part in [options.only] if options.only else PARTS:
        origin, many = Origin(), advice.TIMES * options.sweeps
        if part == "advice":
            counted = advice.measure(sweeps=many)
            text, worst_rows, kept = advice.page(counted), [advice.worst(counted)], advice.claims(counted)
        elif part == "judge":
            families = judge.measure(families=many)
            text, worst_rows, kept = judge.page(families), [judge.worst(families)], judge.claims(families)
        else:
            result = measure(sweeps=options.sweeps)
            text, kept = page(result, sweeps=options.sweeps), result.claims
            worst_rows = [
                f"wrong words, worst row = {100 * max(result.wrong.values()):.1f} %",
                f"coverage, worst row = {100 * min(result.coverage.values()):.1f} %",
            ]
        write_section(part.capitalize(), f"{origin}\n\n{text}", path=options.page)
        print("\n".join([text, "", *worst_rows, ""]), flush=True)
        claims |= kept
    return 0 if all(map(all, claims.values())) else 1


if __name__ == "__main__":
    sys.exit(main())
