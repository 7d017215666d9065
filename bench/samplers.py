"""Which search finds the better point? Recorded surfaces, searched by several samplers with several confirms.

    python bench/samplers.py [FILE...] [--replays N] [--processes N] [--gp]

A searcher sees some seeds of the surface, interpolated between its cells, and what it chooses is worth the mean of the
others. The default of the presets is Sobol with halving, whose points need nobody's outcome, unless another row ends
nearer to the best over all surfaces and budgets, beyond its interval. Writes bench/results/samplers.md; --gp also
compares Optuna's GP, which needs torch.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from statistics import fmean
from typing import TypeAlias

import optuna

from support.page import Origin, table, write_section
from support.sampler_replays import BUDGETS, CONFIRMS, FLOOR, SAMPLERS, TRUTH, WITH_TORCH, Row, Sampler, mean, replay
from support.surfaces import FOLDER, Surface, SurfaceError, read_surfaces
from sweeps.stats.estimates import Estimate

DEFAULT: Row = (str(SAMPLERS[0]), "halving")
Replays: TypeAlias = Sequence[dict[int, dict[Row, float]]]


def page(compared: Sequence[tuple[Surface, Replays]], *, origin: Origin) -> str:
    """The section, as Markdown."""
    parts = [str(origin), _METHOD.format(replays=len(compared[0][1]))]
    for surface, replays in compared:
        rows = list(replays[0][BUDGETS[0]])
        heads = ["search", "confirm", *(f"{budget} trainings" for budget in BUDGETS)]
        parts += [
            f"### {surface.name}",
            f"{surface}. Regret in points:",
            table(heads, [[*row, *(_shown(_regrets(replays, budget, row)) for budget in BUDGETS)] for row in rows]),
            f"Points more than {' with '.join(DEFAULT)}, paired by replay; negative is better:",
            table(heads, [[*row, *(_more(replays, budget, row) for budget in BUDGETS)] for row in rows if row[1]]),
        ]
    return "\n\n".join([*parts, conclusion(compared)])


def conclusion(compared: Sequence[tuple[Surface, Replays]]) -> str:
    """The regret of every row in units of the default's, and the sentence that says what follows."""
    scales = {
        (surface.name, budget): mean(_above_floor(replays, budget, DEFAULT)).mean
        for surface, replays in compared
        for budget in BUDGETS
    }
    totals: dict[Row, Estimate] = {}
    for row in compared[0][1][0][BUDGETS[0]]:
        if row[1]:
            found = [
                [(one[budget][row] - one[budget][DEFAULT]) / scales[surface.name, budget] for one in replays]
                for surface, replays in compared
                for budget in BUDGETS
            ]
            totals[row] = mean([1 + fmean(replay) for replay in zip(*found, strict=True)])
    order = sorted(totals, key=lambda row: totals[row].mean)
    better = [" with ".join(row) for row in order if (totals[row].high or 1) < 1]
    lines = [
        f"- {' with '.join(row)}: {totals[row].mean:.2f} [{totals[row].low:.2f}, {totals[row].high:.2f}]"
        for row in order
    ]
    default = " with ".join(DEFAULT)
    verdict = (
        f"The default should become {better[0]}: it ends nearer to the best beyond the interval."
        if better
        else f"The default stays {default}: no row ends nearer to the best beyond the interval, and its points need"
        " nobody's outcome."
    )
    said = f"Regret above the floor in units of that of {default}, mean over surfaces and budgets [95 %]:"
    return "\n".join([said, "", *lines, "", f"**{verdict}**"])


def _regrets(replays: Replays, budget: int, row: Row) -> list[float]:
    return [one[budget][row] for one in replays]


def _above_floor(replays: Replays, budget: int, row: Row) -> list[float]:
    return [one[budget][row] - one[budget][FLOOR, ""] for one in replays]


def _shown(regrets: Sequence[float]) -> str:
    found = mean(regrets)
    assert found.high is not None
    return f"{found.mean:.3f} ±{found.high - found.mean:.3f}"


def _more(replays: Replays, budget: int, row: Row) -> str:
    pairs = zip(_regrets(replays, budget, row), _regrets(replays, budget, DEFAULT), strict=True)
    found = mean([one - default for one, default in pairs])
    assert found.high is not None
    return f"{found.mean:+.3f} ±{found.high - found.mean:.3f}"


_METHOD = f"""A replay draws at random which {TRUTH} seeds of the surface are the truth; the searcher sees the others:
the first as the seed of its search, further ones in its confirm. Scores are bilinear in (log T, alpha) between the
cells: noise is smoothed there. `regret`: points that the chosen point lies below the best cell, both on the mean of the
seeds of the truth; its floor is the regret of who knows the mean of all seeds, since the best of many noisy cells is
partly the luckiest. {{replays}} replays, each with its own seeds and scramble; ± is the 95 % interval over replays on
this surface with this teacher. Confirms: {
    "; ".join(
        f"{name} is " + ", ".join(f"{one.rounds} at {budget}" for budget, one in by.items())
        for name, by in CONFIRMS.items()
        if name == "halving"
    )
} (points, fresh seeds of each). The rest of a budget is the search."""


def main() -> int:
    """Replay, write the page, print the section; 0 done, 1 a reason in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: bench/results/surface-*.csv")
    parser.add_argument("--replays", type=int, default=400, metavar="N", help="of every row (default: 400)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--gp", action="store_true", help="compare Optuna's GP as well; needs torch")
    parser.add_argument("--out", type=Path, default=FOLDER / "samplers.md", metavar="FILE.md", help="the page")
    options = parser.parse_args()
    if options.replays < 2:
        parser.error(f"--replays: got {options.replays}, allowed is a whole number >= 2")
    origin = Origin()
    samplers: tuple[Sampler, ...] = SAMPLERS + (WITH_TORCH if options.gp else ())
    try:
        surfaces = read_surfaces(options.files)
        for surface in surfaces:
            needed = TRUTH + 1 + max(sum(seeds for _, seeds in one[max(BUDGETS)].rounds) for one in CONFIRMS.values())
            if surface.seeds < needed:
                raise SurfaceError(f"{surface.name}: it has {surface.seeds} seeds, a replay needs {needed} or more")
    except SurfaceError as error:
        print(f"samplers.py: {error}", file=sys.stderr)
        return 1
    compared = []
    with ProcessPoolExecutor(options.processes, initializer=_quiet) as pool:
        for surface in surfaces:
            found = pool.map(_replay, repeat(surface), repeat(samplers), range(options.replays), chunksize=4)
            compared.append((surface, list(found)))
    text = page(compared, origin=origin)
    write_section("Which search?", text, path=options.out)
    print(text)
    return 0


def _replay(surface: Surface, samplers: Sequence[Sampler], number: int) -> dict[int, dict[Row, float]]:
    return replay(surface, samplers, number=number)


def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
