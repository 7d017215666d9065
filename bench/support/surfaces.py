"""Recorded surfaces: validation accuracy of one student per epoch, on a grid of (temperature, alpha) and seeds.

`bench/surface.py` writes such a file, `bench/pruning.py` and `bench/samplers.py` replay it. It is CSV below a header of
`# key: value` lines that say where the numbers come from, one line per training:

    temperature,alpha,seed,epoch_1,epoch_2
    1,0,0,0.9012,0.9344
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).resolve().parents[1] / "results"
KEYS = ("temperature", "alpha", "seed")
_SHOWN = ("setting", "student", "teacher", "recorded", "commit")  # keys of the header, beside the dataset
Array: TypeAlias = npt.NDArray[np.float64]
Point: TypeAlias = tuple[float, float, int]
"""Temperature, alpha, and the number of the seed."""


class SurfaceError(Exception):
    """A surface that is missing, damaged or too small; one line with the value got, what is allowed, what to type."""


@dataclass(frozen=True, eq=False)
class Surface:
    """One recorded surface.

    Attributes:
        name: of the file, without its folder.
        header: what the file says about its origin; "dataset" is always there.
        temperatures: shape (t,), rising, > 0.
        alphas: shape (a,), rising, in [0, 1]; the weight of the labels.
        scores: shape (seeds, t, a, epochs), fractions; every cell was trained with the same seeds.
    """

    name: str
    header: Mapping[str, str]
    temperatures: Array
    alphas: Array
    scores: Array

    def __str__(self) -> str:
        """What was recorded, in a line."""
        (t_low, t_high), (a_low, a_high) = self.temperatures[[0, -1]], self.alphas[[0, -1]]
        grid = (
            f"{len(self.temperatures)} temperatures from {t_low:g} to {t_high:g} x {len(self.alphas)} alphas from"
            f" {a_low:g} to {a_high:g}, {self.seeds} seeds, {self.epochs} epochs"
        )
        return "; ".join([self.header["dataset"], grid, *(self.header[key] for key in _SHOWN if key in self.header)])

    @property
    def epochs(self) -> int:
        """Epochs of every training."""
        return int(self.scores.shape[-1])

    @property
    def seeds(self) -> int:
        """Trainings of every cell."""
        return len(self.scores)

    @property
    def last(self) -> Array:
        """Accuracy after the last epoch, shape (seeds, t, a): what a search is scored by."""
        return self.scores[..., -1]

    def fresh(self, selection: int) -> Array:
        """Mean accuracy of each cell over all seeds but `selection`, shape (t, a).

        What a cell chosen on the seed `selection` is really worth: the luck that chose it is not in this mean.
        """
        others: Array = np.delete(self.last, selection, axis=0).mean(axis=0)
        return others


def read_surfaces(paths: Sequence[Path]) -> list[Surface]:
    """The surfaces in these files; without any, all that were recorded into this folder.

    Raises:
        SurfaceError: as `read_surface`, or none was recorded.
    """
    found = list(paths) or sorted(FOLDER.glob("surface-*.csv"))
    if not found:
        raise SurfaceError("no bench/results/surface-*.csv is recorded; type: python bench/surface.py --role source")
    return [read_surface(path) for path in found]


def read_surface(path: Path) -> Surface:
    """The surface in a file.

    Raises:
        SurfaceError: no such file, not such a file, a value out of its range, or not the whole grid.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        reason = error.strerror or str(error)
        raise SurfaceError(f"cannot read {path}: {reason}; to record it, type: python bench/surface.py") from None
    except UnicodeDecodeError:
        raise _corrupt(path, "got bytes that are not text, allowed is CSV") from None
    comments = [line for line in lines if line.startswith("#")]
    header = dict(line[1:].strip().split(": ", 1) for line in comments if ": " in line)
    if "dataset" not in header:
        raise _corrupt(path, "its header has no line '# dataset: NAME'")
    rows = _rows(path, lines)
    return _whole(path, header, rows)


def write_surface(path: Path, header: Mapping[str, object], rows: Mapping[Point, Sequence[float]]) -> None:
    """Puts a surface into a file, whole or not at all; `read_surface` gives it back, scores with four decimals."""
    epochs = len(next(iter(rows.values())))
    lines = [f"# {key}: {value}" for key, value in header.items()]
    lines.append(",".join([*KEYS, *_columns(epochs)]))
    for (temperature, alpha, seed), scores in sorted(rows.items()):
        cells = [f"{temperature:g}", f"{alpha:g}", str(seed), *(f"{score:.4f}" for score in scores)]
        lines.append(",".join(cells))
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    unfinished.replace(path)


def interpolate(surface: Surface, values: Array, *, temperature: float, alpha: float) -> float:
    """The value at a point between the cells: bilinear in (log temperature, alpha), exact at the cells.

    Args:
        values: one per cell, shape (t, a).
        temperature, alpha: inside the grid.
    """
    row, down = _between(np.log(surface.temperatures), float(np.log(temperature)))
    column, right = _between(surface.alphas, alpha)
    (a, b), (c, d) = values[row : row + 2, column : column + 2]
    return float((1 - down) * ((1 - right) * a + right * b) + down * ((1 - right) * c + right * d))


def _between(axis: Array, value: float) -> tuple[int, float]:
    """The last index at or before a value (never the last of all), and the way to the next, in [0, 1]."""
    index = int(np.clip(np.searchsorted(axis, value, side="right") - 1, 0, len(axis) - 2))
    share = (value - axis[index]) / (axis[index + 1] - axis[index])
    return index, float(np.clip(share, 0, 1))  # a logarithm may end one rounding step outside


def _rows(path: Path, lines: Sequence[str]) -> dict[Point, list[float]]:
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    if not numbered:
        raise _corrupt(path, "it has no line below its header")
    columns = numbered[0][1].split(",")
    wanted = [*KEYS, *_columns(len(columns) - len(KEYS))]
    if columns != wanted or len(columns) == len(KEYS):
        raise _corrupt(path, f"its columns are {numbered[0][1][:60]!r}, allowed are temperature,alpha,seed,epoch_1,...")
    rows: dict[Point, list[float]] = {}
    for number, line in numbered[1:]:
        cells = line.split(",")
        if len(cells) != len(columns):
            raise _corrupt(path, f"line {number} has {len(cells)} values, allowed are {len(columns)}")
        point, scores = _parsed(path, number, dict(zip(columns, cells, strict=True)))
        if point in rows:
            raise _corrupt(path, f"line {number} repeats temperature={point[0]:g}, alpha={point[1]:g}, seed={point[2]}")
        rows[point] = scores
    return rows


def _parsed(path: Path, number: int, cells: Mapping[str, str]) -> tuple[Point, list[float]]:
    values: dict[str, float] = {}
    for column, text in cells.items():
        low, high, allowed = {
            "temperature": (1e-9, 1e9, "a number > 0"),
            "seed": (0, 1e9, "a whole number >= 0"),
        }.get(column, (0, 1, "a number from 0 to 1"))
        try:
            values[column] = float(text)
        except ValueError:
            values[column] = np.nan
        fits = low <= values[column] <= high  # false for NaN
        if not fits or (column == "seed" and not values[column].is_integer()):
            raise _corrupt(path, f"line {number}: {column} is {text!r}, allowed is {allowed}")
    scores = [values[column] for column in cells if column not in KEYS]
    return (values["temperature"], values["alpha"], int(values["seed"])), scores


def _whole(path: Path, header: Mapping[str, str], rows: Mapping[Point, Sequence[float]]) -> Surface:
    temperatures, alphas, seeds = (sorted(set(axis)) for axis in zip(*rows, strict=True)) if rows else ([], [], [])
    sizes = {"temperatures": len(temperatures), "alphas": len(alphas), "seeds": len(seeds)}
    sizes["epochs"] = len(next(iter(rows.values()), ()))
    for what, size in sizes.items():
        if size < 2:
            raise _corrupt(path, f"it has {size} {what}, a replay needs 2 or more of them")
    grid = list(itertools.product(seeds, temperatures, alphas))
    if len(grid) != len(rows):
        shape = f"{len(temperatures)} temperatures x {len(alphas)} alphas x {len(seeds)} seeds"
        raise _corrupt(path, f"it has {len(rows)} trainings, but {shape} are {len(grid)}")
    scores = np.array([rows[temperature, alpha, int(seed)] for seed, temperature, alpha in grid])
    return Surface(
        name=path.name,
        header=header,
        temperatures=np.array(temperatures),
        alphas=np.array(alphas),
        scores=scores.reshape(len(seeds), len(temperatures), len(alphas), -1),
    )


def _columns(epochs: int) -> Iterable[str]:
    return (f"epoch_{epoch}" for epoch in range(1, epochs + 1))


def _corrupt(path: Path, what: str) -> SurfaceError:
    return SurfaceError(f"{path}: {what}; remove it and record it again: python bench/surface.py --out {path}")
