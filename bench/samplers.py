"""Which sampler finds the better point in fewer trials? Recorded surfaces, searched by several.

    python bench/samplers.py [FILE...] [--replays N]

A sampler searches the continuous (T, alpha) and sees the last-epoch accuracy of one seed of the surface, interpolated
between its cells. Its best trial is then worth the mean of the other seeds, interpolated in the same way; the regret is
how far that lies below the best cell. Another sampler replaces the present default, a Sobol half and then TPE, if on
every surface its regret is lower at one budget or more, beyond the 95 % interval of the paired difference, and higher
beyond it at none. Writes bench/results/samplers.md and bench/results/samplers.svg.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import optuna

from support.line_chart import Mark, line_chart
from support.page import Origin, table, write_section
from support.sampler_replays import BUDGETS, PRODUCT, SEARCHES, Regrets, compare
from support.surfaces import FOLDER, Surface, SurfaceError, read_surfaces
from sweeps.stats.estimates import Estimate

Compared: TypeAlias = Sequence[tuple[Surface, Mapping[str, Regrets]]]


def page(compared: Compared, *, replays: int, picture: str, origin: Origin) -> str:
    """The section, as Markdown; `picture` is the name of its file beside the page."""
    parts = [str(origin), _METHOD.format(replays=replays), f"![regret against the number of trials]({picture})"]
    for surface, regrets in compared:
        heads = ["sampler", *(f"{budget} trials" for budget in BUDGETS)]
        below = ["less than the default", *heads[1:]]
        parts += [
            f"### {surface.name}",
            f"{surface}. Regret in points, mean [95 % interval]:",
            table(heads, [_cells(name, found) for name, found in regrets.items()]),
            "Points below the default, paired by replay:",
            table(below, [_cells_below(name, found, regrets[PRODUCT]) for name, found in _rivals(regrets)]),
        ]
    return "\n\n".join([*parts, conclusion(compared)])


def conclusion(compared: Compared) -> str:
    """The sentence that says what default follows."""
    names = " and ".join(surface.name for surface, _ in compared)
    better = {
        name: sum(regrets[name].mean(max(BUDGETS)).mean for _, regrets in compared)
        for name in SEARCHES
        if name != PRODUCT and all(_replaces(regrets[name], regrets[PRODUCT]) for _, regrets in compared)
    }
    if not better:
        return f"**The default stays {PRODUCT}: no other sampler that runs here beats it on {names} by the rule.**"
    best = min(better, key=lambda name: better[name])
    return f"**The default should become {best}: it beats {PRODUCT} on {names} by the rule.**"


def chart(compared: Compared) -> str:
    """Regret against the number of trials, a panel for each surface, as SVG."""
    panels = {}
    for surface, regrets in compared:
        lines = {}
        for name, found in regrets.items():
            if not found.unavailable:
                lines[name] = [_mark(budget, found.mean(budget)) for budget in BUDGETS]
        panels[surface.name] = lines
    return line_chart(panels, x_label="trials", y_label="regret, points")


def _replaces(rival: Regrets, default: Regrets) -> bool:
    if rival.unavailable:
        return False
    below = [rival.below(default, budget) for budget in BUDGETS]
    lower = any(found.low is not None and found.low > 0 for found in below)
    higher = any(found.high is None or found.high < 0 for found in below)
    return lower and not higher


def _rivals(regrets: Mapping[str, Regrets]) -> list[tuple[str, Regrets]]:
    return [(name, found) for name, found in regrets.items() if name != PRODUCT]


def _cells(name: str, found: Regrets) -> list[str]:
    if found.unavailable:
        return [name, f"unavailable: {found.unavailable}", *[""] * (len(BUDGETS) - 1)]
    return [name, *(_interval(found.mean(budget), "") for budget in BUDGETS)]


def _cells_below(name: str, found: Regrets, default: Regrets) -> list[str]:
    if found.unavailable:
        return _cells(name, found)
    return [name, *(_interval(found.below(default, budget), "+") for budget in BUDGETS)]


def _interval(found: Estimate, sign: str) -> str:
    return f"{found.mean:{sign}.3f} [{found.low:{sign}.3f}, {found.high:{sign}.3f}]"


def _mark(budget: int, found: Estimate) -> Mark:
    assert found.low is not None
    assert found.high is not None
    return Mark(x=budget, y=found.mean, low=found.low, high=found.high)


_METHOD = f"""A sampler searches the continuous (T, alpha) and sees the last-epoch accuracy of one seed of the recorded
surface, bilinear in (log T, alpha) between its cells: noise is smoothed there. `regret`: points that its best trial
lies below the best cell on the mean of the other seeds. {{replays}} replays, each with its own seed of the sampler, the
seeds of the surface taking turns in giving the score; intervals are over replays on one surface with one teacher.
Trials run one after the other. `{PRODUCT}`: the default, whose first half is planned for the budget.

Another sampler replaces the default if on every surface its regret is lower at one budget or more, beyond the interval
of the paired difference, and higher beyond it at none."""


def main() -> int:
    """Replay, write the page and the picture, print the section; 0 done, 1 a reason in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: bench/results/surface-*.csv")
    parser.add_argument("--replays", type=int, default=20, metavar="N", help="per sampler and surface (default: 20)")
    parser.add_argument("--out", type=Path, default=FOLDER / "samplers.md", metavar="FILE.md", help="the page")
    options = parser.parse_args()
    if options.replays < 2:
        parser.error(f"--replays: got {options.replays}, allowed is a whole number >= 2")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    origin = Origin()
    try:
        surfaces = read_surfaces(options.files)
    except SurfaceError as error:
        print(f"samplers.py: {error}", file=sys.stderr)
        return 1
    compared = [(surface, compare(surface, replays=options.replays)) for surface in surfaces]
    picture = options.out.with_suffix(".svg")
    picture.write_text(chart(compared), encoding="utf-8")
    text = page(compared, replays=options.replays, picture=picture.name, origin=origin)
    write_section("Which sampler?", text, path=options.out)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
