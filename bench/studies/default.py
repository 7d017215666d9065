"""Which untuned (T, alpha) loses least, and is it better than those that people use? Nothing is trained.

    python bench/studies/default.py

Read are bench/results/surface-*.csv, transfer-study/*.csv and answers/*/results.csv. The question and every formula
stand in bench/results/studies/default/declared.md, written before anything was computed.
"""

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the benches are no package

import numpy as np
import numpy.typing as npt

from support.page import FOLDER, Origin, table
from support.surfaces import Surface, read_surface, world
from sweeps.stats.estimates import paired

Array: TypeAlias = npt.NDArray[np.float64]
Place: TypeAlias = tuple[float, float]
"""T and alpha."""

NAMED: Mapping[Place, str] = {
    (3.0, 0.5): "Keras",
    (10.0, 0.1): "keras.io's example",
    (4.0, 0.1): "papers, RepDistiller",
    (2.0, 0.75): "PyTorch's tutorial",
}
KERAS = next(iter(NAMED))
SURFACES, STUDIED = ("mnist", "cifar10"), ("fashion_mnist", "animals", "vehicles")
DATASETS = (*SURFACES, *STUDIED)
GRID = [(float(t), float(a)) for t in np.geomspace(1, 20, 25) for a in np.linspace(0, 0.9, 19)]
PLACES = [*NAMED, *GRID]
DRAWS = 2_000


@dataclass(frozen=True, eq=False)
class Tested:
    """Points of one sweep on one dataset: each less Keras' default, points of test accuracy, over the same seeds."""

    places: Array
    beyond: Array
    native: float | None


def tested(dataset: str) -> list[Tested]:
    """Return what the sweeps of the transfer study trained on a dataset; native: its gain over no teacher, if any."""
    found = []
    for path in sorted((FOLDER / "transfer-study").glob("*.csv")):
        arms: dict[str, dict[int, float]] = defaultdict(dict)
        points: dict[str, Place] = {}
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["dataset"].rpartition(":")[2] == dataset:
                    arms[row["arm"]][int(row["repeat"])] = 100 * float(row["test_accuracy"])
                    points[row["arm"]] = float(row["temperature"]), float(row["alpha"])
        if not arms:
            continue
        gains = {arm: paired(arms[arm], arms["default-keras"]) for arm in ("native", "best", "best-scaled")}
        native = paired(arms.get("native", {}), arms["scratch"])
        kept = {arm: gain.mean for arm, gain in gains.items() if gain is not None}
        found.append(
            Tested(
                places=np.array([points[arm] for arm in kept]),
                beyond=np.array(list(kept.values())),
                native=None if native is None else native.mean,
            )
        )
    return found


def features(places: Array) -> Array:
    """Return what a gain is a weighted sum of, shape (places, 5): nothing is gained at alpha = 1, whatever T."""
    t, a = np.log(places[:, 0]) / np.log(20), places[:, 1]
    rows: Array = (1 - a[:, None]) * np.stack([np.ones_like(t), t, t**2, a, a * t], axis=1)
    return rows


def fitted(sweeps: Sequence[Tested]) -> Array:
    """Return the share of the gain by which each of PLACES is better than Keras' default, by least squares."""
    here, keras = np.concatenate([one.places for one in sweeps]), features(np.array([KERAS]))
    weights = np.linalg.lstsq(features(here) - keras, np.concatenate([one.beyond for one in sweeps]), rcond=None)[0]
    gain = np.mean([one.native for one in sweeps if one.native is not None])
    share: Array = (features(np.array(PLACES)) - keras) @ weights / gain
    return share


def recorded(surface: Surface) -> Array:
    """Return the same of a recorded surface: smoothed, bilinear between its cells; the gain is that of its top."""
    made = world(surface)
    places = np.array([(np.log(t), a) for t, a in [*PLACES, (1.0, 1.0)]])
    expected = made.expected(places[None])[0]
    share: Array = (expected[:-1] - expected[0]) / (made.mean.max() - expected[-1])
    return share


def chosen(shares: Sequence[Array]) -> int:
    """Return the number of the place of GRID with the best mean share, counted in PLACES."""
    return len(NAMED) + int(np.mean(shares, axis=0)[len(NAMED) :].argmax())


def left_out(shares: Mapping[str, Array], drawn: Sequence[str]) -> Array:
    """Return the mean over datasets of what the default chosen on the others is better than each of NAMED.

    drawn: names of datasets, perhaps one more than once: all of its copies are left out together.
    """
    values = []
    for dataset in drawn:
        others = [shares[other] for other in drawn if other != dataset]
        if others:
            values.append(shares[dataset][chosen(others)] - shares[dataset][: len(NAMED)])
    mean: Array = np.mean(values, axis=0)
    return mean


Record: TypeAlias = Callable[[np.random.Generator | None], Array]
"""The shares of one dataset; with a generator, of seeds or sweeps that it draws."""


def records() -> dict[str, Record]:
    """Return the record of every dataset; "mnist, transfer study" is a check on the fit and no dataset of its own."""

    def of_surface(surface: Surface) -> Record:
        def share(rng: np.random.Generator | None) -> Array:
            seeds = len(surface.last)
            rows = np.arange(seeds) if rng is None else rng.integers(0, seeds, seeds)
            return recorded(replace(surface, last=surface.last[rows]))

        return share

    def of_sweeps(sweeps: Sequence[Tested]) -> Record:
        def share(rng: np.random.Generator | None) -> Array:
            rows = range(len(sweeps)) if rng is None else rng.integers(0, len(sweeps), len(sweeps))
            return fitted([sweeps[row] for row in rows])

        return share

    read: dict[str, Record] = {name: of_surface(read_surface(FOLDER / f"surface-{name}.csv")) for name in SURFACES}
    read |= {name: of_sweeps(tested(name)) for name in STUDIED}
    return read | {"mnist, transfer study": of_sweeps(tested("mnist"))}


def page(origin: Origin) -> str:
    read, rng = records(), np.random.default_rng(2903)
    now = {name: share(None) for name, share in read.items()}
    draws = [{name: share(rng) for name, share in read.items()} for _ in range(DRAWS)]
    best = [chosen([of[name] for name in DATASETS]) for of in (now, *draws)]
    t, alpha = PLACES[best[0]]
    named = int(np.mean([now[name] for name in DATASETS], axis=0)[: len(NAMED)].argmax())
    spread = [_range([PLACES[number][axis] for number in best[1:]]) for axis in (0, 1)]
    parts = []
    for title, names in (("all five", DATASETS), ("the two recorded surfaces", SURFACES)):
        here = left_out(now, names)
        fixed = np.array([left_out(of, names) for of in draws])
        anew = np.array([left_out(of, drawn) for of in draws if len(set(drawn := rng.choice(names, len(names)))) > 1])
        parts += [
            [title, _name(place), *(_share(here[row], many[:, row]) for many in (fixed, anew))]
            for row, place in enumerate(NAMED)
        ]
    heads = ["dataset", "record", *(_name(place) for place in NAMED if place != KERAS), "chosen on all", "top", "at"]
    return f"""# Is there a better default than those that people use?

{_headline(left_out(now, DATASETS)[0], _limits(now, draws, rng))}

Least mean regret over five datasets: T = {t:.3g}, alpha = {alpha:.2g}; 95 % of {DRAWS:,} draws of seeds and sweeps
choose T from {spread[0]}, alpha from {spread[1]}. Of the named defaults {_name(PLACES[named])} has the best
mean. Nothing was trained. A share is one of what distilling gains on that dataset: 100 % is the gain of tuning there.
Intervals: 2.5 to 97.5 % of the draws.

## The default chosen on the other datasets, less a named one

Each dataset is left out once; the default of the others is compared on it. Positive: the chosen one is better.

{table(["datasets", "named default", "share more, these datasets", "share more, datasets drawn anew"], parts)}

Five datasets are few, and two are halves of a third: the last column is a rough guide, and for two datasets little more
than the two values themselves.

## Where each dataset stands

Share of the gain more (+) or less than at T = 3, alpha = 0.5. `top` is the best place of the grid there: partly luck.

{table(heads, _standing(now, draws, best[0]))}

The two recorded surfaces hold 8 x 8 points, 12 seeds each, of one teacher and one student, on validation images. The
other three are not surfaces: each is a fit with five terms to the 40 points that the 16 sweeps of the transfer study
tested there, most of them where searches end. MNIST has both records; its two rows say how far such a fit can be
trusted.

## Trained side by side

keras.io's point less Keras' on the same seeds, points of test accuracy, from answers/: no model in between.

{table(["answer", "dataset", "(10, 0.1) - (3, 0.5)"], _side_by_side())}

{origin}"""


def _limits(
    now: Mapping[str, Array], draws: Sequence[Mapping[str, Array]], rng: np.random.Generator
) -> tuple[float, float]:
    values = [left_out(of, drawn)[0] for of in draws if len(set(drawn := rng.choice(DATASETS, len(DATASETS)))) > 1]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _headline(mean: float, limits: tuple[float, float]) -> str:
    low, high = (100 * value for value in limits)
    word = (
        "A better default than Keras' is shown"
        if low > 0
        else "No better default than Keras' T = 3, alpha = 0.5 is shown"
    )
    if high < 0:
        word = "A default chosen on other datasets is worse than Keras' T = 3, alpha = 0.5"
    return (
        f"**{word}: the (T, alpha) that is best on the other datasets keeps {100 * mean:.0f} % [{low:.0f}, {high:.0f}]"
        " more of the gain on the one left out.**"
    )


def _standing(now: Mapping[str, Array], draws: Sequence[Mapping[str, Array]], best: int) -> list[list[object]]:
    rows: list[list[object]] = []
    for name, share in now.items():
        many = np.array([of[name] for of in draws])
        top = len(NAMED) + int(share[len(NAMED) :].argmax())
        cells = [_share(share[place], many[:, place]) for place in (*range(1, len(NAMED)), best, top)]
        record = "surface" if name in SURFACES else "fit"
        rows.append([name.partition(",")[0], record, *cells, f"T = {PLACES[top][0]:.3g}, alpha = {PLACES[top][1]:.2g}"])
    return rows


def _side_by_side() -> list[list[object]]:
    rows: list[list[object]] = []
    for path in sorted((FOLDER / "answers").glob("*/results.csv")):
        arms: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["arm"] in ("default-keras", "default-keras-io") and row["test_accuracy"]:
                    arms[row["dataset"], row["arm"]][int(row["repeat"])] = 100 * float(row["test_accuracy"])
        for dataset in SURFACES:
            mean = paired(arms[dataset, "default-keras-io"], arms[dataset, "default-keras"])
            if mean is not None:
                rows.append(
                    [path.parent.name, dataset, f"{mean.mean:+.2f} [{mean.low:+.2f}, {mean.high:+.2f}] (n={mean.n})"]
                )
    return rows


def _name(place: Place) -> str:
    return f"{NAMED[place]} ({place[0]:g}, {place[1]:g})"


def _share(value: float, many: Array) -> str:
    low, high = np.quantile(many, [0.025, 0.975])
    return f"{100 * value:+.0f} % [{100 * low:+.0f}, {100 * high:+.0f}]"


def _range(values: Sequence[float]) -> str:
    low, high = np.quantile(values, [0.025, 0.975])
    return f"{low:.2g} to {high:.2g}"


def main() -> int:
    """Write the page."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    (FOLDER / "studies" / "default.md").write_text(page(Origin()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
