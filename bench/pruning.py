"""Does pruning pay? Recorded surfaces, replayed through Optuna's own pruners.

    python bench/pruning.py [FILE...] [--replays N]

A replay visits every cell of a surface once, in random order, with the scores of one seed: the pruner sees them epoch
by epoch, and the best cell that was trained to the end is chosen. All pruners see the same replays. What the choice is
worth is read from the other seeds. A pruner pays on a surface if, in the mean over the replays,

- it needs at most half of the student-epochs;
- its fresh-seed regret is within 0.05 points (MNIST) or 0.20 (any other) of that without pruning, the upper end of the
  95 % interval of the paired difference included;
- it prunes at most 2 % of the cells that are truly among the best tenth.

The default is the one that pays on every surface and saves most; if there is none, no pruning. Writes
bench/results/pruning.md.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TypeAlias

import optuna

from support.page import Origin, table, write_section
from support.pruner_replays import LEAST_FACTOR, MOST_FALSELY_PRUNED, PRUNERS, Verdict, compare, spearman
from support.surfaces import FOLDER, Surface, SurfaceError, read_surfaces

Compared: TypeAlias = Sequence[tuple[Surface, Mapping[str, Verdict]]]

HEADS = ("pruner", "student-epochs", "times fewer", "regret", "above none [95 %]", "best tenth pruned", "pays")


def page(compared: Compared, origin: Origin) -> str:
    """The section, as Markdown."""
    replays = len(compared[0][1]["none"].replays)
    parts = [str(origin), _METHOD.format(replays=replays)]
    for surface, verdicts in compared:
        parts += [
            f"### {surface.name}",
            f"{surface}. Margin of the regret: {verdicts['none'].margin:.2f} points.",
            table(HEADS, [_cells(name, verdict) for name, verdict in verdicts.items()]),
            f"Rank correlation (Spearman) of the cells after an epoch, mean over {surface.seeds} seeds:",
            table(
                ("epoch", "with the seed's own last epoch", "with the last epoch of the other seeds"), _ranks(surface)
            ),
        ]
    return "\n\n".join([*parts, conclusion(compared)])


def conclusion(compared: Compared) -> str:
    """The sentence that says what default follows."""
    names = " and ".join(surface.name for surface, _ in compared)
    saved = {
        name: min(verdicts[name].factor for _, verdicts in compared)
        for name in PRUNERS
        if name != "none" and not any(verdicts[name].fails for _, verdicts in compared)
    }
    if not saved:
        return f"**The default is no pruning: no pruner pays on {names}.**"
    best = max(saved, key=lambda name: saved[name])
    return (
        f"**The default is {best}: it pays on {names}, with {saved[best]:.1f} times fewer student-epochs or better.**"
    )


def _cells(name: str, verdict: Verdict) -> list[str]:
    more, pays = verdict.more_regret, f"no: {', '.join(verdict.fails)}" if verdict.fails else "yes"
    return [
        name,
        f"{fmean(replay.epochs for replay in verdict.replays):.0f}",
        f"{verdict.factor:.2f}",
        f"{verdict.regret:.3f}",
        "" if name == "none" else f"{more.mean:+.3f} [{more.low:+.3f}, {more.high:+.3f}]",
        f"{100 * verdict.top_pruned:.1f} %",
        "" if name == "none" else pays,
    ]


def _ranks(surface: Surface) -> list[list[str]]:
    rows = []
    for epoch in range(surface.epochs):
        seeds = [
            (surface.scores[seed, ..., epoch], surface.last[seed], surface.fresh(seed)) for seed in range(surface.seeds)
        ]
        own = fmean(spearman(now, last) for now, last, _ in seeds)
        others = fmean(spearman(now, fresh) for now, _, fresh in seeds)
        rows.append([str(epoch + 1), f"{own:.2f}", f"{others:.2f}"])
    return rows


_METHOD = f"""A replay visits every cell of a recorded surface once, in random order, with the scores of one seed. The
pruner is asked after each epoch but the last, and the best cell trained to the end is chosen. `regret`: points that it
lies below the best cell on the mean of the other seeds. `best tenth`: of the cells, on that mean. {{replays}} replays,
the same for every pruner; intervals are over replays: over orders and choosing seeds of one surface with one teacher.

A pruner `pays` if it needs {LEAST_FACTOR:g} times fewer student-epochs, the interval of its regret above none ends
within the margin, and at most {100 * MOST_FALSELY_PRUNED:g} % of the best tenth is pruned. In the table of ranks, the
end of the last column is the most that one seed can tell of the others."""


def main() -> int:
    """Replay, write the page, print its section; 0 done, 1 a reason in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: bench/results/surface-*.csv")
    parser.add_argument("--replays", type=int, default=60, metavar="N", help="per surface (default: 60)")
    parser.add_argument("--out", type=Path, default=FOLDER / "pruning.md", metavar="FILE", help="the page")
    options = parser.parse_args()
    if options.replays < 2:
        parser.error(f"--replays: got {options.replays}, allowed is a whole number >= 2")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    origin = Origin()
    try:
        surfaces = read_surfaces(options.files)
    except SurfaceError as error:
        print(f"pruning.py: {error}", file=sys.stderr)
        return 1
    text = page([(surface, compare(surface, replays=options.replays)) for surface in surfaces], origin)
    write_section("Does pruning pay?", text, path=options.out)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
