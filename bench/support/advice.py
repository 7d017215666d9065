"""How often does the advice name a strategy that is truly worse, and how often does it find a cheap one?

Sweeps of `support.strategies` under the rule of `sweeps.stats.advice.advise`; bench/null.py runs it.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from support.page import percent, table
from support.strategies import Drawn, Stage, Wanted
from support.surfaces import Array
from sweeps.distill.presets import preset
from sweeps.stats.advice import GAIN_LEVEL, LEVELS, STRATEGIES, StrategyName, Use, level_of
from sweeps.stats.estimates import FEWEST_RUNS, t_quantile

SHARE = 0.2  # the margin of new sweeps
WRONG = 0.05  # share of sweeps, over all looks and all targets
SURE = 0.999  # level of the binomial bounds
SEED = 20_261_130
CHEAPER = STRATEGIES[:-1]  # all but tuning here
NO_GAIN = 1e-6  # points
COVERED = 0.85
USES: tuple[Use, ...] = ("default", "elsewhere", "here", "untreated")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: planted effects and the looks at them.

    searches: number after each look. targets: number of equal ones. one_dataset: nothing is tuned elsewhere.
    """

    name: str
    wanted: Wanted = field(default_factory=Wanted)
    searches: tuple[int, ...] = ()
    targets: int = 1
    one_dataset: bool = False
    source: str = "mnist"
    target: str = "cifar10"

    @property
    def looks(self) -> tuple[int, ...]:
        return self.searches or (preset("quick").outer.searches,)


def rows() -> tuple[Row, ...]:
    both = Wanted(default=1.0, elsewhere=1.0)
    return (
        Row(name="recorded"),
        Row(name="CIFAR-10 to MNIST", source="cifar10", target="mnist"),
        *(Row(name=f"default {m:g} x the margin", wanted=Wanted(default=m)) for m in (0.5, 1.0, 1.5, 3.0)),
        *(Row(name=f"elsewhere {m:g} x the margin", wanted=Wanted(elsewhere=m)) for m in (0.5, 1.0, 1.5, 3.0)),
        *(Row(name=f"both {m:g} x the margin", wanted=Wanted(default=m, elsewhere=m)) for m in (1.0, 1.5)),
        Row(name="MNIST, both on the margin", wanted=both, source="cifar10", target="mnist"),
        *(Row(name=f"gain {gain:g}, else as recorded", wanted=Wanted(gain=gain)) for gain in (0.5, 0.25, 0.1)),
        *(
            Row(name=f"gain {gain:g}, both on the margin", wanted=Wanted(gain=gain, default=1.0, elsewhere=1.0))
            for gain in (1.0, 0.5, 0.25, 0.1)
        ),
        Row(name="no gain", wanted=Wanted(gain=0.0)),
        Row(name="no gain, both alike", wanted=Wanted(gain=0.0, default=0.0, elsewhere=0.0)),
        Row(name="gain -0.5", wanted=Wanted(gain=-0.5)),
        Row(
            name="two defaults on the margin, the better by validation", wanted=Wanted(default=1.0, second="validation")
        ),
        Row(name="the same, by the test itself, not allowed", wanted=Wanted(default=1.0, second="test")),
        Row(name="undistilled recipe by validation, recorded", wanted=Wanted(recipes=True)),
        Row(name="the same, both on the margin", wanted=Wanted(default=1.0, elsewhere=1.0, recipes=True)),
        *(Row(name=f"{n} targets, both on the margin", wanted=both, targets=n) for n in (2, 3)),
        Row(name="2 targets, elsewhere on the margin", wanted=Wanted(elsewhere=1.0), targets=2),
        Row(name="2 looks, both on the margin", wanted=both, searches=(8, 12)),
        Row(name="3 looks, recorded", searches=(8, 12, 16)),
        Row(name="3 looks, both on the margin", wanted=both, searches=(8, 12, 16)),
        Row(
            name="3 looks, gain 0.5, both on the margin",
            wanted=Wanted(gain=0.5, default=1.0, elsewhere=1.0),
            searches=(8, 12, 16),
        ),
        Row(
            name="MNIST, 3 looks, both on the margin",
            wanted=both,
            source="cifar10",
            target="mnist",
            searches=(8, 12, 16),
        ),
        Row(name="5 searches, both on the margin", wanted=both, searches=(5,)),
        Row(name="13 searches, both on the margin", wanted=both, searches=(13,)),
        Row(name="MNIST, 5 searches, both on the margin", wanted=both, source="cifar10", target="mnist", searches=(5,)),
        Row(name="3 searches, recorded", searches=(3,)),
        Row(name="3 searches, both on the margin", wanted=both, searches=(3,)),
        Row(name="2 searches, both on the margin", wanted=both, searches=(2,)),
        Row(name="one dataset, CIFAR-10", one_dataset=True),
        Row(name="one dataset, MNIST", one_dataset=True, source="cifar10", target="mnist"),
        Row(name="one dataset, default on the margin", wanted=Wanted(default=1.0), one_dataset=True),
        Row(name="margin 0.5 points, both on the margin", wanted=Wanted(default=1.0, elsewhere=1.0, margin=0.5)),
    )


@dataclass(frozen=True, eq=False)
class Advised:
    """The advice in each sweep at one look. use: shape (sweeps,). settled: no cheaper strategy can follow.

    intervals: lower and upper limits of each strategy's share; nan where no gain is shown.
    """

    use: Array
    settled: Array
    intervals: dict[StrategyName, tuple[Array, Array]]


def advised(drawn: Drawn, *, looks: int, look: int, targets: int, margin: float, one_dataset: bool) -> Advised:
    """Return the advice of `advise` for all sweeps at once; a test compares both."""
    means = {use: values.mean(axis=-1) for use, values in drawn.runs.items()}
    gains = means["here"] - means["untreated"]
    sweeps, searches = gains.shape
    enough = searches >= FEWEST_RUNS
    gained = enough & (_bounds(gains, GAIN_LEVEL)[0] > 0) if searches > 1 else np.zeros(sweeps, bool)
    use = np.full(sweeps, "here", object)
    settled = np.full(sweeps, True)
    intervals = {}
    names = [name for name in CHEAPER if not (one_dataset and name == "elsewhere")]
    for name in reversed(names):  # the cheapest last, since it overrules the others
        lost = means["here"] - means[name]
        level = level_of(name, looks=looks, look=look, targets=targets)
        within = worse = np.zeros(sweeps, bool)
        if enough:
            low, high = _bounds(lost - margin if margin else lost - SHARE * gains, level)
            within, worse = gained & (high < 0), (low > 0) & (_bounds(lost, level)[0] > 0)
        use[within] = name
        settled = within | (worse & settled)
        intervals[name] = _fieller(means[name] - means["untreated"], gains, gained)
    if enough:
        use[~gained] = "untreated"
    return Advised(use, settled & gained, intervals)


def _bounds(values: Array, level: float) -> tuple[Array, Array]:
    n = values.shape[-1]
    half = t_quantile(1 - level, n - 1) * values.std(axis=-1, ddof=1) / math.sqrt(n)
    return values.mean(axis=-1) - half, values.mean(axis=-1) + half


def _fieller(tops: Array, bottoms: Array, gained: Array) -> tuple[Array, Array]:
    n = tops.shape[-1]
    top, bottom = tops.mean(axis=-1), bottoms.mean(axis=-1)
    scale = t_quantile(0.975, n - 1) ** 2 / n if n > 1 else math.nan
    apart, below = tops - top[:, None], bottoms - bottom[:, None]
    pairs = ((apart, apart), (below, below), (apart, below))
    aa, bb, ab = (scale * (left * right).sum(axis=-1) / max(n - 1, 1) for left, right in pairs)
    leading, middle = np.where(gained, bottom**2 - bb, math.nan), top * bottom - ab
    root = np.sqrt(np.maximum(0.0, middle**2 - leading * (top**2 - aa)))
    return (middle - root) / leading, (middle + root) / leading


@dataclass
class Counts:
    """The counts of a row.

    lost: true losses of the strategies, as shares of the gain. uses: how often each is advised on the first target.
    wrong: sweeps with an advice, on any target at any look, whose strategy truly loses more than the margin, averaged
    over all sweeps; own: averaged over the searches of that sweep. cheapest: sweeps whose last advice is the cheapest
    good strategy. held: share of the intervals that contain the truth; None where none is shown.
    """

    row: Row
    gain: float
    lost: dict[StrategyName, float]
    uses: dict[Use, int]
    wrong: int
    own: int
    cheapest: int
    held: dict[StrategyName, float | None]
    sweeps: int


def count(row: Row, *, sweeps: int, stage: Stage) -> Counts:
    looks, margin, share = row.looks, row.wanted.margin, SHARE
    wrong, own = np.zeros(sweeps, bool), np.zeros(sweeps, bool)
    for target in reversed(range(row.targets)):  # the first target last: `uses` counts its advice
        drawn = stage.draw(row.wanted, target=target, share=share)
        truth = {name: drawn.lost(name) for name in CHEAPER}
        gains = drawn.lost("untreated")
        gain = float(gains.mean())
        lost = {name: float(values.mean()) for name, values in truth.items()}
        allowed = margin or share * max(gain, 0.0)
        going, last = np.full(sweeps, True), np.full(sweeps, "here", object)
        for look, searches in enumerate(looks, start=1):
            first = drawn.first(searches)
            advice = advised(
                first,
                looks=len(looks),
                look=look,
                targets=row.targets,
                margin=margin,
                one_dataset=row.one_dataset,
            )
            last = np.where(going, advice.use, last)
            for name in CHEAPER:
                named = going & (advice.use == name)
                mine = margin or share * np.maximum(first.lost("untreated").mean(axis=1), 0.0)
                wrong |= named & (lost[name] >= allowed)
                own |= named & (first.lost(name).mean(axis=1) >= mine)
            going = going & ~advice.settled
    good: list[Use] = [name for name in CHEAPER if lost[name] < allowed and name in advice.intervals]
    cheapest: Use = "untreated" if gain <= NO_GAIN else [*good, "here"][0]
    return Counts(
        row=row,
        gain=gain,
        lost={name: value / gain if gain > 0.01 else math.nan for name, value in lost.items()},
        uses={use: int((last == use).sum()) for use in USES},
        wrong=int(wrong.sum()),
        own=int(own.sum()),
        cheapest=int((last == cheapest).sum()),
        held={name: _held(limits, 1 - lost[name] / gain if gain else 0.0) for name, limits in advice.intervals.items()},
        sweeps=sweeps,
    )


def _held(limits: tuple[Array, Array], truth: float) -> float | None:
    low, high = limits
    known = ~np.isnan(low)
    return float(((low <= truth) & (truth <= high))[known].mean()) if known.sum() >= len(low) / 10 else None


def measure(sweeps: int) -> list[Counts]:
    """Count every row; rows of the same datasets and searches share their draws."""
    counted = []
    stage, of = None, None
    for row in sorted(rows(), key=lambda row: (row.source, max(row.looks))):
        key = row.source, row.target, max(row.looks)
        if stage is None or key != of:
            stage, of = Stage(row.source, row.target, sweeps=sweeps, searches=key[2], seed=SEED), key
        counted.append(count(row, sweeps=sweeps, stage=stage))
    order = {row.name: number for number, row in enumerate(rows())}
    return sorted(counted, key=lambda counts: order[counts.row.name])


def worst(counted: list[Counts]) -> str:
    return f"wrong advice, worst row = {100 * max(counts.wrong / counts.sweeps for counts in counted):.1f} %"


def claims(counted: list[Counts]) -> dict[str, list[bool]]:
    """Return for each claim whether it holds, in each row that it concerns."""
    gainless = [counts for counts in counted if counts.row.wanted.gain is not None and counts.gain <= NO_GAIN]
    held = [(share, counts.sweeps) for counts in counted for share in counts.held.values() if share is not None]
    return {
        f"a strategy that truly loses more than the margin is advised in at most {100 * WRONG:.0f} % of sweeps": [
            bool(counts.wrong <= stats.binom.ppf(SURE, counts.sweeps, WRONG)) for counts in counted
        ],
        f"where there is no gain, no treatment is advised in {100 * (1 - WRONG):.0f} % or more": [
            bool(counts.uses["untreated"] >= stats.binom.ppf(1 - SURE, counts.sweeps, 1 - WRONG)) for counts in gainless
        ],
        f"the 95 % interval of a share holds the truth in {100 * COVERED:.0f} % or more": [
            bool(share * sweeps >= stats.binom.ppf(1 - SURE, sweeps, COVERED)) for share, sweeps in held
        ],
    }


def page(counted: list[Counts]) -> str:
    kept = "\n".join(
        f"- {claim}: **{'holds' if all(held) else 'does not hold'}** ({sum(held)} of {len(held)})"
        for claim, held in claims(counted).items()
    )
    lines: list[list[object]] = []
    for counts in counted:
        row, lost, held = counts.row, counts.lost, counts.held
        lines.append(
            [
                row.name,
                ", ".join(map(str, row.looks)),
                f"{counts.gain:.2f}",
                *(_percent(lost[name]) if name in held else "-" for name in CHEAPER),
                *(f"{100 * counts.uses[use] / counts.sweeps:.1f}" for use in USES),
                f"{100 * counts.cheapest / counts.sweeps:.1f}",
                percent(counts.wrong, counts.sweeps),
                f"{100 * counts.own / counts.sweeps:.1f}",
                *(_percent(held.get(name)) for name in CHEAPER),
            ]
        )
    sweeps, levels = counted[0].sweeps, ", ".join(f"{name} {100 * LEVELS[name]:g} %" for name in CHEAPER)
    head = f"**{worst(counted)}**. {sweeps:,} simulated sweeps for each row, nothing trained; levels: {levels}."
    return "\n\n".join((head, kept, _METHOD, table(HEADS, lines)))


HEADS = [
    *("world", "searches", "gain, points", "default truly loses, % of the gain", "elsewhere truly loses, %"),
    *(f"advised {use} %" for use in USES),
    *("advised the cheapest good one %", "wrong %", "wrong by the sweep's own truth %"),
    *("interval of default's share holds the truth %", "of elsewhere's %"),
]
_METHOD = f"""Whole sweeps of the design of preset quick, drawn from surface-mnist.csv (source) and
surface-cifar10.csv (target; where a row says MNIST, the other way round): smoothed means, the sample covariance of
the recorded seeds, white noise. The default races in every confirm, and both datasets search the same points, so that
two strategies may be one training. Planted are the default's accuracy on the target, the source's mean, mixed with
its mirror image in alpha or with the target's, and the accuracy without a teacher. The margin is {100 * SHARE:.0f} %
of the gain. A strategy on the margin loses exactly that, and to advise it counts as wrong. The truth is the mean over
all sweeps of a row; by the sweep's own truth, that of the points which its searches chose. With several looks a user
goes on until nothing cheaper can come; an advice at any of them, and on any target, counts as wrong; the other
columns are the last look, of the first target. Shares in percent [exact 95 % binomial interval]; a claim holds in a
row within the {100 * SURE:.1f} % binomial bound."""


def _percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"
