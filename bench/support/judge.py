"""How often does `judge` call a setting better that is not, and how often does it find a better one?

Runs of families of settings are drawn at random, nothing is trained. The results of `sweeps.stats.baseline.against` are
computed for all families at once; a test compares both.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from support.page import FOLDER, percent, table
from support.strategies import Stage, Wanted
from support.surfaces import Array, read_surface
from sweeps.stats.baseline import LEAST_SPREAD, LEVEL
from sweeps.stats.estimates import FEWEST_RUNS

SETTINGS = (1, 5, 20)
SEEDS = (2, 3, 5, 10, 20)
WRONG = 0.05  # share of families
SURE = 0.999  # level of the binomial bounds
SEED = 20_261_201
DATASETS = 4
POOL = 2000  # sweeps whose searches are drawn from
LOSSES = (0.25, 1.0)  # sds of a difference by which every setting is truly worse
LEADS = (0.5, 1.0, 2.0, 3.0)  # sds by which the first setting is truly better; the others are as good
COVERED = 0.9
PLAIN = {"level": 0.05, "least": 0.0}  # the rule without its two safeguards

Draw = Callable[[np.random.Generator, int, int, int], Array]
"""Differences to the baseline of truly equal settings: families, settings, seeds -> (families, settings, pairs)."""


@dataclass(frozen=True, eq=False)
class World:
    """A distribution of differences between paired runs. sd: of one difference."""

    name: str
    draw: Draw
    sd: float = 1.0


@dataclass(frozen=True, eq=False)
class Family:
    """The counts of one row. wrong: families in which a setting is called better that is not.

    right: families in which the first setting, truly better, is called so. plain_wrong, plain_right: the same by PLAIN.
    held: share of the intervals that contain the truth.
    """

    world: str
    settings: int
    seeds: int
    effect: str
    wrong: int
    right: int | None
    plain_wrong: int
    plain_right: int | None
    held: float
    families: int


@dataclass(frozen=True, eq=False)
class Called:
    """Which settings are called better, and the limits of the intervals; shape (families, settings)."""

    better: Array
    low: Array
    high: Array


def called(
    mean: Array, sd: Array, pairs: int, df: Array | int, *, level: float = LEVEL, least: float = LEAST_SPREAD
) -> Called:
    """Return the results of `against` for mean differences with standard error sd / sqrt(pairs)."""
    settings = mean.shape[1]
    if pairs < FEWEST_RUNS:
        nothing = np.full(mean.shape, np.nan)
        return Called(np.zeros(mean.shape, bool), nothing, nothing)
    sd = np.maximum(sd, least * np.median(sd, axis=1, keepdims=True))
    alike = sd <= 1e-9
    error = np.where(alike, 1.0, sd / math.sqrt(pairs))
    p = np.where(alike, 2.0, 2 * stats.t.sf(np.abs(mean) / error, df))  # untested settings sort last
    tested = settings - alike.sum(axis=1, keepdims=True)
    order = np.argsort(p, axis=1)
    ordered = np.take_along_axis(p, order, axis=1) * np.maximum(tested - np.arange(settings), 1)
    adjusted = np.empty_like(ordered)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(ordered, axis=1), axis=1)
    half = np.where(alike, np.nan, stats.t.ppf(0.975, df) * error)
    return Called((adjusted < level) & (mean > 0) & ~alike, mean - half, mean + half)


def worlds() -> tuple[World, ...]:
    recorded = [
        World(f"recorded seeds, {name}", _recorded_seeds(name), _seed_sd(name)) for name in ("cifar10", "mnist")
    ]
    searches = []
    for source, target in (("mnist", "cifar10"), ("cifar10", "mnist")):
        pool = _pool(source, target)
        zero, skew = 100 * float((pool == 0).mean()), float(stats.skew(pool))
        name = f"recorded searches, {source} to {target}: {zero:.0f} % exactly 0, skewness {skew:.1f}"
        searches.append(World(name, _from_pool(pool - pool.mean()), float(pool.std())))
    several = World(f"{DATASETS} datasets, whose effects differ by 1 sd and cancel", _several_datasets)
    return World("normal noise", _normal), *recorded, *searches, several


def _normal(rng: np.random.Generator, families: int, settings: int, seeds: int) -> Array:
    runs = rng.standard_normal((families, settings + 1, seeds)) / math.sqrt(2)
    drawn: Array = runs[:, 1:] - runs[:, :1]
    return drawn


def _recorded_seeds(name: str) -> Draw:
    # Each setting and the baseline are recorded (T, alpha); seeds are drawn with replacement from the recorded ones.
    last = 100 * read_surface(FOLDER / f"surface-{name}.csv").last
    runs = (last - last.mean(axis=0)).reshape(len(last), -1)

    def draw(rng: np.random.Generator, families: int, settings: int, seeds: int) -> Array:
        points = rng.integers(runs.shape[1], size=(families, settings + 1, 1))
        drawn = runs[rng.integers(len(runs), size=(families, 1, seeds)), points]
        apart: Array = drawn[:, 1:] - drawn[:, :1]
        return apart

    return draw


def _seed_sd(name: str) -> float:
    return float(_recorded_seeds(name)(np.random.default_rng(SEED), 2000, 5, 5).std())


def _pool(source: str, target: str) -> Array:
    drawn = Stage(source, target, sweeps=POOL, searches=1, seed=SEED).draw(Wanted(), share=0.2)
    apart: Array = (drawn.runs["elsewhere"].mean(axis=-1) - drawn.runs["here"].mean(axis=-1)).ravel()
    return apart


def _from_pool(pool: Array) -> Draw:
    def draw(rng: np.random.Generator, families: int, settings: int, seeds: int) -> Array:
        return pool[rng.integers(len(pool), size=(families, settings, seeds))]

    return draw


def _several_datasets(rng: np.random.Generator, families: int, settings: int, seeds: int) -> Array:
    effects = rng.standard_normal((families, settings, DATASETS, 1))
    noise = _normal(rng, families, settings, DATASETS * seeds).reshape(families, settings, DATASETS, seeds)
    return (noise + effects - effects.mean(axis=2, keepdims=True)).reshape(families, settings, -1)


def unpaired(
    rng: np.random.Generator, families: int, settings: int, seeds: int, times: float
) -> tuple[Array, Array, int, Array]:
    """Draw arguments of `called` without shared seeds, from settings `times` as noisy as the baseline."""
    base = rng.standard_normal((families, 1, seeds))
    runs = times * rng.standard_normal((families, settings, seeds))
    parts = runs.var(axis=-1, ddof=1) / seeds, np.broadcast_to(base.var(axis=-1, ddof=1) / seeds, (families, settings))
    whole = parts[0] + parts[1]
    df = np.maximum(np.floor(whole**2 / sum(part**2 / (seeds - 1) for part in parts)), 1)
    return runs.mean(axis=-1) - base.mean(axis=-1), np.sqrt(whole * seeds), seeds, df


def measure(families: int) -> list[Family]:
    rows = []
    for place, world in enumerate(worlds()):
        for settings in SETTINGS:
            for seeds in SEEDS:
                rng = np.random.default_rng((SEED, place, settings, seeds))
                drawn = world.draw(rng, families, settings, seeds)
                rows += _effects(world, drawn, seeds)
    for times in (1.0, 3.0):
        for settings in SETTINGS:
            for seeds in SEEDS:
                rng = np.random.default_rng((SEED, 100, settings, seeds, int(times)))
                name = f"no seed shared, settings {times:g} times as noisy (Welch)"
                sample = unpaired(rng, families, settings, seeds, times)
                rows.append(_row(name, seeds, "none", called(*sample), called(*sample, **PLAIN), np.zeros(settings)))
    return rows


def _effects(world: World, drawn: Array, seeds: int) -> list[Family]:
    settings, rows = drawn.shape[1], []
    mean, sd = drawn.mean(axis=-1), drawn.std(axis=-1, ddof=1)
    shifts = {"none": np.zeros(settings)}
    shifts |= {f"all {loss:g} sd worse": np.full(settings, -loss * world.sd) for loss in LOSSES}
    shifts |= {f"one {lead:g} sd better": np.eye(1, settings)[0] * lead * world.sd for lead in LEADS}
    for effect, shift in shifts.items():
        sample = mean + shift, sd, drawn.shape[-1], drawn.shape[-1] - 1
        rows.append(_row(world.name, seeds, effect, called(*sample), called(*sample, **PLAIN), shift))
    return rows


def _row(world: str, seeds: int, effect: str, answer: Called, plain: Called, truth: Array) -> Family:
    known = ~np.isnan(answer.low)
    held = (answer.low <= truth) & (truth <= answer.high)
    better = truth > 0
    return Family(
        world=world,
        settings=len(truth),
        seeds=seeds,
        effect=effect,
        wrong=int((answer.better & ~better).any(axis=1).sum()),
        right=int(answer.better[:, 0].sum()) if better.any() else None,
        plain_wrong=int((plain.better & ~better).any(axis=1).sum()),
        plain_right=int(plain.better[:, 0].sum()) if better.any() else None,
        held=float(held[known].mean()) if known.any() else math.nan,
        families=len(answer.better),
    )


def worst(rows: list[Family]) -> str:
    row = max(rows, key=lambda row: row.wrong / row.families)
    return (
        f"a setting wrongly called better, worst row = {100 * row.wrong / row.families:.1f} %"
        f" ({row.world}; {row.settings} settings, {row.seeds} seeds, effect: {row.effect})"
    )


def claims(rows: list[Family]) -> dict[str, list[bool]]:
    """Return for each claim whether it holds, in each row that it concerns."""
    return {
        f"a setting that is no better is called better in at most {100 * WRONG:.0f} % of families": [
            bool(row.wrong <= stats.binom.ppf(SURE, row.families, WRONG)) for row in rows
        ],
        f"the 95 % intervals hold the truth in {100 * COVERED:.0f} % or more": [
            bool(row.held * row.families >= stats.binom.ppf(1 - SURE, row.families, COVERED))
            for row in rows
            if not math.isnan(row.held)
        ],
    }


def _grid(rows: list[Family], key: str, cell: Callable[[Family], str]) -> list[list[object]]:
    """Return a table row for each value of a field and number of settings, with a cell for each number of seeds."""
    return [
        [name, settings, *(cell(row) for row in rows if (getattr(row, key), row.settings) == (name, settings))]
        for name in dict.fromkeys(getattr(row, key) for row in rows)
        for settings in SETTINGS
    ]


def page(rows: list[Family]) -> str:
    kept = "\n".join(
        f"- {claim}: **{'holds' if all(held) else 'does not hold'}** ({sum(held)} of {len(held)})"
        for claim, held in claims(rows).items()
    )
    none, effects = ([row for row in rows if (row.effect == "none") is alike] for alike in (True, False))
    better = [row for row in rows if row.right is not None and row.world == "normal noise"]
    heads = [f"{seeds} seeds" for seeds in SEEDS]

    def share(count: int | None, row: Family) -> str:
        return f"{100 * (count or 0) / row.families:.1f}"

    wrong = _grid(none, "world", lambda row: percent(row.wrong, row.families))
    covered = _grid(none, "world", lambda row: "-" if math.isnan(row.held) else f"{100 * row.held:.1f}")
    plain_wrong = _grid(none, "world", lambda row: share(row.plain_wrong, row))
    power = _grid(better, "effect", lambda row: share(row.right, row))
    plain_power = _grid(better, "effect", lambda row: share(row.plain_right, row))
    return "\n\n".join(
        (
            f"**{worst(rows)}**. {rows[0].families:,} simulated families for each row, nothing trained.",
            kept,
            _METHOD,
            "Families in which a setting is called better though all are as good as the baseline, %"
            " [exact 95 % binomial interval]:",
            table(["noise", "settings", *heads], wrong),
            f"With effects: {worst(effects)}.",
            "Power: how often the one setting is called better that is, the others being as good as the baseline;"
            " normal noise, lead in standard deviations of a paired difference, %:",
            table(["lead", "settings", *heads], power),
            "Intervals that hold the truth, %:",
            table(["noise", "settings", *heads], covered),
            "Without the two safeguards, better below 5 % and every spread as it came out: families in which a setting"
            " is called better though all are as good as the baseline, %:",
            table(["noise", "settings", *heads], plain_wrong),
            "and the power, %:",
            table(["lead", "settings", *heads], plain_power),
        )
    )


_METHOD = f"""Every setting is compared with one baseline, paired by seed; Holm's p over all settings, better below
{100 * LEVEL:g} % two-sided, nothing with fewer than {FEWEST_RUNS} seeds, and no spread counts as less than
{LEAST_SPREAD:g} of the median over the settings. Recorded seeds: each setting and the baseline are recorded (T, alpha)
of a surface with their means taken off, and seeds are drawn with replacement from the twelve that were recorded.
Recorded searches: what a search that was tuned elsewhere scores less than one that was tuned there, drawn for each
setting on its own, its mean taken off; so most of them lie a little above the baseline, and a few far below."""
