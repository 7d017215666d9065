"""Recorded surfaces: validation accuracy of one student per epoch, on a grid of (temperature, alpha) and seeds.

The files are CSV below a header of `# key: value` lines that say where the numbers come from, one line per training:

    temperature,alpha,seed,epoch_1,epoch_2
    1,0,0,0.9012,0.9344
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).resolve().parents[1] / "results"
Array: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Surface:
    """One recorded surface.

    Attributes:
        temperatures: shape (t,), rising, > 0.
        alphas: shape (a,), rising, in [0, 1]; the weight of the labels.
        last: accuracy after the last epoch, fractions, shape (seeds, t, a); every cell has the same seeds.
    """

    temperatures: Array
    alphas: Array
    last: Array


def read_surface(path: Path) -> Surface:
    """The surface in a file, whose lines may have any order."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    cells = np.array([line.split(",") for line in lines[1:]], float)
    temperatures, alphas, seeds = (np.unique(cells[:, column]) for column in range(3))
    ordered = cells[np.lexsort((cells[:, 1], cells[:, 0], cells[:, 2]))]
    return Surface(temperatures, alphas, ordered[:, -1].reshape(len(seeds), len(temperatures), len(alphas)))
