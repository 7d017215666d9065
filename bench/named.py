"""How often is the point that a sweep names worse than the untuned default, with and without the default in the race?

    python bench/named.py [--sweeps N]

Two answers, nothing trained. Of the sixteen sweeps of the transfer study, by test accuracy: at home and carried over,
as they were named, and as they would be if some of the six seeds decided between that point and the default and the
others judged, over every choice of seeds. Of sweeps drawn from the recorded surfaces, by the true means. Writes the
section "Named points" of bench/results/results.md.
"""

import csv
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import TypeAlias

from support.page import FOLDER, Origin, make_parser, table, write_section
from support.strategies import Stage, Wanted

STUDY = FOLDER / "transfer-study"
DECIDE = (1, 2)  # seeds that decide between the point and the default
PAIRS = (("mnist", "mnist"), ("cifar10", "cifar10"), ("mnist", "cifar10"), ("cifar10", "mnist"))
SEED = 20_260_102

Leads: TypeAlias = Mapping[int, float]
"""best - default, points of test accuracy, by seed."""


@dataclass(frozen=True)
class Named:
    """Of named points: below the default, a fraction; worth: their mean lead over it, points."""

    below: float
    worth: float

    @classmethod
    def of(cls, leads: Iterable[float]) -> "Named":
        values = list(leads)
        return cls(fmean(value < 0 for value in values), fmean(values))


def studied() -> dict[tuple[str, str], Leads]:
    """Return the leads of the sixteen sweeps by sweep and dataset."""
    scores: dict[tuple[str, str, str], dict[int, float]] = {}
    homes: dict[tuple[str, str], Leads] = {}
    for path in sorted(STUDY.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                of = scores.setdefault((row["sweep"], row["dataset"], row["arm"]), {})
                of[int(row["repeat"])] = 100 * float(row["test_accuracy"])
    for (sweep, dataset, arm), best in scores.items():
        default = scores.get((sweep, dataset, "default-keras"), {})
        if arm == "best" and default:
            homes[sweep, dataset] = {seed: best[seed] - default[seed] for seed in best.keys() & default.keys()}
    return homes


def home_of(sweep: str) -> str:
    """Return the dataset that a sweep of the study was tuned on: its name begins with it."""
    return sweep.partition("-")[0]


def raced(leads: Mapping[tuple[str, str], Leads], *, decide: int) -> tuple[Named, Named]:
    """Return the points that would be named, at home and carried over, where so many seeds at home decide."""
    home, carried = list[float](), list[float]()
    for (sweep, dataset), values in leads.items():
        deciding = leads[sweep, home_of(sweep)]
        for seeds in combinations(sorted(deciding), decide):
            wins = fmean(deciding[seed] for seed in seeds) > 0
            at_home = dataset == home_of(sweep)
            judging = [value for seed, value in values.items() if not at_home or seed not in seeds]
            (home if at_home else carried).append(fmean(judging) if wins else 0.0)
    return Named.of(home), Named.of(carried)


def drawn(source: str, target: str, *, sweeps: int, races: bool) -> Named:
    """Return the points that searches on the source name, by what they truly lead the default by on the target."""
    stage = Stage(source, target, sweeps=sweeps, searches=8, seed=SEED, races=races)
    one = stage.draw(Wanted(), share=0.2)
    lead = one.true["elsewhere" if source != target else "here"] - one.true["default"]
    return Named(float((lead < 0).mean()), float(lead.mean()))


def page(*, sweeps: int) -> str:
    leads = studied()
    at_home = {key: fmean(values.values()) for key, values in leads.items() if key[1] == home_of(key[0])}
    carried = {key: fmean(values.values()) for key, values in leads.items() if key not in at_home}
    plain = [Named.of(at_home.values()), Named.of(carried.values())]
    rows = [["as they were named", *map(_cells, plain)]]
    for decide in DECIDE:
        seeds = "1 seed at home decides" if decide == 1 else f"{decide} seeds at home decide"
        rows.append([f"where {seeds}", *map(_cells, raced(leads, decide=decide))])
    simulated = [
        [f"{first} -> {second}", *(_cells(drawn(first, second, sweeps=sweeps, races=races)) for races in (False, True))]
        for first, second in PAIRS
    ]
    return "\n\n".join(
        [
            "How often a named point lies below Keras' untuned default, and by how much it leads it on average.",
            f"The sixteen sweeps of the transfer study, by the mean of their test accuracies: {len(at_home)} points at"
            f" home, {len(carried)} carried over.",
            table(["", "at home", "carried over"], rows),
            f"{sweeps:,} sweeps of eight searches of preset quick, drawn from the recorded surfaces, by true means.",
            table(["tuned on -> used on", "the default does not race", "it races"], simulated),
        ]
    )


def _cells(named: Named) -> str:
    return f"{100 * named.below:.1f} % below, {named.worth:+.2f} points"


def main() -> int:
    parser = make_parser(str(__doc__))
    parser.add_argument("--sweeps", type=int, default=2000, metavar="N")
    options = parser.parse_args()
    origin = Origin()
    text = page(sweeps=options.sweeps)
    print(text)
    write_section("Named points", f"{origin}\n{text}", path=options.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
