"""How often does the word about (T, alpha) hold? Searches replayed on the recorded surfaces, their effect scaled.

    python bench/top.py [--replays N] [SURFACE.csv ...]

Each replay draws Sobol points, seeds and noise from a surface whose cell means were pulled towards their mean: by 0
nothing is left of (T, alpha), by 1 all. Prints how often each word is said beside the true share of the box, and how
often the interval of the share holds the truth. Writes bench/results/results.md, section "Does (T, alpha) matter?".
"""

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
from scipy.stats import qmc

from support.page import Origin, table, write_section
from support.surfaces import Array, Surface, SurfaceError, interpolate, read_surfaces
from sweeps.stats.response import SIDE, WORDS, Run, Top, top

SCALES = (0.0, 0.25, 0.5, 1.0)
SEARCHES = (3, 5, 8)
POINTS, CONFIRMED = 8, 3  # as the further searches of preset quick


def page(surfaces: list[Surface], replays: int, origin: Origin) -> str:
    """Return the section as Markdown."""
    heads = ["dataset", "searches", "effect", "true share", "share", *WORDS, "interval holds the truth"]
    rows = [
        _row(surface, searches, scale, replays)
        for surface, searches, scale in itertools.product(surfaces, SEARCHES, SCALES)
    ]
    return "\n\n".join([str(origin), _METHOD, table(heads, rows)])


def _row(surface: Surface, searches: int, scale: float, replays: int) -> list[str]:
    rng = np.random.default_rng((searches, int(100 * scale)))
    scaled = _scaled(surface, scale)
    found, truths = [], []
    for _ in range(replays):
        result = top(_searched(surface, scaled, searches, rng))
        found.append(result)
        truths.append(_true_share(surface, scaled, result))
    held = np.mean([one.low - 0.02 <= truth <= one.high + 0.02 for one, truth in zip(found, truths, strict=True)])
    words = [one.word for one in found]
    return [
        surface.header["dataset"],
        str(searches),
        f"{scale:g}",
        f"{np.mean(truths):.0%}",
        f"{np.mean([one.share for one in found]):.0%}",
        *(f"{words.count(word) / replays:.0%}" for word in WORDS),
        f"{held:.0%}",
    ]


def _scaled(surface: Surface, scale: float) -> Array:
    """Return the runs, shape (seeds, t, a), in percent, with so much of the effect of the cells."""
    values = 100 * surface.last
    means = values.mean(axis=0)
    scaled: Array = values - (1 - scale) * (means - means.mean())
    return scaled


def _searched(surface: Surface, scaled: Array, searches: int, rng: np.random.Generator) -> list[Run]:
    runs = []
    for search in range(searches):
        first, fresh = rng.permutation(surface.seeds)[:2]
        points = qmc.Sobol(2, scramble=True, rng=rng).random(POINTS)
        scored = sorted((Run(*point, _at(surface, scaled[first], *point), 2 * search) for point in points), key=_score)
        best = scored[-CONFIRMED:]
        runs += [
            *scored,
            *(Run(one.x, one.y, _at(surface, scaled[fresh], one.x, one.y), 2 * search + 1) for one in best),
        ]
    return runs


def _score(run: Run) -> float:
    return run.score


def _at(surface: Surface, values: Array, x: float, y: float) -> float:
    """Return a value at a place in the box, both from 0 to 1."""
    low, high = np.log(surface.temperatures[[0, -1]])
    alpha = surface.alphas[0] + y * (surface.alphas[-1] - surface.alphas[0])
    return interpolate(surface, values, temperature=float(np.exp(low + x * (high - low))), alpha=float(alpha))


def _true_share(surface: Surface, scaled: Array, found: Top) -> float:
    """Return the share of the box that truly loses less than the tolerance against the best fitted point."""
    side = (np.arange(SIDE) + 0.5) / SIDE
    truth = np.array([[_at(surface, scaled.mean(axis=0), x, y) for y in side] for x in side])
    best = int(np.argmax(found.mean))
    return float((truth.flat[best] - truth < found.tolerance).mean())


_METHOD = f"""Each search: {POINTS} Sobol points with one seed, the best {CONFIRMED} with one more. `effect`: how much
of the recorded effect of (T, alpha) is left. `true share`: of the box that loses less than half the sd of a run
against the best fitted point; `share`: as estimated. The words: {WORDS[0]} (the interval ends below one half),
{WORDS[1]} (it begins above), {WORDS[2]}."""


def main() -> int:
    """Replay, write the section, print it; 0 done, 1 a reason in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("surfaces", nargs="*", type=Path, metavar="SURFACE.csv")
    parser.add_argument("--replays", type=int, default=200, metavar="N")
    options = parser.parse_args()
    if options.replays < 2:
        parser.error(f"--replays: got {options.replays}, allowed is a whole number >= 2")
    origin = Origin()
    try:
        text = page(read_surfaces(options.surfaces), options.replays, origin)
    except SurfaceError as error:
        print(f"top.py: {error}", file=sys.stderr)
        return 1
    write_section("Does (T, alpha) matter?", text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
